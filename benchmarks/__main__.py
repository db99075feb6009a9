"""`python -m benchmarks`: measures, and writes tables and a figure to docs/results/benchmarks.

Needs phaser: `pip install -r benchmarks/requirements.txt` in an environment of its own, after ptydesign itself.
Take an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

OWN = ("cluster", "defocus", "fairness", "gpu", "lowcounts", "methods", "page", "peers", "progress", "recovery", "ssnr",
       "stability", "trends")  # fmt: skip

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def main() -> None:
    """Measure what is asked for and write it."""
    if sys.argv[1:2] and sys.argv[1] in OWN:
        del sys.argv[0]
        runpy.run_module(f"benchmarks.{sys.argv[0]}", run_name="__main__")
        return
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "parts",
        nargs="*",
        default=["speed", "quality", "memory"],
        help="speed, quality, memory (default: these three); by themselves: profile (one core), trials, kills, "
        f"mutations, corruptions; with options of their own: {', '.join(OWN)}",
    )
    parser.add_argument("--out", type=Path, help="folder (default: docs/results/benchmarks or docs/results/faults)")
    parser.add_argument("--cores", type=int, default=None, help="cores to use (default: all)")
    parser.add_argument("--groups", type=int, nargs="+", default=[16, 64, 256], help="(default: 16 64 256)")
    parser.add_argument("--repeats", type=int, default=2, help="of each sweep's time (default: 2)")
    parser.add_argument("--seconds", type=float, default=12.0, help="of each run that is judged by its error")
    parser.add_argument("--designs", type=int, default=60, help="of which trials are timed (default: 60)")
    parser.add_argument("--count", type=int, default=None, help="of mutations (1000) or corruptions (300)")
    parser.add_argument("--place", type=Path, default=None, help="empty folder to work in (default: a temporary one)")
    parser.add_argument("--kills", type=int, default=100, help="of studies of all kinds (default: 100)")
    parser.add_argument("--kinds", nargs="+", help="of studies to kill or to damage (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of what is broken, and when (default: 0)")
    options = parser.parse_args()
    breaks = {"mutations", "corruptions", "kills"} & set(options.parts)
    options.out = options.out or Path("docs/results", "faults" if breaks else "benchmarks")
    if "trials" in options.parts:
        from benchmarks import trials

        options.out.mkdir(parents=True, exist_ok=True)
        trials.run(options.out, f"{processor()}, one core, beside other work", options.designs)
        return
    if breaks:
        (kill_studies if "kills" in breaks else break_files)(options)
        return

    from ptydesign.reconstruct.cores import use_cores

    profiled = "profile" in options.parts
    cores = use_cores(1 if profiled else options.cores)
    import jax

    from benchmarks import floor, memory, peer, profile, quality, speed
    from benchmarks.data import SHAPE, make_case
    from ptydesign import drawing

    where = jax.devices()[0]
    kind = where.device_kind if where.platform != "cpu" else f"{cores} cores"
    machine = f"{processor()}, {kind}, jax {jax.__version__}, phaserEM {peer.version()}"
    alone = f"On one core a transform takes {floor.one_core(SHAPE):.2f} times as long as the floor's."
    print(machine, alone, sep="\n", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    if "memory" in options.parts:
        table = memory.measure(cores)
        write(options.out / "memory.csv", table.to_csv(index=False, float_format="%.5g"))
        write(options.out / "memory.md", f"Measured on {machine}.\n\n" + memory.markdown(table))
    if not {"speed", "quality", "profile"} & set(options.parts):
        return
    cases = {1: make_case(1024, 1), 10: make_case(256, 10)}
    if profiled:
        busy = f"{alone} While all cores transform, each takes {profile.slowed():.2f} times as long as one alone."
        print(busy, flush=True)

        def save_profile(table: pd.DataFrame) -> None:
            write(options.out / "profile.csv", table.to_csv(index=False, float_format="%.5g"))
            write(options.out / "profile.md", f"Measured on {machine}. {busy}\n\n" + profile.markdown(table))

        profile.measure(cases, options.groups, save_profile)
        return

    def save_speed(table: pd.DataFrame) -> None:
        write(options.out / "speed.csv", table.to_csv(index=False, float_format="%.5g"))
        write(options.out / "speed.md", f"Measured on {machine}. {alone}\n\n" + speed.markdown(table))

    def save_quality(curves: pd.DataFrame) -> None:
        summed = quality.summary(curves)
        write(options.out / "quality.csv", curves.to_csv(index=False, float_format="%.5g"))
        write(options.out / "quality_summary.csv", summed.to_csv(index=False, float_format="%.5g"))
        write(options.out / "quality.md", f"Measured on {machine}.\n\n" + quality.markdown(summed))
        with drawing.styled():
            quality.figure(curves).savefig(options.out / "quality.png", dpi=130)

    if "speed" in options.parts:
        speed.measure(cases, options.groups, options.repeats, save_speed)
    if "quality" in options.parts:
        quality.measure(cases, {1: options.seconds, 10: 1.5 * options.seconds}, save_quality)


def break_files(options: argparse.Namespace) -> None:
    """What changed input files, or damaged files of studies, do; the table grows with them."""
    import tempfile

    from benchmarks import corruptions, mutations, smoke

    part, count, more = corruptions, 300, [options.kinds or list(smoke.STUDIES)]
    if "mutations" in options.parts:
        part, count, more = mutations, 1000, []
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as room:
        place = options.place or Path(room)
        for rows in part.measure(Path("studies"), place, options.count or count, *more, seed=options.seed):
            table = part.markdown(rows)
            write(options.out / f"{part.__name__.rpartition('.')[2]}.md", table)
        print(table)


def kill_studies(options: argparse.Namespace) -> None:
    """Kill smoke studies at random moments; the tables grow with each study that ends."""
    from benchmarks import kills, smoke

    options.out.mkdir(parents=True, exist_ok=True)
    kinds = options.kinds or list(smoke.STUDIES)
    for found in kills.measure(options.kills, options.seed, kinds, options.cores or 2):
        print(found.to_string(index=False), flush=True)
        write(options.out / "kills.csv", found.to_csv(index=False, float_format="%.5g"))
        write(options.out / "kills.md", kills.markdown(found))


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")] \
        if info.exists() else []  # fmt: skip
    return names[0] if names else platform.processor() or platform.machine()


def write(path: Path, text: str) -> None:
    """Write under a temporary name, then rename."""
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    part.replace(path)


main()
