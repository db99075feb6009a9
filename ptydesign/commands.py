"""Commands for data and reconstructions outside studies: import, reconstruct, show, export. Registered in `cli`.

Imports are inside the commands, as in `cli`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ptydesign import functions
from ptydesign.errors import InputError
from ptydesign.given import read_data, read_scans

if TYPE_CHECKING:
    from ptydesign.reconstruct.live import Live
    from ptydesign.reconstruct.plan import Plan
    from ptydesign.types import Dataset


def _pair(kind: type) -> Callable[[str], tuple]:
    def parse(text: str) -> tuple:
        parts = [kind(part) for part in text.replace("x", ",").split(",")]
        if len(parts) == 1:
            parts *= 2
        if len(parts) != 2:
            raise ValueError(text)
        return tuple(parts)

    parse.__name__ = "pair (y,x)"
    return parse


_INTEGERS, _FLOATS = _pair(int), _pair(float)
# Options of `import`: the fields of instruments.calibration.Calibration, which is not loaded for every command.
CALIBRATION = {
    "voltage_kv": (float, "acceleration voltage (required, here or in --calibration)"),
    "semiangle_mrad": (float, "aperture semi-angle; needed unless --probe is given"),
    "defocus_nm": (float, "defocus, positive is underfocus (default: 0)"),
    "cs_mm": (float, "spherical aberration (default: 0)"),
    "step_a": (_FLOATS, "scan step in angstrom; needed unless --positions is given"),
    "scan_shape": (_INTEGERS, "rows and columns of the scan, where the file doesn't say"),
    "rotation_deg": (float, "scan's x axis, turned from the detector's kx towards ky (default: 0)"),
    "reshape": (bool, "--scan-shape overrules the shape that the file has"),
    "reciprocal_pixel": (_FLOATS, "detector pixel in 1/A, before binning (q, not 2 pi q)"),
    "pixel_mrad": (_FLOATS, "detector pixel in mrad, instead of --reciprocal-pixel"),
    "scan_last": (bool, "the array's last two axes are the scan"),
    "transpose": (bool, "swap ky and kx"),
    "flip_ky": (bool, "reverse ky (after --transpose)"),
    "flip_kx": (bool, "reverse kx (after --transpose)"),
    "corner": (bool, "zero frequency is at pixel (0, 0), as after an FFT"),
    "centre_px": (_FLOATS, "zero frequency in turned pixels (default: centre of the mean pattern's disk)"),
    "crop_px": (_INTEGERS, "detector pixels to keep around the centre, before binning"),
    "bin": (int, "detector pixels to sum along each axis (default: 1)"),
    "counts_per_electron": (float, "the detector's gain (default: 1)"),
    "threshold": (float, "readings below it are set to 0: dark noise"),
    "skip_frames": (str, "frames of the file to leave out, as 0,5:9,16::17 (slices); bad: those found to be bad"),
    "scan_crop": (str, "rows and columns of the scan to keep, as y0:y1,x0:x1"),
    "mask_marks": (("good", "bad"), "what a 1 in the mask means (default: good; DECTRIS and pyFAI: bad)"),
    "repair_pixels": (("mask", "fill"), "mask hot and dead pixels, or give them the mean of their neighbours"),
    "descan": (("plane", "quadratic"), "take out the beam's wandering over the scan, fitted by such a surface"),
}


def import_(options: argparse.Namespace) -> None:
    """Convert an instrument's file (MIB, EMPAD, DM4, EMD, blo, hspy, ...) to a dataset of ptydesign."""
    from ptydesign import io
    from ptydesign.config import build, read_yaml
    from ptydesign.instruments import estimated
    from ptydesign.instruments.calibration import Calibration
    from ptydesign.instruments.convert import import_file
    from ptydesign.instruments.files import check_there
    from ptydesign.instruments.memory import bound_bytes

    check_new(options.output, options.overwrite)
    check_there(options.file)  # before what is said of its calibration
    given = read_yaml(options.calibration) if options.calibration else {}
    given |= {name: getattr(options, name) for name in CALIBRATION if getattr(options, name) is not None}
    names = ("format", "raw", "loader", "mask", "positions", "positions_unit", "probe", "vacuum", "memory_gib")
    others = {name: getattr(options, name) for name in names}
    if options.estimate:
        filled = estimated.fill(options.file, given, **others)
        given = filled.given
        for words in filled.words:
            print(words)
    calibration = build(Calibration, given, "calibration")
    dataset = import_file(options.file, calibration, **others, lazy=True)
    doubts = dataset.provenance["doubts"]
    if not options.estimate:
        doubts += estimated.doubts_of(dataset)
    io.write_dataset(options.output, dataset)
    for words in doubts:
        print(f"warning: {options.file}: {words}", file=sys.stderr)
    for name, value in dataset.provenance["offered"].items():
        print(f"the file says {name}: {value}")
    count, ny, nx = dataset.patterns.shape
    words = f"{count} patterns of {ny} x {nx} px, {dataset.electrons_per_pattern:.4g} counts each"
    centre = ", ".join(f"{c:.2f}" for c in dataset.provenance["zero_frequency_px"])
    print(f"{options.output}: {words}; zero frequency at pixel ({centre})")
    print(f"memory: blocks within {bound_bytes(options.memory_gib) / 2**30:.2g} GiB (--memory-gib)")


def reconstruct(options: argparse.Namespace) -> int:
    """Reconstruct a dataset as a plan says, or several of one object together."""
    check_new(options.output, options.overwrite)
    from ptydesign import io
    from ptydesign.api import read_plan, reconstruct_dataset
    from ptydesign.reconstruct import cores
    from ptydesign.reconstruct.checkpoint import Checkpoints, cores_to_resume
    from ptydesign.reconstruct.live import CHECKPOINT_S, best_beside
    from ptydesign.reconstruct.sane import HELD_OUT, LEAST_POSITIONS, Best, for_counts, hold_out, judged
    from ptydesign.reconstruct.start import start_state

    plan = read_plan(options.plan)
    told: list[str] = []
    dataset = read_scans(options.data, options.chunk_gib, told)
    path = options.checkpoint or options.resume
    if path is not None:
        check_new(path, options.overwrite or path == options.resume)
    checkpoints = Checkpoints(path, options.checkpoint_every) if path is not None else None
    observers = []
    if options.preview is not None:
        from ptydesign.pictures.preview import Previews

        check_new(options.preview, options.overwrite)
        observers.append(Previews(options.preview, options.preview_every))
    wanted = cores_to_resume(options.resume) if options.resume is not None else None
    cores.use_cores(options.threads or wanted)
    keep_compiled_code()
    plan, changes = for_counts(plan, dataset)
    for words in changes:
        told.append(f"few counts, so what the plan leaves open is {words}")
        print(told[-1], file=sys.stderr)
    few = changes and len(dataset.patterns) >= LEAST_POSITIONS
    part = options.heldout if options.heldout is not None else HELD_OUT if few else 0
    best = None
    if part:
        beside = best_beside(options.output)
        check_new(beside, options.overwrite)
        dataset, out = hold_out(dataset, part, options.seed)
        last, corrected = plan.engines[-1], plan.corrected
        best = Best(corrected(dataset), corrected(out), last.noise, last.offset, plan.probe.window)
        if options.resume is None:
            best.look(0, start_state(best.nominal, plan))
        observers.append(best)
    live = _live(options, dataset, plan, told) if options.live else None
    if live is not None and path is None:
        checkpoints = Checkpoints(live.folder / "checkpoint.h5", options.checkpoint_every, CHECKPOINT_S)
    with live or nullcontext():
        result = reconstruct_dataset(
            dataset,
            plan,
            options.seed,
            not options.quiet,
            [*observers, live] if live else observers,
            checkpoints,
            resume=options.resume,
            chunk_gib=options.chunk_gib,
        )
        outcome = judged(result.outcome, result.history["loss"])
        result = replace(result, outcome=outcome)
        if best is not None and best.misfit:
            history = {**result.history, "heldout_misfit": best.history(outcome.sweeps)}
            result = replace(result, history=history)
        io.write_reconstruction(options.output, result)
        if live is not None:
            live.finish(result.outcome, result.state)
    loss, work = (result.history[name] for name in ("loss", "work_gflop"))
    done = f"loss {loss[-1]:.4g}, {work[-1]:.4g} GFLOP" if len(loss) else "no sweep"
    print(f"{options.output}: {outcome.words}, {done}. {outcome.reason}")
    if best is not None and best.state is not None:
        least = f"least misfit of held-out patterns, {best.misfit[best.sweep]:.4g}, after sweep {best.sweep}"
        io.write_reconstruction(beside, replace(result, state=best.state))
        print(f"{beside}: {least}; {list(best.misfit.values())[-1]:.4g} at the end")
    return int(options.strict and outcome.status not in ("converged", "all_sweeps_done", "budget_spent", "stopped"))


def halves(options: argparse.Namespace) -> None:
    """Reconstruct two independent halves of a dataset and write their Fourier ring correlation."""
    check_new(options.output, options.overwrite, folder=True)
    from ptydesign import drawing, io
    from ptydesign.api import read_plan
    from ptydesign.halves import reconstruct_halves
    from ptydesign.pictures.halves import frc, table
    from ptydesign.reconstruct import cores

    plan, dataset = read_plan(options.plan), read_data(options.data, options.chunk_gib)
    cores.use_cores(options.threads)
    keep_compiled_code()
    first, second, agreement = reconstruct_halves(
        dataset, plan, options.by, options.seed, not options.quiet, options.chunk_gib, options.data.absolute().parent
    )
    for number, result in enumerate((first, second), 1):
        io.write_reconstruction(options.output / f"half{number}.h5", result)
    io.write_text(options.output / "frc.csv", table(agreement))
    with drawing.styled():
        drawing.save(frc(agreement, dataset.grid.pixel_a), options.output, "frc")
    curve = agreement.frc_curve
    one, half = (curve.resolution_words(threshold) for threshold in (curve.one_bit, curve.half_bit))
    area = f"FRC area {curve.area(curve.nyquist):.3f}"
    print(f"{options.output}: {area}, resolution at 1 bit: {one}; at 1/2 bit: {half}")


def show(options: argparse.Namespace) -> None:
    """Draw a dataset or a reconstruction."""
    from ptydesign.pictures.draw import show as draw

    for path in draw(options.file, options.output, options.memory_gib):
        print(path)


def export(options: argparse.Namespace) -> None:
    """Write the phase (or amplitude) of a reconstruction as TIFF, or a dataset for another program (--to)."""
    if options.to is not None:
        from ptydesign.instruments.programs import export_dataset

        check_new(options.output, False, folder=True)
        for path in export_dataset(read_data(options.file), options.output, options.to):
            print(path)
        return
    from ptydesign.pictures.export import export_image

    check_new(options.output, options.overwrite)
    export_image(
        options.file,
        options.output,
        quantity=options.quantity,
        whole=options.whole,
        flat=options.flat,
        total=options.total,
        memory_gib=options.memory_gib,
    )
    print(options.output)


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Register all of them."""

    def command(name: str, run: Callable[[argparse.Namespace], int | None]) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
        added.set_defaults(run=run)
        return added

    _import_options(command("import", import_))
    for run, output in ((reconstruct, "reconstruction to write (HDF5)"), (halves, "folder to write")):
        one = command(run.__name__, run)
        if run is reconstruct:
            words = "dataset, as `ptydesign import` writes it; several are scans of one object"
            one.add_argument("data", type=Path, nargs="+", help=words)
        else:
            one.add_argument("data", type=Path, help="dataset, as `ptydesign import` writes it")
        one.add_argument("plan", type=Path, help="plan: YAML or JSON")
        _output(one, output)
        one.add_argument("--seed", type=int, default=0, help="of the batches' order, and of the split (default: 0)")
        functions.add_option(one)
        one.add_argument("--quiet", action="store_true", help="no progress bar")
        one.add_argument(
            "--threads",
            type=int,
            default=None,
            help="cores to use (default: all, or what the resumed checkpoint was made with)",
        )
        one.add_argument(
            "--chunk-gib",
            type=float,
            metavar="GIB",
            help="leave patterns on the disk if they take more than this, and work on chunks of at most this size, "
            "with the same result (default: if they take more than half of the device's free memory; inf: never)",
        )
        if run is reconstruct:
            _live_options(one)
            _sane_options(one)
        else:
            one.add_argument("--by", default="positions", help="how to split: positions (default), counts")
    one = command("show", show)
    one.add_argument("file", type=Path, help="dataset or reconstruction")
    one.add_argument("-o", "--output", type=Path, required=True, help="folder for the pictures (PNG and PDF)")
    _memory_option(one)
    one = command("export", export)
    one.add_argument("file", type=Path, help="reconstruction; with --to a dataset")
    one.add_argument("output", type=Path, help="picture to write, as phase.tif; with --to a new folder")
    one.add_argument("--to", metavar="PROGRAM", help="phaser, ptyrad, py4dstem, hyperspy: a dataset in its layout")
    one.add_argument("--quantity", choices=("phase", "amplitude"), default="phase")
    one.add_argument("--whole", action="store_true", help="the whole canvas, not only the scanned region")
    one.add_argument("--flat", action="store_true", help="remove the mean phase and the mean slope")
    one.add_argument("--total", action="store_true", help="one image of all slices, not one image a slice")
    _memory_option(one)
    one.add_argument("--overwrite", action="store_true", help="replace an existing file")


def _live(options: argparse.Namespace, dataset: Dataset, plan: Plan, told: list[str]) -> Live:
    """What shows the run to viewers, in a folder beside its output. told: what was said before it begins."""
    from ptydesign.reconstruct.live import SUFFIX, Live

    names = ("plan", "output", "resume", "checkpoint")
    files = {f"{name}_file": getattr(options, name) and str(getattr(options, name).absolute()) for name in names}
    files["data_file"], *files["further_files"] = (str(path.absolute()) for path in options.data)
    folder = options.output.with_suffix(SUFFIX)
    if (folder / "session.json").exists():
        check_new(folder, options.overwrite or options.resume is not None, folder=True)
    return Live(
        folder,
        dataset,
        plan,
        {"seed": options.seed, "heldout": options.heldout, **files},
        resumed=options.resume is not None,
        told=told,
    )


def _live_options(one: argparse.ArgumentParser) -> None:
    one.add_argument("--checkpoint", type=Path, help="file to keep what is needed to go on (default: none)")
    one.add_argument("--checkpoint-every", type=int, default=10, metavar="SWEEPS", help="how often (default: 10)")
    one.add_argument("--resume", type=Path, metavar="CHECKPOINT", help="go on from it, and keep it up to date")
    one.add_argument(
        "--live", action="store_true", help="show the run to `ptydesign serve`, in a folder beside the output (*.live)"
    )
    one.add_argument("--preview", type=Path, help="picture (PNG) of the phase so far, drawn anew now and then")
    one.add_argument("--preview-every", type=int, default=10, metavar="SWEEPS", help="how often (default: 10)")


def _sane_options(one: argparse.ArgumentParser) -> None:
    words = "of patterns to hold out: the state that explains them best is kept as FILE_best"
    one.add_argument("--heldout", type=float, metavar="PART", help=f"{words} (default: 0.05 where counts are few)")
    words = "exit status 1 if it diverged, ended above its start or made no progress"
    one.add_argument("--strict", action="store_true", help=words)


def _import_options(one: argparse.ArgumentParser) -> None:
    one.add_argument("file", help="the instrument's file; file.h5:path/of/array for an array in an HDF5 file")
    _output(one, "dataset to write (HDF5)")
    one.add_argument("--format", help="RosettaSciIO's name of the format, where the suffix leaves a choice")
    one.add_argument("--calibration", type=Path, help="YAML file with the options below; options win")
    one.add_argument("--raw", metavar="LAYOUT", help="raw binary: empad, empad-g2, or dtype=uint16,pixels=256x256,"
                     "offset=0,gap=0,footer=0 (bytes)")  # fmt: skip
    one.add_argument("--loader", metavar="FILE.PY:NAME", help="function of your own that reads the file")
    functions.add_option(one)
    one.add_argument("--mask", help="file with 1 = good, 0 = ignore: .npy, .tif, .csv, file.h5:array; see --mask-marks")
    one.add_argument("--positions", help="file with (y, x) of each pattern: .npy, .csv, .txt, file.h5:array")
    one.add_argument("--positions-unit", default="a", help="a (angstrom, default), nm, px (of the reconstruction)")
    one.add_argument("--probe", help="file with a complex first guess of the probe, in real space: .npy, file.h5:array")
    one.add_argument("--vacuum", help="file with the beam's intensity on the detector without a specimen: gives centre,"
                     " aperture and the first guess of the probe")  # fmt: skip
    one.add_argument("--estimate", action="store_true", help="find what isn't given (rotation, flips, defocus, aperture"
                     " or pixel) from the data, and compare what is")  # fmt: skip
    _memory_option(one)
    for name, (kind, words) in CALIBRATION.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(kind, tuple):
            one.add_argument(flag, choices=kind, help=words)
        elif kind is bool:
            one.add_argument(flag, action="store_true", default=None, help=words)
        elif kind in (int, float, str):
            one.add_argument(flag, type=kind, help=words)
        else:
            one.add_argument(flag, type=kind, metavar="Y,X", help=f"{words}; one number for both")


def _memory_option(one: argparse.ArgumentParser) -> None:
    one.add_argument("--memory-gib", type=float, metavar="GIB", help="memory to take (default: half of what is free)")


def _output(one: argparse.ArgumentParser, words: str) -> None:
    one.add_argument("-o", "--output", type=Path, required=True, help=words)
    one.add_argument("--overwrite", action="store_true", help="replace an existing file")


def check_new(path: Path, overwrite: bool, folder: bool = False) -> None:
    """Before work starts: nothing that a user made is replaced unasked, and the folder can be written."""
    if path.exists() and not overwrite:
        raise InputError("output", "must not exist yet", str(path), "Give another name, or --overwrite.")
    if path.is_dir() != folder and path.exists():
        raise InputError("output", "must be a folder" if folder else "must be a file", str(path), "Give another name.")
    parent = next(p for p in (path.absolute().parent, *path.absolute().parents) if p.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise InputError("output", "must be in a folder that can be written", str(path), "Give another folder.")


def keep_compiled_code() -> None:
    """Share compiled code between runs, in the user's cache folder."""
    from ptydesign import compiled

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ptydesign" / "jax"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"warning: compiled code is not kept: {error}", file=sys.stderr)
        return
    compiled.remove_broken(cache)
    compiled.keep(cache)
