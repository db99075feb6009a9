"""`python -m benchmarks mutations`: files that a user gives, changed at random, and what the program makes of them.

Files of all kinds: studies, plans of beam time and of reconstructions, calibrations, structures, datasets,
reconstructions, arrays of instruments. Each is read in a process of its own, a fork of one that has loaded the
libraries, by what reads it in its command. It may be refused in a sentence or be used; there must be no traceback, and
nothing that takes more than LONGEST_S of processor time or MOST_GIB of memory.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import yaml

from ptydesign.readable import check_readable

LONGEST_S, MOST_GIB = 10.0, 2.0
KILLED_S, KILLED_CPU_S = 900.0, 40  # after which a process is ended
ROOM_GIB = 6.0  # of address space beyond what is taken, so that no case takes the machine
SENTENCE = ("error: ", "usage: ", "ptydesign")

Reader = Callable[[Path], Any]


@dataclass(frozen=True)
class Case:
    """A file that a user gives. path: the good one, in a folder with all that it needs; read: what reads it."""

    name: str
    path: Path
    read: Reader


# files


def cases(studies: Path, place: Path) -> list[Case]:
    """Good files of all kinds. studies: the repository's; place: an empty folder."""
    found = []
    for folder in sorted(studies.iterdir()):
        if (folder / "study.yaml").is_file():
            shutil.copytree(folder, place / folder.name)
            command = "card" if "plan" in folder.name else "check"
            found.append(Case(f"{command} study", place / folder.name / "study.yaml", _of_folder(command)))
            for file in sorted((place / folder.name).glob("*.cif")):
                found.append(Case("structure", file, _of_folder("check")))
    beam = place / "beam" / "mine.yaml"
    beam.parent.mkdir()
    _command("init", str(beam))
    found.append(Case("plan of beam time", beam, lambda path: _command("card", str(path))))
    return [*found, *_of_data(place)]


def _of_data(place: Path) -> Iterator[Case]:
    from ptydesign import io as files
    from ptydesign.api import read_plan
    from ptydesign.types import Dataset, Grid, Optics, Outcome, ReconState, Reconstruction

    folder = place / "data"
    folder.mkdir()
    rng = np.random.default_rng(0)
    patterns = rng.poisson(3.0, (30, 24, 24)).astype(np.float32)
    positions = np.stack(np.meshgrid(np.arange(5.0), np.arange(6.0), indexing="ij"), -1).reshape(-1, 2)
    optics = Optics(80.0, 0.02, -50.0)
    dataset = Dataset(patterns, positions, Grid((24, 24), (0.5, 0.5)), 80.0, np.ones((24, 24), np.float32), optics)
    files.write_dataset(folder / "data.h5", dataset)
    yield Case("dataset", folder / "data.h5", _dataset)
    state = ReconState(
        object=np.ones((1, 40, 40), np.complex64), probe=np.ones((1, 24, 24), np.complex64), positions_px=positions,
        pixel_a=np.array([0.5, 0.5]), origin_a=np.zeros(2), wavelength_a=0.0418, intensity=np.ones(30),
        tilt_rad=np.zeros(2), thickness_a=np.array([5.0]),
    )  # fmt: skip
    history = {name: np.ones(3) for name in ("loss", "work_gflop", "seconds")}
    made = Reconstruction(state, history, Outcome("converged", "", 3), positions, {}, 0, {})
    files.write_reconstruction(folder / "out.h5", made)
    yield Case(
        "reconstruction", folder / "out.h5",
        lambda path: _command("export", str(path), str(path.parent / "p.tif"), "--overwrite"),
    )  # fmt: skip
    yield Case(
        "picture of a reconstruction", folder / "out.h5",
        lambda path: _command("show", str(path), "-o", str(path.parent / "p.png")),
    )  # fmt: skip
    (folder / "short.yaml").write_text(yaml.safe_dump({"engines": [{"engine": "epie", "sweeps": 2, "group": 8}]}))
    run = [str(folder / name) for name in ("data.h5", "short.yaml")]
    kept = folder / "saved.h5"
    # in a process of its own: what forks later must not have threads that compute
    command = [sys.executable, "-m", "ptydesign", "reconstruct", *run, "-o", str(folder / "made.h5"), "--quiet"]
    subprocess.run([*command, "--checkpoint", str(kept), "--checkpoint-every", "1"], check=True)
    yield Case("checkpoint", kept, _resume)
    plan = {"probe": {"mode_powers": [0.1]}, "engines": [{"engine": "lsqml", "sweeps": 3, "group": 8}]}
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan))
    yield Case("plan of a reconstruction", folder / "plan.yaml", read_plan)

    words = "--voltage-kv 80 --semiangle-mrad 20 --step-a 1 --pixel-mrad 2 --scan-shape 5,6 --centre-px 12,12"

    def imported(path: Path, *more: str) -> Any:
        return _command("import", str(path), "-o", str(path.parent / "o.h5"), "--overwrite", *words.split(), *more)

    counts = patterns.astype(np.uint16)
    np.save(folder / "scan.npy", counts)
    np.savez(folder / "scan.npz", scan=counts)
    counts.tofile(folder / "scan.bin")
    np.save(folder / "mask.npy", np.ones((24, 24)))
    np.savetxt(folder / "where.csv", positions, delimiter=",")
    with h5py.File(folder / "scan.h5", "w") as file:
        file["entry/data"] = counts
        file["entry/mask"] = np.ones((24, 24))
    layout = "dtype=uint16,pixels=24x24"
    for name in ("scan.npy", "scan.npz", "scan.h5"):
        yield Case(f"array {name}", folder / name, imported)
    yield Case("raw binary", folder / "scan.bin", lambda path: imported(path, "--raw", layout))
    for kind, name in (("mask", "mask.npy"), ("positions", "where.csv")):
        yield Case(kind, folder / name, lambda path, k=kind: imported(path.parent / "scan.npy", f"--{k}", str(path)))
    calibration = {"voltage_kv": 80, "semiangle_mrad": 20, "step_a": [1, 1], "pixel_mrad": 2, "scan_shape": [5, 6],
                   "crop_px": [20, 20], "bin": 2, "centre_px": [12, 12], "skip_frames": "0"}  # fmt: skip
    (folder / "calibration.yaml").write_text(yaml.safe_dump(calibration))
    yield Case(
        "calibration", folder / "calibration.yaml",
        lambda path: _command("import", str(path.parent / "scan.npy"), "-o", str(path.parent / "o.h5"), "--overwrite",
                              "--calibration", str(path)),
    )  # fmt: skip


def _dataset(path: Path) -> Any:
    """A dataset as commands read it."""
    from ptydesign.given import read_data

    check_readable(path)
    return read_data(path)


def _resume(path: Path) -> Any:
    """What `reconstruct --resume` reads of a checkpoint before it computes."""
    from ptydesign.api import read_plan
    from ptydesign.given import read_data
    from ptydesign.reconstruct import checkpoint

    check_readable(path)
    data, plan = read_data(path.parent / "data.h5"), read_plan(path.parent / "short.yaml")
    checkpoint.cores_to_resume(path)
    return checkpoint.load(path, checkpoint.identity(data, plan, 0), plan)


def _of_folder(command: str) -> Reader:
    return lambda path: _command(command, str(path.parent))


def _command(*words: str) -> int:
    from ptydesign.cli import main

    return main(list(words))


# changes


def mutated(path: Path, rng: random.Random) -> str:
    """Change a file at random, a few times; what was done."""
    done = []
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if path.suffix == ".yaml" and rng.random() < 0.75:
            done.append(_change_yaml(path, rng))
        elif path.suffix == ".h5" and rng.random() < 0.75:
            done.append((_change_hdf5 if rng.random() < 0.5 else _change_attributes)(path, rng))
        else:
            done.append(_change_bytes(path, rng))
    return ", ".join(done)


VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2, 1e-12, 1e6, 1e9, 1e12, 1e300, -1e30, float("nan"), float("inf"), 2**70, 10**400, "", "a b",
    "1 nm", "$x^{", "[bold]", "ü" * 50, "x" * 20_000, [], {}, [1], [1, 2], [1, 2, 3], ["1 1 0"], {"low": 5, "high": 1},
    {"low": 0, "high": 1e15}, {"choices": []}, list(range(2000)), [[[]]], "../../etc/passwd", "/dev/zero", "/", "*a",
)  # fmt: skip


TEXTS = ("[1, 2]", "null", "3", '"x"', "{", "", "{}", "[" * 20_000, "[NaN]")  # for all of the JSON attributes


def _change_yaml(path: Path, rng: random.Random) -> str:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError):
        return _change_bytes(path, rng)
    places = list(_places(content))
    if not places:
        return _change_bytes(path, rng)
    holder, key = rng.choice(places)
    what = rng.choice(("value", "value", "value", "scaled", "gone", "renamed", "copied", "deep"))
    if what == "scaled" and isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
        holder[key] *= rng.choice((-1, 1e-3, 1e3, 1e6, 1e9))
    elif what == "gone":
        del holder[key]
    elif what == "renamed" and isinstance(holder, dict):
        holder[f"{key}x" if isinstance(key, str) else "x"] = holder.pop(key)
    elif what == "copied":
        holder[key] = copy.deepcopy(rng.choice([h[k] for h, k in places]))
    elif what == "deep":
        value: Any = 1
        for _ in range(rng.choice((3, 60, 300))):
            value = [value]
        holder[key] = value
    else:
        holder[key] = rng.choice(VALUES)
    with contextlib.suppress(RecursionError):
        path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return f"{what} of {key}"


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in list(items)[:200]:
        yield content, key
        yield from _places(value)


def _change_bytes(path: Path, rng: random.Random) -> str:
    content = bytearray(path.read_bytes()) or bytearray(b" ")
    place = rng.randrange(len(content))
    what = rng.choice(("flip", "cut", "insert", "remove", "zeros", "double"))
    if what == "flip":
        content[place] ^= 1 << rng.randrange(8)
    elif what == "cut":
        del content[place:]
    elif what == "insert":
        content[place:place] = rng.choice((b"\t", b"\n", b":", b"[", b"&a [*a]", b"\xff\xfe", b"'", b"{", b"9" * 30))
    elif what == "remove":
        del content[place : place + rng.choice((1, 10, 1000))]
    elif what == "zeros":
        content[place : place + 64] = bytes(64)
    else:
        content += bytes(content)
    path.write_bytes(bytes(content))
    return f"{what} at {place}"


def _change_hdf5(path: Path, rng: random.Random) -> str:
    try:
        with h5py.File(path, "a") as file:
            names: list[str] = []
            file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
            if not names:
                return _change_bytes(path, rng)
            name = rng.choice(names)
            item = file[name]
            what = rng.choice(
                ("gone", "group", "text", "complex", "huge", "empty", "axes", "nan", "huge values", "link", "external")
            )
            values, shape = item[()], item.shape
            del file[name]
            if what == "group":
                file.create_group(f"{name}/inside")
            elif what == "text":
                file[name] = ["one", "two"]
            elif what == "complex":
                file[name] = values.astype(complex) * 1j
            elif what == "huge":
                file.create_dataset(name, (10**7, *(shape[1:] or (10**5,))), "f8", chunks=True)
            elif what == "empty":
                file[name] = np.empty((0, *shape[1:]))
            elif what == "axes":
                file[name] = np.reshape(values, -1)
            elif what == "nan":
                file[name] = np.full(shape, np.nan)
            elif what == "huge values":
                file[name] = np.full(shape, 1e300)
            elif what == "link":
                file[name] = h5py.ExternalLink("/etc/hostname", "/x")
            elif what == "external":
                file.create_dataset(name, (4,), "u1", external=[("/etc/hostname", 0, 4)])
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError):
        return _change_bytes(path, rng)
    return f"{what} for {name}"


def _change_attributes(path: Path, rng: random.Random) -> str:
    """Root attributes: those of HDF5, and what is in the JSON of `attributes`; half of the files lose their hashes."""
    try:
        with h5py.File(path, "a") as file:
            if rng.random() < 0.5:  # as another program's file, whose attributes are read
                file.attrs.pop("hash", None)
                file.visititems(lambda _, item: item.attrs.pop("hash", None) and None)
            names = [name for name in file.attrs if name != "attributes"]
            if "attributes" not in file.attrs or (names and rng.random() < 0.2):
                name = rng.choice(names)
                file.attrs[name] = rng.choice((-1, 0, 2**31, 1e300, float("nan"), "", "x", "[1]", [0, 1, 2], b"\xff"))
                return f"attribute {name}"
            text = file.attrs["attributes"]
            content = json.loads(text) if isinstance(text, str) else None
            places = list(_places(content))
            if not places or rng.random() < 0.25:
                file.attrs["attributes"] = rng.choice(TEXTS)
                return "all attributes"
            holder, key = rng.choice(places)
            if rng.random() < 0.2:
                del holder[key]
            else:
                holder[key] = rng.choice(VALUES)
            file.attrs["attributes"] = json.dumps(content)
            return f"value of {key} in the attributes"
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, IndexError):
        return _change_bytes(path, rng)


# reading


def forked(read: Reader, path: Path) -> dict[str, Any]:
    """What reading a file does, in a child: outcome (used, refused, traceback, killed), what it said, seconds of
    processor time, GiB of memory."""
    inlet, outlet = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover
        os.close(inlet)
        status = 70
        try:
            status, words = _read(read, path)
            os.write(outlet, words.encode(errors="replace")[-4000:])
        finally:
            os._exit(status)
    os.close(outlet)
    deadline = time.monotonic() + KILLED_S
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.005)
    with os.fdopen(inlet, "rb") as pipe:
        words = pipe.read().decode(errors="replace")
    code = os.waitstatus_to_exitcode(status)
    outcome = {0: "used", 2: "refused", 3: "traceback"}.get(code, f"killed ({code})")
    unit = 2**30 if sys.platform == "darwin" else 2**20
    cpu_s = usage.ru_utime + usage.ru_stime
    return {"outcome": outcome, "words": words, "cpu_s": cpu_s, "gib": usage.ru_maxrss / unit}


def _read(read: Reader, path: Path) -> tuple[int, str]:
    """(exit status, words) of reading a file in this process, which then has bounds."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    limit = taken + int(ROOM_GIB * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, (KILLED_CPU_S, KILLED_CPU_S))
    warnings.simplefilter("ignore")
    return tried(read, path)


def tried(read: Reader, path: Path) -> tuple[int, str]:
    """(exit status, words) of reading a file: 0 used, 2 refused in a sentence, 3 anything else."""
    from ptydesign.errors import InputError

    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            found = read(path)
    except InputError as error:
        return 2, f"error: {error}"
    except SystemExit as error:
        return int(error.code or 0), said.getvalue()
    except BaseException:
        return 3, traceback.format_exc()
    status = found if isinstance(found, int) else 0
    words = said.getvalue()
    return (3 if "Traceback" in words or (status == 2 and not _is_sentence(words)) else status), words


def _is_sentence(words: str) -> bool:
    """Whether what was said begins a line with an error, of bounded length."""
    lines = [line for line in words.splitlines() if line.startswith(SENTENCE)]
    return bool(lines) and all(len(line) < 2000 for line in lines)


def measure(studies: Path, place: Path, count: int, seed: int = 0) -> Iterator[pd.DataFrame]:
    """Change `count` files and read them; the table so far, after each 100. place: an empty folder to work in."""
    _load()
    good, rng, rows = cases(studies, place / "good"), random.Random(seed), []
    for case in good:
        found = forked(case.read, case.path)
        if found["outcome"] != "used":
            raise RuntimeError(f"{case.path} should be good: {found['words']}")
    for number in range(count):
        case = good[number % len(good)]
        folder = place / "case"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(case.path.parent, folder / case.path.parent.name)
        path = folder / case.path.parent.name / case.path.name
        change = mutated(path, rng)
        row = {"number": number, "kind": case.name, "file": case.path.name, "change": change[:100]}
        rows.append(row | forked(case.read, path))
        found = rows[-1]
        if failed(found):
            shutil.copytree(folder, place / "failed" / str(number), dirs_exist_ok=True)
            print(f"{number} {case.name}: {change}: {found['outcome']}, {found['cpu_s']:.1f} s, {found['gib']:.2f} GiB")
            print("   ", *(line[-300:] for line in found["words"].strip().splitlines()[-1:]), flush=True)
        if (number + 1) % 100 == 0 or number + 1 == count:
            print(f"{number + 1} files: {sum(map(failed, rows))} broke a rule", flush=True)
            yield pd.DataFrame(rows)


def _load() -> None:
    """Libraries that commands import, before the children are made."""
    import ptydesign.api
    import ptydesign.commands
    import ptydesign.instruments.convert
    import ptydesign.kinds
    import ptydesign.planning.show
    import ptydesign.simulate.crystal  # noqa: F401
    from ptydesign import kinds

    for kind in kinds.KINDS:
        kinds.find_kind(kind)


def failed(row: dict[str, Any]) -> bool:
    """Whether a case broke a rule."""
    return row["outcome"] not in ("used", "refused") or row["cpu_s"] > LONGEST_S or row["gib"] > MOST_GIB


def markdown(table: pd.DataFrame) -> str:
    """What became of all files, by their kind."""
    lines = ["| input | files | used | refused | tracebacks | killed | most s of processor time | most GiB |",
             "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for name, rows in [*table.groupby("kind", sort=True), ("all", table)]:
        counts = [sum(rows["outcome"].str.startswith(word)) for word in ("used", "refused", "traceback", "killed")]
        numbers = " | ".join(map(str, counts))
        lines.append(f"| {name} | {len(rows)} | {numbers} | {rows['cpu_s'].max():.1f} | {rows['gib'].max():.2f} |")
    return "\n".join(lines) + "\n"
