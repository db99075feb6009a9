"""Synthetic tables of a study, for tests of figures and report.

All numbers here are made up: smooth functions of dose with the shape of a real study. They are no results.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from ptydesign.experiment.collect import gain_rows
from ptydesign.experiment.kind import KIND
from ptydesign.io import Array, write_images
from ptydesign.study import figures
from ptydesign.study.page import write_page
from ptydesign.study.records import HASH_LINE, file_hash, text_hash, write_record
from ptydesign.study.tables import HASHES

DOSES = (100.0, 500.0, 1000.0, 5000.0, 50000.0)
SPACE = {
    "step_a": {"low": 0.5, "high": 8.0, "scale": "log"},
    "semiangle_mrad": {"low": 10.0, "high": 45.0, "scale": "linear"},
    "defocus_nm": {"low": -100.0, "high": 20.0, "scale": "linear"},
    "detector_pixels": {"choices": [24, 32, 48, 64, 96]},
}
EXPERT = {"step_a": 2.0, "semiangle_mrad": 20.0, "defocus_nm": -55.0, "detector_pixels": 64}
UNITS = {"step_a": "A", "semiangle_mrad": "mrad", "defocus_nm": "nm", "detector_pixels": "px"}


MADE = {
    "layout": 2,
    "kind": "experiment",
    "study": "synthetic",
    "ptydesign": "0.1.0",
    "hash": "0123456789abcdef",
    "warnings": [],
    "python": "3.11",
    "machine": "none",
    "libraries": {"numpy": "2.0", "abtem": None},
}


def make_settings(doses=DOSES, space=SPACE, random=True, mapped=True) -> dict:
    """The content of resolved.yaml, of the shape that a study writes."""
    names = list(space)
    return {
        "study": "synthetic",
        "title": "Synthetic tables for tests",
        "question": "Which settings give the best image of a twisted bilayer at each dose?",
        "seed": 7,
        "scale": "preview",
        "sample": {"kind": "bilayer", "layers": ["MoS2", "WS2"], "twist_deg": 30.0},
        "experiment": {"voltage_kv": 80.0, "pixel_a": 0.25, "field_of_view_a": [14.0, 18.0]},
        "doses_e_per_a2": list(doses),
        "space": space,
        "search": {"initial": 12, "points": 28, "batch": 4, "method": "bo", "acquisition": "gp_hedge"},
        "random": {"dose_e_per_a2": doses[0]} if random else None,
        "reference": {"name": "expert", **{name: EXPERT.get(name, 0.0) for name in names}},
        "decision": {
            "contenders": 4,
            "first": 3,
            "draws": 30,
            "zone": 0.01,
            "probability": 0.95,
            "others": True,
            "refine": 12,
        },
        "validation": {"repeats": 5, "abtem": True},
        "map": {
            "dose_e_per_a2": doses[0],
            "x": {"name": names[0], "values": [0.7, 1.0, 2.0, 4.0, 6.0]},
            "y": {"name": names[1], "values": [12.0, 20.0, 28.0, 36.0]},
        }
        if mapped and len(names) > 1
        else None,
        "objective": {"metric": "ssim", "width_px": 1.5},
        "compare_with": "cao2022",
        "resolved": MADE,
    }


def best_at(name: str, dose: float, doses) -> float:
    """A setting that moves with dose."""
    t = 0.5 if len(doses) == 1 else np.log(dose / doses[0]) / np.log(doses[-1] / doses[0])
    known = {
        "step_a": 0.9 * 6.0**t,
        "semiangle_mrad": 26 + 14 * t**0.5,
        "defocus_nm": -12 - 30 * t,
        "detector_pixels": float((24, 32, 48, 64, 96)[round(4 * t)]),
    }
    return float(known.get(name, 1.0 + t))


def score_at(dose: float, design: str) -> tuple[float, float]:
    """(SSIM, PSNR) that rise with dose."""
    t = np.log10(dose / 100) / 2.7
    return (0.55 + 0.38 * t, 18 + 14 * t) if design == "optimised" else (0.22 + 0.62 * t, 13 + 17 * t)


def make_trials(doses, space, rng, random=True) -> pd.DataFrame:
    rows = []
    searches = [("bo", dose) for dose in doses] + ([("random", doses[0])] if random else [])
    for search, dose in searches:
        top = score_at(dose, "optimised")[0]
        for k in range(40):
            reach = 1 - np.exp(-(k + 4) / 12) if search == "bo" else 0.65
            value = top * (0.35 + 0.62 * reach * rng.uniform(0.4, 1.0))
            failed = rng.uniform() < 0.06
            rows.append(
                {
                    "search": search,
                    "dose_e_per_a2": dose,
                    "round": 0 if k < 12 else 1 + (k - 12) // 4,
                    "index": k if k < 12 else (k - 12) % 4,
                    **{name: rng.uniform(1, 2) for name in space},
                    "status": "diverged" if failed else "ok",
                    "reason": "the loss became NaN at sweep 3" if failed else "",
                    "objective": np.nan if failed else value,
                    **{
                        f"ssim_{w}px": np.nan if failed else value * f
                        for w, f in (("0.5", 0.9), ("1.5", 1), ("5", 1.04))
                    },
                    "psnr_db": np.nan if failed else 12 + 15 * value,
                    "positions": 121,
                    "sweeps": 60,
                    "fluence_mean": 0.995 + 0.0001 * k,
                    "fluence_least": 0.97,
                    "seed": 1000 + k,
                    "region_y0_a": 2.0,
                    "region_x0_a": 2.0,
                    "region_y1_a": 16.0,
                    "region_x1_a": 20.0,
                    "data_range_rad": 0.41,
                }
            )
    return pd.DataFrame(rows)


def make_validation(doses, space, rng) -> pd.DataFrame:
    rows = []
    for dose in doses:
        for design in ("optimised", "expert"):
            for simulator, repeats in (("jax", 5), ("abtem", 1)):
                for repeat in range(repeats):
                    ssim, psnr = score_at(dose, design)
                    ssim, psnr = ssim + 0.012 * rng.normal(), psnr + 0.2 * rng.normal()
                    rows.append(
                        {
                            "design": design,
                            "simulator": simulator,
                            "repeat": repeat,
                            "seed": int(rng.integers(1 << 31)),
                            "dose_e_per_a2": dose,
                            **{
                                name: best_at(name, dose, doses) if design == "optimised" else EXPERT.get(name, 0.0)
                                for name in space
                            },
                            "status": "ok",
                            "reason": "",
                            "objective": ssim,
                            "ssim_0.5px": ssim * 0.9,
                            "ssim_1.5px": ssim,
                            "ssim_5px": ssim * 1.04,
                            "psnr_db": psnr,
                            "contrast": 0.9,
                            "sweeps": 12 if design == "optimised" else 30,
                        }
                    )
    return pd.DataFrame(rows)


def make_summary(validation: pd.DataFrame) -> pd.DataFrame:
    good = validation[validation["status"] == "ok"]
    grouped = good.groupby(["dose_e_per_a2", "design", "simulator"])
    found = grouped.agg(
        n=("ssim_1.5px", "size"),
        ssim_mean=("ssim_1.5px", "mean"),
        ssim_std=("ssim_1.5px", "std"),
        psnr_db_mean=("psnr_db", "mean"),
        psnr_db_std=("psnr_db", "std"),
    ).reset_index()
    return found.assign(ssim_blank=0.14, psnr_db_blank=14.0)


def make_recommended(doses, space) -> pd.DataFrame:
    rows = []
    for dose in doses:
        for name, dimension in space.items():
            limits = dimension.get("choices") or [dimension["low"], dimension["high"]]
            low, high = float(min(limits)), float(max(limits))
            best = float(np.clip(best_at(name, dose, doses), low, high))
            width = 0.12 * (high - low)
            rows.append(
                {
                    "dose_e_per_a2": dose,
                    "parameter": name,
                    "best": best,
                    "low": max(low, best - width),
                    "high": min(high, best + 1.5 * width),
                    "unit": UNITS.get(name, ""),
                    "searched_low": low,
                    "searched_high": high,
                }
            )
    return pd.DataFrame(rows)


def make_contenders(doses, space) -> pd.DataFrame:
    """A winner, one that can't be told from it, one that lies clearly behind."""
    rows = []
    for dose in doses:
        top = score_at(dose, "optimised")[0]
        for place, (behind, reach, n) in enumerate(((np.nan, np.nan, 8), (0.004, 0.009, 8), (0.03, 0.012, 3))):
            point = {name: best_at(name, dose, doses) for name in space}
            interval = {"difference": behind, "low": behind - reach, "high": behind + reach}
            scored = {"sweeps": 12, "n": n, "mean": top - np.nan_to_num(behind), **interval}
            better = [np.nan, 0.2, 0.0004][place]
            rows.append(
                {"dose_e_per_a2": dose, "place": place, **point, **scored, "better": better, "alike": place < 2}
            )
    return pd.DataFrame(rows)


def make_decisions(doses) -> pd.DataFrame:
    outcomes = ("alike", "budget", "decided", "alone")
    said = {"refined": 9, "draws": 19, "probability_best": 0.8, "probability_good": 0.96, "expected_loss": 0.0009}
    said |= {"expected_gain": 0.0007}
    stops = {"sweeps": 12, "reference_sweeps": 30}
    rows = [{"dose_e_per_a2": d, "outcome": outcomes[i % 4], **said, **stops} for i, d in enumerate(doses)]
    return pd.DataFrame(rows)


def make_gains(validation: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(gain_rows(validation, "expert", {"ssim": "ssim_1.5px", "psnr_db": "psnr_db"}))


def make_spectrum(doses) -> pd.DataFrame:
    q = (np.arange(24) + 0.5) / 24 * 1.5
    rows = []
    for dose in doses:
        for design, reach in (("optimised", 0.3), ("expert", 0.2)):
            ratio = dose / 10 * np.exp(-q / reach)
            one = {"dose_e_per_a2": dose, "design": design, "q_per_a": q, "truth_rad": 0.5 * np.exp(-q), "ssnr": ratio}
            rows.append(pd.DataFrame({**one, "bias_rad": 0.1 * np.exp(-q), "scatter_rad": 0.5 / np.sqrt(dose)}))
    return pd.concat(rows)


def make_convergence(trials: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for (search, dose), group in trials.groupby(["search", "dose_e_per_a2"]):
        best = group.sort_values(["round", "index"])["objective"].cummax().ffill()
        rows += [
            {"search": search, "dose_e_per_a2": dose, "trials": k + 1, "best_objective": v} for k, v in enumerate(best)
        ]
    return pd.DataFrame(rows)


def make_map(settings: dict, rng) -> pd.DataFrame:
    rows = []
    section = settings["map"]
    for i, x in enumerate(section["x"]["values"]):
        for j, y in enumerate(section["y"]["values"]):
            value = 0.7 * np.exp(-(np.log(x / 1.2) ** 2) / 0.8 - ((y - 27) / 15) ** 2) + 0.01 * rng.normal()
            failed = (i, j) in ((4, 3), (4, 0))
            rows.append(
                {
                    "search": "map",
                    "dose_e_per_a2": section["dose_e_per_a2"],
                    "round": 0,
                    "index": len(rows),
                    **{name: EXPERT.get(name, 1.0) for name in settings["space"]},
                    section["x"]["name"]: x,
                    section["y"]["name"]: y,
                    "status": "failed" if failed else "ok",
                    "reason": "probe wider than the detector's window" if failed else "",
                    "objective": np.nan if failed else value,
                    **{
                        f"ssim_{w}px": np.nan if failed else value * f
                        for w, f in (("0.5", 0.9), ("1.5", 1), ("5", 1.04))
                    },
                    "psnr_db": np.nan if failed else 12 + 18 * value,
                }
            )
    return pd.DataFrame(rows)


def lattice(shape: tuple[int, int], pixel_a: float) -> tuple[np.ndarray, np.ndarray]:
    """(image, positions (n, 3) as x, y, z): Gaussian atoms on two honeycombs turned by 30 degrees."""
    extent_y, extent_x = shape[0] * pixel_a, shape[1] * pixel_a
    y, x = np.meshgrid(np.arange(shape[0]) * pixel_a, np.arange(shape[1]) * pixel_a, indexing="ij")
    image, positions = np.zeros(shape), []
    for turn, z in ((0.0, 1.6), (np.pi / 6, 7.8)):
        for i in range(-9, 10):
            for j in range(-9, 10):
                for kind, offset in enumerate(((0, 0), (1 / 3, 1 / 3))):
                    u, v = (i + offset[0]) * 3.16, (j + offset[1]) * 3.16
                    a, b = u + v / 2, v * np.sqrt(3) / 2
                    px = extent_x / 2 + a * np.cos(turn) - b * np.sin(turn)
                    py = extent_y / 2 + a * np.sin(turn) + b * np.cos(turn)
                    if -1 < px < extent_x + 1 and -1 < py < extent_y + 1:
                        weight = (1.0, 0.45)[kind]
                        image += weight * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 0.35**2))
                        positions.append((px, py, z + 1.5 * kind))
    return image, np.array(positions)


def make_images(doses, rng) -> dict:
    truth, positions = lattice((56, 72), 0.25)
    truth = 0.4 * truth
    groups = {}
    for dose in doses:
        for design in ("optimised", "expert"):
            ssim, psnr = score_at(dose, design)
            noise = 0.4 * (1 - ssim)
            phase = truth + noise * rng.normal(size=truth.shape)
            groups[f"{design}-{dose:g}"] = {
                "arrays": {"phase": Array(phase, "rad", "y,x"), "truth": Array(truth, "rad", "y,x")},
                "attrs": {
                    "pixel_a": [0.25, 0.25],
                    "dose_e_per_a2": dose,
                    "design": design,
                    "ssim": ssim,
                    "psnr_db": psnr,
                },
            }
    numbers = np.array([[42, 74][int(z > 5)] if (z < 2 or 7 < z < 8.5) else 16 for z in positions[:, 2]])
    groups["structure"] = {
        "arrays": {
            "positions": Array(positions, "angstrom", "atom,(x,y,z)"),
            "numbers": Array(numbers, "1", "atom"),
            "potential_va": Array(1000 * truth, "V*angstrom", "y,x"),
        },
        "attrs": {"pixel_a": [0.25, 0.25], "cell": [18.0, 14.0, 10.0]},
    }
    return groups


def write_results(folder: Path, doses=DOSES, space=SPACE, random=True, mapped=True, failed_dose=None) -> Path:
    """A results folder; `failed_dose`: nothing was found there."""
    rng = np.random.default_rng(3)
    settings = make_settings(doses, space, random, mapped)
    (folder / "tables").mkdir(parents=True)
    (folder / "resolved.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    trials = make_trials(doses, space, rng, random)
    validation = make_validation(doses, space, rng)
    recommended = make_recommended(doses, space)
    images = make_images(doses, rng)
    if failed_dose is not None:
        lost = trials["dose_e_per_a2"] == failed_dose
        trials.loc[lost, "status"] = "failed"
        trials.loc[lost, "reason"] = "fewer than 4 scan positions"
        trials.loc[lost, [c for c in trials if c.startswith("ssim")] + ["objective", "psnr_db"]] = np.nan
        gone = (validation["dose_e_per_a2"] == failed_dose) & (validation["design"] == "optimised")
        validation = validation[~gone]
        recommended = recommended[recommended["dose_e_per_a2"] != failed_dose]
        images.pop(f"optimised-{failed_dose:g}")
    tables = {
        "trials": trials,
        "contenders": make_contenders([d for d in doses if d != failed_dose], space),
        "decisions": make_decisions(doses),
        "validation": validation,
        "gains": make_gains(validation),
        "recommended": recommended,
        "summary": make_summary(validation),
        "convergence": make_convergence(trials),
        "spectrum": make_spectrum([d for d in doses if d != failed_dose]),
    }
    if settings["map"]:
        tables["map"] = make_map(settings, rng)
    for name, frame in tables.items():
        frame.to_csv(folder / "tables" / f"{name}.csv", index=False)
    write_images(folder / "tables" / "images.h5", images)
    return folder


def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def rewrite(folder: Path, table: str, change) -> Path:
    path = folder / "tables" / f"{table}.csv"
    frame = pd.read_csv(path)
    changed = change(frame)
    (frame if changed is None else changed).to_csv(path, index=False)
    sign(folder)
    return path


def sign(folder: Path) -> None:
    """Let a folder of results say the hashes that its tables have now, if it says any."""
    if (folder / HASHES).is_file():
        files = [path for path in (folder / "tables").iterdir() if path.suffix in (".csv", ".h5")]
        write_record(folder, HASHES, {"files": {path.name: file_hash(path) for path in files}})


def sign_settings(file: Path) -> None:
    """Let resolved.yaml say the hash that its settings have now."""
    text, line, _ = file.read_text().rpartition(HASH_LINE)
    file.write_text(f"{text}{line}{text_hash(text)}\n")


def scale_column(column, factor):
    def change(frame):
        frame[column] = frame[column] * factor

    return change


def draw_all(folder: Path) -> list[Path]:
    """Draw the figures of a results folder, as `ptydesign figures`."""
    return figures.draw_all(KIND.pictures, KIND.read_tables(folder))


def write_report(folder: Path) -> Path:
    """Write the page of a results folder, as `ptydesign report`."""
    tables = KIND.read_tables(folder)
    return write_page(tables, KIND.make_page(tables), KIND.pictures)
