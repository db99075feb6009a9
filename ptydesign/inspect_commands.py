"""Commands that ask what the data say: calibrate, direct. Registered in `cli`.

Imports are inside the commands, as in `cli`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ptydesign.commands import check_new, keep_compiled_code
from ptydesign.given import read_data

if TYPE_CHECKING:
    from ptydesign.reconstruct.calibrate import Curve


def calibrate(options: argparse.Namespace) -> None:
    """Search what a dataset was told (aperture, defocus, rotation, scan, ...) by short reconstructions."""
    import yaml

    from ptydesign import io
    from ptydesign.api import read_plan
    from ptydesign.reconstruct import cores
    from ptydesign.reconstruct.calibrate import DAILY, calibrate, middle

    if options.output is not None:
        check_new(options.output, options.overwrite)
    plan, dataset = read_plan(options.plan), read_data(options.data)
    names = DAILY if options.parameters is None else [name.strip() for name in options.parameters.split(",")]
    cores.use_cores(options.threads)
    keep_compiled_code()
    part = middle(dataset, options.positions)
    print(f"{options.data}: {len(part.patterns)} of {len(dataset.patterns)} patterns, {options.rounds} rounds")

    def report(curve: Curve) -> None:
        if not options.quiet:
            print(f"  {curve.words}", file=sys.stderr, flush=True)

    curves, found = calibrate(part, plan, names, options.seed, options.sweeps, options.rounds, report)
    for curve in curves.values():
        print(curve.words)
    print("intervals: two standard errors of noise to each side, all else as found")
    if options.output is not None:
        io.write_text(
            options.output, yaml.safe_dump(found.model_dump(mode="json", exclude_unset=True), sort_keys=False)
        )
        print(options.output)


def direct(options: argparse.Namespace) -> None:
    """Reconstruct without iterations: single sideband, parallax, centre of mass or Wigner deconvolution."""
    check_new(options.output, options.overwrite)
    from ptydesign import io
    from ptydesign.api import direct_reconstruction, read_plan

    dataset = read_data(options.data)
    plan = read_plan(options.plan) if options.plan is not None else None
    result = direct_reconstruction(dataset, options.method, plan)
    io.write_reconstruction(options.output, result)
    print(f"{options.output}: {options.method}, loss {result.history['loss'][0]:.4g}")


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Register all of them."""
    for run, add_options in ((calibrate, _calibrate_options), (direct, _direct_options)):
        one = commands.add_parser(run.__name__, help=run.__doc__, description=run.__doc__)
        one.set_defaults(run=run)
        add_options(one)


def _calibrate_options(one: argparse.ArgumentParser) -> None:
    one.add_argument("data", type=Path, help="dataset, as `ptydesign import` writes it")
    one.add_argument("plan", type=Path, help="plan: slices, probe modes, noise model and correction count")
    one.add_argument("-o", "--output", type=Path, help="plan to write, corrected where what was told is outside")
    one.add_argument("--overwrite", action="store_true", help="replace an existing file")
    one.add_argument("--parameters", metavar="NAMES", help="what to search, in this order (default: semiangle_mrad,"
                     "defocus_nm,rotation_deg,scan_shear,scan_scale)")  # fmt: skip
    one.add_argument("--positions", type=int, default=400, help="to use, of the scan's middle (default: 400)")
    one.add_argument("--sweeps", type=int, default=8, help="of each reconstruction (default: 8)")
    one.add_argument("--rounds", type=int, default=2, help="of all parameters (default: 2)")
    one.add_argument("--seed", type=int, default=0, help="of the split of the counts (default: 0)")
    one.add_argument("--threads", type=int, default=None, help="cores to use (default: all)")
    one.add_argument("--quiet", action="store_true", help="no line for each parameter as it is found")


def _direct_options(one: argparse.ArgumentParser) -> None:
    one.add_argument("data", type=Path, help="dataset, as `ptydesign import` writes it")
    one.add_argument("-o", "--output", type=Path, required=True, help="reconstruction to write (HDF5)")
    one.add_argument("--method", default="ssb", help="ssb (single sideband, default), parallax (tilt-corrected bright"
                     " field), com (integrated centre of mass), wdd (Wigner distribution deconvolution)")  # fmt: skip
    one.add_argument("--plan", type=Path, help="plan whose correction and probe modes count")
    one.add_argument("--overwrite", action="store_true", help="replace an existing file")
