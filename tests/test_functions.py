"""Users' functions: consent, the protocols with the page's own examples, and what is told when one is wrong."""

from __future__ import annotations

import importlib.util
import py_compile
import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import study_files
import toy
import yaml

from ptydesign import functions, io, kinds
from ptydesign.api import make_plan, read_plan
from ptydesign.cli import main
from ptydesign.errors import InputError
from ptydesign.experiment.search import Runner
from ptydesign.experiment.trial import Trial
from ptydesign.reconstruct import run
from ptydesign.reconstruct.checkpoint import Checkpoints
from ptydesign.reconstruct.costs import COSTS
from ptydesign.reconstruct.noise import NOISE_MODELS, Noise
from ptydesign.reconstruct.start import start_state
from ptydesign.simulate.own import SAMPLES
from ptydesign.study.acquisition import at_point

PAGE = Path(__file__).parents[1] / "docs" / "functions.md"
NAME = re.compile(r"\w+\.py:\w+@[0-9a-f]{12}")


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == language]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The page's files of code, in the folder one is in, without anyone's consent."""
    monkeypatch.setenv(functions.ALLOW, "")
    monkeypatch.chdir(tmp_path)
    for text in blocks("python"):
        (tmp_path / re.match(r"# (\w+\.py)\n", text)[1]).write_text(text)
    return tmp_path


@pytest.fixture
def allowed(folder, monkeypatch):
    """Code may run."""
    monkeypatch.setenv(functions.ALLOW, "1")
    return folder


@pytest.fixture(scope="module")
def data():
    return toy.experiment(shape=(20, 24), steps=(5, 6), step_a=0.9, dose=3e3)[0]


def plan_of(**settings):
    return make_plan(engines=[{"engine": "gradient", "group": 8, "sweeps": 2, **settings}])


# consent


def test_nothing_runs_without_consent(folder):
    (folder / "trap.py").write_text("open('ran', 'w')\ndef noise(i, y, offset): return (i - y) ** 2\n")
    for setting in ("", str(folder / "other"), "yes"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(functions.ALLOW, setting)
            with pytest.raises(InputError, match=r"trap\.py:noise would run the code of .*/trap\.py.*--allow-code"):
                plan_of(noise="trap.py:noise")
    assert not (folder / "ran").exists()


def test_code_of_a_package_is_looked_at_without_running_it(folder, monkeypatch):
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").write_text("open('ran', 'w')\n")
    shutil.copy("readout.py", folder / "package" / "model.py")
    monkeypatch.syspath_prepend(folder)
    with pytest.raises(InputError, match=r"package/model\.py"):
        plan_of(noise="package.model:readout")
    assert not (folder / "ran").exists()
    monkeypatch.setenv(functions.ALLOW, "1")
    assert plan_of(noise="package.model:readout").engines[0].noise.startswith("package.model:readout@")
    assert (folder / "ran").exists()


def test_files_of_any_name_hold_functions(folder, monkeypatch):
    monkeypatch.setenv(functions.ALLOW, "1")
    path = folder / "my @ö's" / "noise@v2 (1).py"
    path.parent.mkdir()
    shutil.copy("readout.py", path)
    name = plan_of(noise=f"{path}:readout").engines[0].noise
    assert functions.plain_name(name) == f"{path}:readout"
    assert plan_of(noise=name).engines[0].noise == name
    assert functions.plain_name("ssim") == "ssim"


def test_packages_around_a_module_need_consent_too(folder, monkeypatch):
    (folder / "trusted").mkdir()
    shutil.copy("readout.py", folder / "trusted" / "good.py")
    (folder / "around").mkdir()
    (folder / "around" / "__init__.py").write_text("open('ran', 'w')\n")
    (folder / "around" / "model.py").symlink_to(folder / "trusted" / "good.py")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv(functions.ALLOW, str(folder / "trusted"))
    with pytest.raises(InputError, match=r"around/__init__\.py"):
        plan_of(noise="around.model:readout")
    assert not (folder / "ran").exists()


def test_a_module_runs_as_its_source_says(folder, monkeypatch):
    """Not as a compiled file beside it, which may be of another source."""
    source = Path("readout.py").read_text()
    (folder / "honest.py").write_text(source)
    (folder / "other.py").write_text("open('ran', 'w')\n" + source)
    monkeypatch.setenv(functions.ALLOW, "1")
    monkeypatch.syspath_prepend(folder)
    py_compile.compile(
        str(folder / "other.py"),
        cfile=importlib.util.cache_from_source(str(folder / "honest.py")),
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    assert plan_of(noise="honest:readout").engines[0].noise.startswith("honest:readout@")
    assert not (folder / "ran").exists()


def test_a_trusted_folder_is_consent(folder, monkeypatch):
    monkeypatch.setenv(functions.ALLOW, f"/nowhere:{folder}")
    assert NAME.fullmatch(plan_of(noise="readout.py:readout").engines[0].noise)


def test_consent_on_the_command_line(folder, data, capsys):
    io.write_dataset(folder / "data.h5", data)
    (folder / "plan.yaml").write_text(blocks("yaml")[0] + "    sweeps: 2\n")
    command = ["reconstruct", "data.h5", "plan.yaml", "-o", "out.h5", "--quiet"]
    assert main(command) == 2
    assert "engines.0.noise: readout.py:readout would run" in capsys.readouterr().err
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(functions.ALLOW, "")
        assert main([*command, "--allow-code"]) == 0
    plan = io.read_reconstruction(folder / "out.h5").plan
    assert NAME.fullmatch(plan["engines"][0]["noise"])
    assert NAME.fullmatch(plan["engines"][0]["costs"][0]["kind"])


def test_consent_through_snakemake(folder, capsys):
    study_files.write_study(folder / "studies" / "own", study_files.tiny(score__functions=["others.py:correlation"]))
    asked = ["studies/own"]
    with pytest.raises(InputError, match=r"study\.yaml: score\.functions.*would run.*allow_code=true"):
        kinds.load_studies(folder / "studies", {}, asked, folder / "results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(functions.ALLOW, "")
        assert list(kinds.load_studies(folder / "studies", {"allow_code": True}, asked, folder / "results")) == ["own"]


def test_a_file_is_looked_for_beside_the_one_that_names_it(allowed, tmp_path_factory, monkeypatch):
    (allowed / "plan.yaml").write_text("engines: [{engine: lsqml, noise: readout.py:readout}]")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert read_plan(allowed / "plan.yaml") == read_plan(allowed / "plan.yaml")
    with pytest.raises(InputError, match=r"must be in a file that exists; got .*elsewhere.*readout\.py"):
        plan_of(noise="readout.py:readout")


# the protocols, with the page's examples


@pytest.mark.parametrize("engine", ["gradient", "lsqml", "epie"])
def test_a_noise_model_of_the_page(allowed, data, engine):
    plan = make_plan(engines=[{"engine": engine, "noise": "readout.py:readout", "group": 8, "sweeps": 8}])
    _, history, outcome = run.reconstruct(data, plan)
    assert outcome.status == "all_sweeps_done", outcome.reason
    assert history.loss[-1] < 0.8 * history.loss[0]
    before = run.one_sweep._cache_size()
    run.reconstruct(data, plan, seed=1)
    assert run.one_sweep._cache_size() == before


def test_a_derived_noise_model_is_the_closed_form():
    i, y = np.array([[0.5, 3.0], [8.0, 20.0]], np.float32), np.array([[0.0, 4.0], [8.0, 11.0]], np.float32)
    for name in ("amplitude", "poisson"):
        known = NOISE_MODELS[name]
        own = Noise(known.nll)
        np.testing.assert_allclose(own.slope(i, y, 1e-3), known.slope(i, y, 1e-3), atol=1e-5)
        np.testing.assert_allclose(own.curvature(i, y, 1e-3), known.curvature(i, y, 1e-3), rtol=5e-3)


def test_the_cost_of_the_page_makes_the_object_symmetric(allowed, data):
    states = [
        run.reconstruct(data, plan_of(sweeps=6, costs=[{"kind": "symmetry.py:twofold", "weight": weight}]))[0]
        for weight in (0.0, 30.0)
    ]
    cost = COSTS[COSTS.full_name("symmetry.py:twofold")]
    free, bound = (float(cost(state, 1.0)) for state in states)
    assert bound < 0.5 * free


def test_the_constraint_of_the_page(allowed, data):
    plan = make_plan(**yaml.safe_load(blocks("yaml")[1]))
    assert plan.engines[0].parameters_at(0)["constraints.0.strength"] == pytest.approx(0.2)
    assert plan.engines[0].parameters_at(39)["constraints.0.strength"] < 0.02

    def least(strength):
        own = {"kind": "function", "function": "others.py:real_positive", "values": {"strength": strength}}
        phase = np.angle(run.reconstruct(data, plan_of(sweeps=4, constraints=[own]))[0].object)
        return phase.min()

    before = least(0.0)
    compiled = run.one_sweep._cache_size()
    assert least(1.0) > 0.3 * before
    assert run.one_sweep._cache_size() == compiled


def test_starts_of_the_page(allowed, data):
    own = make_plan(
        object={"method": "others.py:weak_noise", "slices": 2, "slice_thickness_a": 5},
        probe={"method": "others.py:gaussian", "mode_powers": [0.2]},
        engines=[{"engine": "lsqml"}],
    )
    state = start_state(data, own)
    assert np.std(np.angle(state.object[1])) == pytest.approx(0.01, rel=0.05)
    assert np.sum(np.abs(state.probe) ** 2) == pytest.approx(data.patterns.sum(axis=(1, 2)).mean(), rel=1e-6)
    assert np.unravel_index(np.argmax(np.abs(state.probe[0])), data.grid.shape) == (10, 12)


def test_an_observer_of_the_page(allowed, data, capsys):
    plan = make_plan(engines=plan_of().model_dump()["engines"], observers=["others.py:log"])
    run.reconstruct(data, plan)
    assert re.fullmatch(r"(sweep \d: largest phase \d\.\d\d rad\n){2}", capsys.readouterr().out)


def test_the_sample_and_the_metric_of_the_page_in_a_study(allowed):
    content = study_files.tiny(
        sample={"kind": "function", "function": "others.py:row_of_gold"},
        score__functions=["others.py:correlation"],
        objective={"metric": "others.py:correlation"},
    )
    study_files.write_study(allowed / "study", content)
    resolved = kinds.open_study(allowed / "study", "preview", allowed / "results").resolved
    trial = Trial(at_point(resolved.study.experiment, {"step_a": 2}), 2000)
    _, result = Runner(resolved).run(trial, None)
    assert result["status"] == "ok", result["reason"]
    name = resolved.study.objective.metric
    assert NAME.fullmatch(name)
    assert 0 < result["path"][-1]["scores"][name] <= 1
    # the same functions with another line: other keys
    key = trial.key(resolved.study, resolved.key)
    path = allowed / "others.py"
    path.write_text(path.read_text() + "\n# changed\n")
    other = kinds.open_study(allowed / "study", "preview", allowed / "results").resolved
    assert other.key != resolved.key
    assert trial.key(other.study, resolved.key) != key


def test_the_loader_of_the_page(allowed, capsys):
    data = toy.experiment(shape=(32, 32), steps=(6, 5), step_a=1.5, semiangle_rad=0.02, dose=1e4)[0]
    patterns = np.fft.fftshift(data.patterns, axes=(-2, -1)).reshape(6, 5, 32, 32)
    with open("scan.cam", "wb") as file:
        np.array(patterns.shape, "<u4").tofile(file)
        patterns.astype("<u2").tofile(file)
    command = next(text for text in blocks("") if text.startswith("ptydesign import")).replace("\\\n", " ").split()
    assert main(command[1:]) == 0, capsys.readouterr().err
    found = io.read_dataset(allowed / "data.h5")
    np.testing.assert_array_equal(np.sort(found.patterns[7].ravel()), np.sort(patterns[1, 2].ravel()))
    assert NAME.fullmatch(found.provenance["read"]["reader"])


# what is told


HEAD = "import jax\nimport jax.numpy as jnp\nimport numpy as np\n"
WRONG_NOISE = {
    "raises": ("    raise KeyError('gain')", r"must not fail, and it did in .*own\.py, line 5; got KeyError: 'gain'"),
    "shape": (
        "    return jnp.sum((i - y) ** 2)",
        r"one number for each pixel, shape \(4, 6\) of real numbers; got shape \(\)",
    ),
    "nan": (
        "    return (jnp.sqrt(y) - jnp.log(i)) ** 2",
        r"must give finite likelihoods; got \d+ that are not, as inf",
    ),
    "negative": ("    return i - y * jnp.log(i + 1)", r"likelihoods of at least 0; got -\d"),
    "rounded": (
        "    return (jnp.round(i) - y) ** 2 / 8 + 0.01 * i",
        r"must be differentiable by JAX.*got a gradient of",
    ),
    "stopped": (
        "    return (jax.lax.stop_gradient(i) - y) ** 2 + 0 * i",
        r"must be differentiable by JAX.*got a gradient of",
    ),
    "numpy": ("    return np.asarray(i) - y", r"jax\.numpy functions that JAX can compile, and it failed in .*line 5"),
    "branch": ("    return i - y if i.sum() > 0 else y", r"jax\.numpy functions that JAX can compile"),
    "arguments": (None, r"must not fail.*takes 2 positional arguments but 3 were given"),
    "exits": ("    raise SystemExit(3)", r"must not fail, and it did in .*own\.py, line 5; got SystemExit: 3"),
    "syntax": ("    return (", r"must be in a file that runs without failing, and it failed in .*own\.py.*SyntaxError"),
    "nothing": ("    return None", r"one number for each pixel.*got no array"),
}


@pytest.mark.parametrize("case", WRONG_NOISE)
def test_a_wrong_noise_model_is_told_before_work_starts(allowed, case):
    body, words = WRONG_NOISE[case]
    text = f"def noise(i, y, offset):\n{body}\n" if body else "def noise(i, y):\n    return i - y\n"
    (allowed / "own.py").write_text(HEAD + text)
    with pytest.raises(InputError, match=words) as caught:
        plan_of(noise="own.py:noise")
    assert caught.value.field == "plan: engines.0.noise"
    assert "own.py:noise must" in str(caught.value)


def test_what_a_function_says_is_no_command_to_the_terminal(allowed):
    (allowed / "own.py").write_text("def noise(i, y, offset): raise ValueError('\\x1b[31mred\\x07\\x9b2J')\n")
    with pytest.raises(InputError, match=r"got ValueError: \\x1b\[31mred\\x07\\x9b2J") as caught:
        plan_of(noise="own.py:noise")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "body, words",
    [
        ("jnp.sum(jnp.abs(state.object), axis=0)", r"must give one number, shape \(\).*got"),
        ("jnp.sum(jnp.sqrt(1 - jnp.abs(state.object) ** 2))", r"must give finite (values|gradients)"),
        ("jnp.sum(jnp.sqrt(jnp.abs(state.object - 1) ** 2))", r"must give finite gradients of vacuum"),
        ("jnp.sum(jnp.round(state.object.real))", r"gradient of zero|differentiable"),
        ("jnp.sum(state.object)", r"of real numbers; got shape \(\) of complex"),
        ("jnp.mean(state.potential)", r"must not fail, and it did in .*line 4; got AttributeError"),
    ],
)
def test_a_wrong_cost(allowed, body, words):
    (allowed / "own.py").write_text(f"{HEAD}def cost(state, counts): return {body}\n")
    with pytest.raises(InputError, match=words) as caught:
        plan_of(costs=[{"kind": "own.py:cost", "weight": 1}])
    assert caught.value.field == "plan: engines.0.costs.0.kind"


@pytest.mark.parametrize(
    "body, words",
    [
        ("state.object", r"must give a state; got \w+"),
        ("state.replace(object=state.object[:1])", r"must leave the shape and type of the state's object as they are"),
        ("state.replace(object=jnp.abs(state.object))", r"shape and type of the state's object"),
        ("state.replace(object=state.object / 0.0)", r"must give finite values of the object"),
        ("state.replace(object=state.object * values['power'])", r"must not fail.*KeyError: 'power'"),
    ],
)
def test_a_wrong_constraint(allowed, body, words):
    (allowed / "own.py").write_text(f"{HEAD}def rule(state, values): return {body}\n")
    with pytest.raises(InputError, match=words) as caught:
        plan_of(constraints=[{"kind": "function", "function": "own.py:rule", "values": {"strength": 1.0}}])
    assert caught.value.field == "plan: engines.0.constraints.0.function"


@pytest.mark.parametrize(
    "section, body, words",
    [
        ("object", "def start(dataset, state): return np.ones((3, 3), complex)", r"on the canvas, shape \(30, 27\)"),
        ("object", "def start(dataset, state): return np.ones(state.object.shape)", "complex numbers; got .*float64"),
        ("probe", "def start(dataset): return np.zeros(dataset.grid.shape, complex)", "isn't zero everywhere"),
        ("probe", "def start(dataset): return np.full(dataset.grid.shape, np.nan + 0j)", "must give finite values"),
    ],
)
def test_a_wrong_start(allowed, section, body, words):
    (allowed / "own.py").write_text(f"{HEAD}{body}\n")
    with pytest.raises(InputError, match=words) as caught:
        make_plan(**{section: {"method": "own.py:start"}, "engines": [{"engine": "lsqml"}]})
    assert caught.value.field == f"plan: {section}.method"


@pytest.mark.parametrize(
    "text, words",
    [
        ("readout.py:redout", r"must be in .*readout\.py; got no redout there\. Did you mean 'readout'\?"),
        ("nothing.py:noise", "must be in a file that exists"),
        ("no_such_module:noise", "must be in a module that Python finds"),
        ("math:sqrt", "with its source"),
        ("readout.py:READOUT", "must be a function; got float"),
        ("readout.py:readout@0123456789ab", "must be the function that was used before, of source 0123456789ab"),
        ("readout.py:", "must be named as file.py:name or module:name"),
        ("poison", "Did you mean 'poisson'.*Or name your own as file.py:name"),
    ],
)
def test_a_wrong_name(allowed, text, words):
    with pytest.raises(InputError, match=words):
        plan_of(noise=text)


@pytest.mark.parametrize(
    "body, words",
    [
        ("return float('nan')", "must give one finite number; got nan"),
        ("return image", r"must give one finite number; got \(24, 20\)"),
        ("return image.mean(axis=5)", "must not fail, and it did in .*line 5; got AxisError"),
    ],
)
def test_a_wrong_metric(allowed, body, words):
    (allowed / "own.py").write_text(f"{HEAD}def score(image, truth, pixel_a):\n    {body}\n")
    study_files.write_study(allowed / "study", study_files.tiny(score__functions=["own.py:score"]))
    with pytest.raises(InputError, match=words):
        kinds.open_study(allowed / "study", "preview", allowed / "results")


def test_a_metric_that_fails_on_real_images_is_a_failed_trial(allowed):
    text = (
        "def score(image, truth, pixel_a):\n    if image.shape != (24, 20): raise ValueError('small')\n    return 1\n"
    )
    (allowed / "own.py").write_text(text)
    study_files.write_study(allowed / "study", study_files.tiny(score__functions=["own.py:score"]))
    resolved = kinds.open_study(allowed / "study", "preview", allowed / "results").resolved
    _, result = Runner(resolved).run(Trial(resolved.study.experiment, 2000), None)
    assert result["status"] == "failed"
    assert re.search(r"own\.py:score: must not fail, and it did in .*line 2; got ValueError: small", result["reason"])


def test_an_objective_must_be_among_the_scores(allowed):
    study_files.write_study(allowed / "study", study_files.tiny(objective={"metric": "others.py:correlation"}))
    with pytest.raises(InputError, match=r"objective\.metric: must be one of score\.functions"):
        kinds.open_study(allowed / "study", "preview", allowed / "results")


@pytest.mark.parametrize(
    "body, words",
    [
        ("return ase.Atoms('Au', [(1, 1, 1)], cell=(*extent_a, 5))", r"orthogonal cell .* \(9, 8, t\)"),
        ("return [1, 2]", "must give ase.Atoms; got list"),
        ("return ase.Atoms('Au', [(99, 1, 1)], cell=(*extent_a[::-1], 5))", r"all atoms in the cell; got \[99"),
        ("return ase.Atoms(cell=(*extent_a[::-1], 5))", "atoms at finite positions; got 0 atoms"),
    ],
)
def test_a_wrong_sample(allowed, body, words):
    (allowed / "own.py").write_text(f"import ase\ndef atoms(extent_a):\n    {body}\n")
    sample = {"kind": "function", "function": "own.py:atoms"}
    study_files.write_study(allowed / "study", study_files.tiny(sample=sample))
    with pytest.raises(InputError, match=words):
        kinds.open_study(allowed / "study", "preview", allowed / "results")


@pytest.mark.parametrize("section", ["object", "probe"])
def test_a_start_cannot_change_the_data(allowed, data, section):
    body = "dataset.patterns[...] = 1\n    return np.ones({}, complex)"
    arguments, shape = ("dataset, state", "state.object.shape") if section == "object" else ("dataset", "(2, 2)")
    (allowed / "own.py").write_text(f"{HEAD}def start({arguments}):\n    {body.format(shape)}\n")
    with pytest.raises(InputError, match=r"must not fail, and it did in .*own\.py, line \d+; got .*read-only"):
        make_plan(engines=[{"engine": "lsqml"}], **{section: {"method": "own.py:start"}})


def test_a_sample_is_the_same_at_each_call(allowed):
    (allowed / "own.py").write_text(
        "import ase\nimport numpy as np\n\n\ndef atom(extent_a):\n    ny, nx = extent_a\n"
        "    return ase.Atoms('Au', [[nx * np.random.rand(), 1, 1]], cell=(nx, ny, 6))\n"
    )
    with pytest.raises(InputError, match="must give the same atoms whenever it is called"):
        SAMPLES.full_name("own.py:atom")


@pytest.mark.parametrize(
    "body, words",
    [
        ("return None", "own.py:load: must give real patterns .*got NoneType"),
        ("return np.zeros((2, 3))", r"must give real patterns .*got shape \(2, 3\) of float64"),
        ("return open(path + 'x')", r"must not fail, and it did in .*line 5; got TypeError"),
        ("return np.broadcast_to(np.uint8(1), (10**5, 10**6, 4, 4))", r"100000000000 frames: needs .* GiB of memory"),
    ],
)
def test_a_wrong_loader(allowed, body, words, capsys):
    (allowed / "own.py").write_text(f"{HEAD}def load(path):\n    {body}\n")
    (allowed / "scan.cam").write_bytes(b"")
    options = ["--voltage-kv", "80", "--semiangle-mrad", "20", "--step-a", "1", "--pixel-mrad", "1"]
    assert main(["import", "scan.cam", "-o", "out.h5", "--loader", "own.py:load", *options]) == 2
    assert re.search(words, capsys.readouterr().err)
    assert not (allowed / "out.h5").exists()


@pytest.mark.parametrize(
    "body, words", [("raise OSError('disk full')", "disk full"), ("__import__('sys').exit()", "SystemExit")]
)
def test_an_observer_that_fails_ends_nothing(allowed, data, body, words):
    (allowed / "own.py").write_text(f"def look(sweep, loss, state): {body}\ndef two(a, b): pass\n")
    engines = plan_of(sweeps=3).model_dump()["engines"]
    plan = make_plan(engines=engines, observers=["own.py:look"])
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        _, history, _ = run.reconstruct(data, plan)
    told = [str(one.message) for one in seen if "own.py:look" in str(one.message)]
    assert len(history.loss) == 3
    assert len(told) == 1
    assert words in told[0]
    with pytest.raises(InputError, match=r"must take \(sweep, loss, state\)"):
        make_plan(engines=engines, observers=["own.py:two"])


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda text: text.replace("2.0", "3.0"), r"must be resumed with the source of readout\.py:readout"),
        (lambda text: text.replace("def readout", "def counted"), r"got no readout there"),
    ],
)
def test_a_function_that_changes_or_is_renamed_before_the_run_goes_on(allowed, data, change, words):
    def go(sweeps, resume=None):
        plan = plan_of(noise="readout.py:readout", sweeps=3)
        path = allowed / "state.h5"
        return run.reconstruct(data, plan, checkpoints=Checkpoints(path, 1), resume=resume, most=sweeps)

    go(1)
    path = allowed / "readout.py"
    before = path.read_text()
    path.write_text(change(before))
    with pytest.raises(InputError, match=words):
        go(3, allowed / "state.h5")
    path.write_text(before)
    assert go(3, allowed / "state.h5")[2].sweeps == 3


def test_a_plan_of_an_output_runs_only_with_the_same_source(allowed):
    written = plan_of(noise="readout.py:readout").model_dump(mode="json")
    assert make_plan(**written).engines[0].noise == written["engines"][0]["noise"]
    path = allowed / "readout.py"
    path.write_text(path.read_text().replace("2.0", "4.0"))
    NOISE_MODELS._own.clear()  # as in another process
    with pytest.raises(InputError, match=r"has changed\. Restore it, or write readout"):
        make_plan(**written)
