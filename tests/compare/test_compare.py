"""The kind `compare`: what is refused, what draws share, what depends on what, tables and page where draws failed."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml
from every_kind import TINY
from study_files import changed, write_study

from ptydesign.cli import main
from ptydesign.compare import kind as compare
from ptydesign.compare.report import FIGURES, page, sentences
from ptydesign.compare.signal import SPECTRUM, signal_table
from ptydesign.compare.tables import read_tables
from ptydesign.errors import InputError
from ptydesign.experiment import search
from ptydesign.experiment.images import kept_images
from ptydesign.experiment.spectra import RINGS
from ptydesign.experiment.trial import Trial
from ptydesign.kinds import open_study
from ptydesign.score.spread import spread
from ptydesign.study import figures
from ptydesign.study.draws import ALIKE, BETTER, OPEN, WORSE
from ptydesign.study.store import PointStore


def opened(folder, **changes):
    """The tiny study with changes, as a Run."""
    write_study(folder / "studies" / "tiny", changed(TINY["compare"](), changes))
    return open_study(folder / "studies" / "tiny", "preview", folder / "results")


PLAN = {"engines": [{"engine": "lsqml", "sweeps": 3}]}


def protocol(**experiment):
    return {"reconstruction": "lsqml", "experiment": experiment}


@pytest.mark.parametrize(
    "changes, field, words",
    [
        ({"designs": {}}, "designs", "at least 1"),
        ({"designs__wide__step_b": 1}, "designs.wide.step_b", "step_a"),
        ({"designs__wide__field_of_view_a": [8, 8]}, "designs.wide.field_of_view_a", "not a number of the experiment"),
        ({"designs__wide": None}, "designs.wide", "mapping"),
        ({"designs__wide__step_a": -1}, "designs.wide.step_a", "greater than 0"),
        ({"designs__wide__step_a": "2 A"}, "designs.wide.step_a", "number"),
        ({"designs__wide__step_a": 6.5}, "designs.wide.step_a", "field of view"),
        ({"designs__wide__semiangle_mrad": 120}, "designs.wide.semiangle_mrad", "wider than the detector"),
        ({"designs__a/b": {}}, "designs.a/b", "letters"),
        ({"designs__two words": {}}, "designs.two words", "letters"),
        ({"designs__": {}}, "designs.", "letters"),
        ({"designs__Expert": {}}, "designs.Expert", "more than case"),
        ({"designs__NA": {}}, "designs.NA", "missing value"),
        ({"reconstructions__e-pie": PLAN}, "reconstructions.e-pie", "letters"),
        ({"reconstructions": {}}, "reconstructions", "at least 1"),
        ({"reconstructions__lsqml__engine": "lsqml"}, "reconstructions.lsqml.engine", "known key"),
        ({"reconstructions__lsqml__engines": [{"engine": "lsq"}]}, "lsqml.engines.0.engine", "'lsqml'"),
        ({"reconstructions__lsqml__engines": [{"engine": "lsqml", "swep": 1}]}, "engines.0.swep", "sweeps"),
        ({"designs": {"one": {}}, "reconstructions": {"one": PLAN}}, "designs", "two or more"),
        ({"draws": 1}, "draws", "at least 2"),
        ({"confidence": 95}, "confidence", "less than 1"),
        ({"doses_e_per_a2": [10, 10]}, "doses_e_per_a2", "differ"),
        ({"objective__width_px": 3}, "objective.width_px", "ssim_widths_px"),
        ({"specimen_a": [6, 6]}, "specimen_a", "hold scan and window"),
        ({"protocols": {"own": {"reconstruction": "lsqlm"}}}, "protocols.own.reconstruction", "'lsqml'"),
        ({"protocols": {"own": protocol(step_b=2)}}, "protocols.own.experiment.step_b", "step_a"),
        ({"protocols": {"own": protocol(field_of_view_a=[8, 8])}}, "experiment.field_of_view_a", "can change"),
        ({"protocols": {"own": protocol(step_a=-2)}}, "protocols.own.experiment.step_a", "greater than 0"),
        ({"protocols": {"own": protocol() | {"score": {"ssim": 1}}}}, "protocols.own.score.ssim", "ssim_range_rad"),
        ({"protocols": {"own": protocol() | {"scored_sweeps": [3, 2]}}}, "protocols.own.scored_sweeps", "rise"),
        ({"protocols": {"own": protocol() | {"scored_sweeps": [9]}}}, "protocols.own.scored_sweeps", "3"),
        ({"protocols": {"a/b": protocol()}}, "protocols.a/b", "letters"),
        ({"contrasts": {"wider": ["wide", "narrow"]}}, "contrasts.wider", "expert"),
        ({"contrasts": {"wider": ["wide"]}}, "contrasts.wider.1", "required"),
    ],
)
def test_a_broken_study_is_refused(changes, field, words, tmp_path):
    with pytest.raises(InputError) as error:
        opened(tmp_path, **changes)
    assert error.value.field.endswith(field)
    assert words in str(error.value)
    assert not (tmp_path / "results").exists()


PUBLISHED = {
    "protocols": {
        "published": protocol(point_sampled=True, scan_margin_a=1) | {"score": {"ssim_range_rad": 1}},
        "own": {"reconstruction": "lsqml", "scored_sweeps": [1, 2]},
    },
    "contrasts": {"wide_steps": ["wide", "expert"]},
}


def test_a_protocol_changes_experiment_score_and_stops(tmp_path):
    study = opened(tmp_path, **PUBLISHED).resolved.study
    assert study.pairs[:2] == [("expert", "published"), ("expert", "own")]
    assert study.config("wide", "published").point_sampled
    assert study.config("wide", "published").scan_margin_a == 1
    assert study.config("wide", "own") == study.config("wide")
    assert study.by("published").score.ssim_range_rad == 1
    assert study.by("own").score == study.score
    assert study.by("own").scored == (1, 2)
    largest = max(study.config(*pair).scanned_a[0] for pair in study.pairs)
    assert study.specimen_a[0] > largest > study.config("expert", "published").scanned_a[0]


def test_contrasts_answer_for_each_protocol(tmp_path):
    run = opened(tmp_path, **PUBLISHED)
    assert main(["step", "compare", "resolve", str(folder_of(run)), "--root", str(run.resolved.root)]) == 0
    for job in run.kind.jobs(run.resolved):
        job.step.run(run.resolved, job.which)
    tables = read_tables(run.resolved.results)
    assert set(tables["draws"]["protocol"]) == {"published", "own"}
    for way in ("published", "own"):
        one, other = (tables.values("ssim_1.5px", 2000, (design, way)) for design in ("wide", "expert"))
        found = tables.contrast("ssim_1.5px", "wide_steps", 2000, way)
        assert found["mean"] == pytest.approx(np.mean(one - other), abs=1e-4)
    stops = tables["draws"].groupby("protocol")["sweeps"].unique()
    assert set(stops["published"]) == {3}
    assert set(stops["own"]) <= {1, 2, 3}
    assert sum("Wide steps (wide better than expert)" in text for text in sentences(tables)) == 1
    assert [table.title for table in page(tables).asked] == ["Designs", "Reconstructions", "Protocols"]
    drawn = {path.stem for path in figures.draw_all(FIGURES, tables)}
    assert drawn == {"contrasts", "reconstructions", "spectrum"}


def test_a_name_given_twice_is_refused(tmp_path):
    folder = write_study(tmp_path / "studies" / "tiny", TINY["compare"]())
    text = (folder / "study.yaml").read_text()
    (folder / "study.yaml").write_text(text.replace("  wide:\n", "  expert:\n"))
    with pytest.raises(InputError, match="'expert' is given twice"):
        open_study(folder, "preview", tmp_path / "results")


def test_warnings_name_the_design(tmp_path):
    run = opened(tmp_path, designs__wide__defocus_nm=-300, doses_e_per_a2=[0.05, 2000])
    assert any("wide's probe" in text for text in run.resolved.warnings)
    assert any("0.05 e/A^2 the step of wide gives less" in text for text in run.resolved.warnings)
    blurred = opened(tmp_path, experiment__mtf_nyquist=0.5).resolved.warnings
    assert sum("the reconstruction lsqml has 1" in text for text in blurred) == 1


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The tiny study with all draws and its tables, and how often data were simulated."""
    run, counts = opened(tmp_path_factory.mktemp("compare")), []
    simulate = search.simulate_trial

    def counted(study, potential, trial):
        counts.append(trial)
        return simulate(study, potential, trial)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "simulate_trial", counted)
        assert main(["step", "compare", "resolve", str(folder_of(run)), "--root", str(run.resolved.root)]) == 0
        for job in run.kind.jobs(run.resolved):
            job.step.run(run.resolved, job.which)
    return run, counts


def folder_of(run):
    return run.resolved.root.parent / "studies" / "tiny"


def test_reconstructions_share_patterns_and_designs_share_seeds(finished):
    run, simulated = finished
    study = run.resolved.study
    assert len(simulated) == len(study.designs) * study.draws  # once, not once for each reconstruction
    rows = [
        record["result"] | {"plan": record["inputs"]["reconstruction"]["engines"][0]["engine"], **record["inputs"]}
        for record in map(PointStore(run.resolved.root).get, keys(run))
    ]
    assert len(rows) == compare.trials(study) == 8
    seeds = {(row["experiment"]["step_a"], row["plan"]): set() for row in rows}
    for row in rows:
        seeds[row["experiment"]["step_a"], row["plan"]].add(row["seed"])
    assert len(seeds) == 4
    assert len({frozenset(found) for found in seeds.values()}) == 1
    assert all(len(found) == study.draws for found in seeds.values())


def keys(run):
    files = (run.resolved.results / "draws").glob("*.json")
    return [trial["key"] for file in files for trial in json.loads(file.read_text())["trials"]]


def test_a_draw_has_its_own_noise(finished):
    run, _ = finished
    study = run.resolved.study
    config = study.config("wide")
    one = study.by("lsqml")
    draws = [compare.Draw(config, dose, repeat=n) for dose in (500.0, 2000.0) for n in (1, 2)]
    assert len({draw.seed(one) for draw in draws}) == 4
    assert draws[0].key(one, "potential") != Trial(config, 500.0, repeat=1).key(one, "potential")
    assert draws[0].key(one, "potential") != draws[0].key(study.by("epie"), "potential")


def test_numbers_in_the_tables_are_those_of_the_draws(finished):
    run, _ = finished
    tables = read_tables(run.resolved.results)
    assert len(tables["draws"]) == 8
    assert len(tables["comparison"]) == 5 * 4  # scores, pairs
    base = tables.values("psnr_db", 2000, ("expert", "lsqml"))
    other = tables.values("psnr_db", 2000, ("wide", "epie"))
    row = tables.row("psnr_db", 2000, ("wide", "epie"))
    assert row["mean"] == pytest.approx(np.mean(other), rel=1e-5)
    assert row["difference_mean"] == pytest.approx(np.mean(other - base), abs=1e-4)  # six digits of the table
    assert row["difference_std"] == pytest.approx(np.std(other - base, ddof=1), abs=1e-4)
    assert pd.isna(tables.row("psnr_db", 2000, ("expert", "lsqml"))["difference_mean"])


def test_rings_tell_bias_and_scatter_of_each_pair(finished):
    run, _ = finished
    tables, store = read_tables(run.resolved.results), PointStore(run.resolved.root)
    trials = json.loads((run.resolved.results / "draws" / "2000-wide.json").read_text())["trials"]
    images = [kept_images(store, one["key"], ("phase", "truth"), ("pixel_a",)) for one in trials
              if one["reconstruction"] == "epie"]  # fmt: skip
    phases, truth = (np.stack([one["arrays"][name].values for one in images]) for name in ("phase", "truth"))
    rows, qmax = tables.rings(2000, ("wide", "epie")), run.resolved.study.score.frc_qmax
    wanted = spread(phases, truth[0], tuple(images[0]["attrs"]["pixel_a"]), len(rows), qmax)
    assert 2 <= len(rows) <= RINGS
    assert np.isfinite(rows["ssnr"]).all()
    np.testing.assert_allclose(rows["scatter_rad"], wanted.scatter_rad, rtol=1e-4)
    np.testing.assert_allclose(rows["bias_rad"], wanted.bias_rad, rtol=1e-4)
    (table,) = signal_table(tables)
    assert [row[1:3] for row in table.rows] == tables.pairs
    assert SPECTRUM.skip(tables) is None
    rows_gone = replace(tables, frames=tables.frames | {"spectrum": None})  # results of an earlier version
    assert list(signal_table(rows_gone)) == []
    assert SPECTRUM.skip(rows_gone) == "it needs two draws or more with a score"


def test_a_changed_design_touches_its_own_draws_only(finished, tmp_path):
    def hashes(run):
        jobs = run.kind.jobs(run.resolved)
        return {"-".join([j.step.name, *j.which.values()]): run.settings_hash(j.step.name, j.which) for j in jobs}

    def touched(**changes):
        other = hashes(opened(tmp_path, **changes))
        return {name for name, found in before.items() if other.get(name) != found}

    fixed = {"specimen_a": [60, 60]}  # else a design changes the potential, too
    before = hashes(opened(tmp_path, **fixed))
    assert touched(**fixed, designs__wide__step_a=2.5) == {"draw-2000-wide"}
    assert touched(**fixed, draws=3) == {"draw-2000-expert", "draw-2000-wide"}
    assert touched(**fixed, confidence=0.9) == {"collect"}
    turned = dict(reversed(TINY["compare"]()["designs"].items()))
    assert touched(**fixed, designs=turned) == {"collect"}


def synthetic(study):
    """Rows of draws.csv of a study of three draws: `wide` is 0.2 better by lsqml, fails once by epie, and always at
    the low dose."""
    scatter = {1: 0.01, 2: -0.01, 3: 0.0}
    for dose in study.doses_e_per_a2:
        for design, plan in study.pairs:
            for draw, noise in scatter.items():
                ssim = 0.5 + noise + (0.2 + noise if (design, plan) == ("wide", "lsqml") else 0.0)
                bad = design == "wide" and (dose == 500 or (plan == "epie" and draw == 2))
                scores = {"ssim_1.5px": ssim, "psnr_db": 20 * ssim, "frc_area": ssim, "information": ssim}
                scores["mse_rad2"] = 1 - ssim
                row = {"dose_e_per_a2": dose, "design": design, "reconstruction": plan, "draw": draw}
                row |= {"status": "diverged" if bad else "ok", "reason": "the loss grew" if bad else ""}
                yield row | {name: None if bad else value for name, value in scores.items()}


@pytest.fixture
def failing(finished, tmp_path):
    """Tables of draws of which some failed."""
    run, _ = finished
    folder = tmp_path / "results"
    (folder / "tables").mkdir(parents=True)
    study = opened(tmp_path, draws=3, doses_e_per_a2=[500, 2000]).resolved.study
    content = yaml.safe_load((run.resolved.results / "resolved.yaml").read_text())
    content |= {"draws": 3, "doses_e_per_a2": [500.0, 2000.0]}
    content["resolved"]["layout"] = 2  # from before files had hashes
    (folder / "resolved.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    draws = pd.DataFrame(synthetic(study))
    draws.to_csv(folder / "tables/draws.csv", index=False)
    pd.DataFrame(compare.comparison(study, draws)).to_csv(folder / "tables/comparison.csv", index=False)
    (folder / "tables/images.h5").write_bytes((run.resolved.results / "tables/images.h5").read_bytes())
    return read_tables(folder)


def test_verdicts_where_draws_failed(failing):
    def words(score, dose):
        return [failing.row(score, dose, pair)["verdict"] for pair in failing.pairs[1:]]

    assert words("ssim_1.5px", 2000) == [ALIKE, BETTER, ALIKE]
    assert words("mse_rad2", 2000) == [ALIKE, BETTER, ALIKE]  # less is better
    assert words("ssim_1.5px", 500) == [ALIKE, OPEN, OPEN]
    assert failing.row("ssim_1.5px", 2000, ("wide", "epie"))["difference_n"] == 2
    assert WORSE not in set(failing["comparison"]["verdict"])


def test_page_and_figures_say_what_failed(failing):
    found = list(sentences(failing))
    assert "wide with lsqml by 0.200" in found[1]
    assert "Cannot be judged: wide with lsqml, wide with epie" in found[0]
    assert "7 of 24 trials gave no score" in found[-1]
    made = page(failing)
    assert sum(count for *_, count in made.failures) == 7
    assert ("wide with epie at 2,000 e/Å²", "diverged", "the loss grew", 1) in made.failures
    drawn = {path.name for path in figures.draw_all(FIGURES, failing)}
    assert drawn == {f"{name}.{suffix}" for name in ("scores", "reconstructions") for suffix in ("png", "pdf")}


def test_without_any_score_figures_say_why_they_are_missing(failing):
    failing["comparison"]["n"] = 0
    failing.images.clear()
    assert [figure.skip(failing) for figure in FIGURES] == [
        "nothing was scored",
        "the study has no contrasts",
        "it needs two draws or more with a score",
        "no first draw gave a reconstruction",
    ]
