"""Commands of planning: init, instrument, detectors, doses, card, plan. Imports are inside, as in `ptydesign.cli`."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from ptydesign import functions
from ptydesign.errors import InputError


def init(options: argparse.Namespace) -> None:
    """Write a plan file to edit."""
    from ptydesign import io
    from ptydesign.planning.load import KIND, TEMPLATE
    from ptydesign.study.schema import naming_schema

    if options.file.exists():
        raise InputError("file", "must not exist yet", str(options.file), "Give another name.")
    io.write_text(options.file, naming_schema(TEMPLATE.read_text(encoding="utf-8"), KIND))
    print(f"{options.file}: edit it, then `ptydesign card {shlex.quote(str(options.file))}`")


def instrument(options: argparse.Namespace) -> None:
    """Make an instrument's file that plans include by its name (`new NAME`), or check one (`check NAME`)."""
    from ptydesign.planning.library import find_instrument, lines_of
    from ptydesign.planning.questions import make_instrument

    if options.what == "check":
        print("\n".join(lines_of(find_instrument(options.name, Path()))))
        return
    print(f"{options.name}: a question for each number, with its unit; Enter takes what is in brackets")
    path = make_instrument(options.name, Path(), input, patient=sys.stdin.isatty())
    print(f"\n{path}: in a plan write `instrument: {options.name}`; `ptydesign instrument check {options.name}`")


def detectors(options: argparse.Namespace) -> None:
    """List the detectors that are known; of one of them each number with its source."""
    from ptydesign.planning.detectors import detector_names, detector_table, find_detector, source_lines

    if options.name:
        print(source_lines(find_detector(options.name)))
        return
    print(detector_table([find_detector(name) for name in detector_names()]))
    print("(`ptydesign detectors NAME`: all its numbers with their sources; ? is one that isn't verified)")


def doses(options: argparse.Namespace) -> None:
    """List critical doses of common specimens, with their sources."""
    from ptydesign.planning.doses import doses_text

    print(doses_text())


def card(options: argparse.Namespace) -> None:
    """Say in seconds what is possible: sampling, counts, time, drift, files, for the rule of thumb's setting."""
    from ptydesign.planning.resolve import make_bench, plan_cards
    from ptydesign.planning.show import print_card, write_cards
    from ptydesign.planning.start import read_to_start
    from ptydesign.study.cost import fft_rate

    plan, warnings = read_to_start(options.plan, options.scale)
    rate = fft_rate()
    cards = plan_cards(plan, rate)
    unit = make_bench(plan).camera_unit
    for one in cards:
        print_card(one, unit)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if options.output is not None:
        for path in write_cards(options.output, cards, unit, rate, warnings):
            print(path)
    else:
        print("(-o FOLDER writes it as card.html, card.csv and card.json)")


def plan(options: argparse.Namespace) -> None:
    """Find the best settings by simulation, and write them on a sheet. --card: only what `card` does."""
    from ptydesign.planning.api import Design, install, run_rules, to_its_end
    from ptydesign.study.file import folder_name

    if options.measured is not None:
        options.plan = _next_time(options.plan, options.scale, *options.measured)
    if options.card:
        card(options)
        return
    with to_its_end():
        name = install(options.plan, Path(), options.scale)
    run_rules(name, Path(), options.scale, options.cores, options.snakemake)
    folder = Path("results") / folder_name(name, options.scale)
    if not folder.is_dir():  # snakemake was told to do something else, as a dry run
        return
    settings = Design(folder).settings
    words = (f"{value:.4g}" if isinstance(value, float) else value for value in settings.values())
    print(", ".join(f"{key} {word}" for key, word in zip(settings, words, strict=True)))
    for file in ("sheet.pdf", "sheet.html", "settings.json", "reconstruction.yaml", "report.html"):
        print(folder / file)


def _next_time(path: Path, scale: str, data: Path, result: Path) -> Path:
    """Write the plan for the next time beside a plan, with what was measured; returns its file."""
    import yaml

    from ptydesign import io
    from ptydesign.config import read_yaml
    from ptydesign.planning import measured
    from ptydesign.planning.library import with_instrument
    from ptydesign.planning.load import read_plan
    from ptydesign.planning.resolve import make_bench

    if path.is_dir():
        raise InputError("--from", "needs a plan's file, beside which the next one goes", str(path), "Give its file.")
    bench, new = make_bench(read_plan(path, scale)[0]), measured.next_path(path)
    taken = measured.measured(bench, io.read_dataset(data, mapped=True), io.read_reconstruction(result))
    content = measured.next_plan(with_instrument(read_yaml(path), path.parent), taken)
    lines = measured.lines_of(taken)
    head = "".join(f"# {line}\n" for line in (f"{path.name} with what {data.name} and {result.name} say:", *lines))
    io.write_text(new, head + yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    try:
        read_plan(new, scale)
    except InputError:
        new.unlink()
        raise
    print("\n".join([*lines, f"{new}: written; it is planned now, and can be edited and planned again"]))
    return new


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Register the commands."""
    one = commands.add_parser("init", help=init.__doc__, description=init.__doc__)
    one.add_argument(
        "file", type=Path, nargs="?", default=Path("beamtime.yaml"), help="to write (default: beamtime.yaml)"
    )
    one.set_defaults(run=init)
    one = commands.add_parser("instrument", help=instrument.__doc__, description=instrument.__doc__)
    one.add_argument("what", choices=("new", "check"), help="new: answer a questionnaire; check: show one, checked")
    one.add_argument("name", help="short name, as my-titan: instruments/my-titan.yaml of this folder")
    one.set_defaults(run=instrument)
    one = commands.add_parser("detectors", help=detectors.__doc__, description=detectors.__doc__)
    one.add_argument("name", nargs="?", help="one of them (default: all)")
    one.set_defaults(run=detectors)
    one = commands.add_parser("doses", help=doses.__doc__, description=doses.__doc__)
    one.set_defaults(run=doses)
    one = commands.add_parser("card", help=card.__doc__, description=card.__doc__)
    _plan(one)
    _output(one)
    one.set_defaults(run=card)
    one = commands.add_parser("plan", help=plan.__doc__, description=plan.__doc__)
    _plan(one)
    one.add_argument(
        "--from", dest="measured", nargs=2, type=Path, metavar=("DATA", "RESULT"),
        help="a measurement and its reconstruction: plan the next time with its setting, dose and errors",
    )  # fmt: skip
    one.add_argument("--card", action="store_true", help="only the feasibility card, in seconds")
    one.add_argument("--cores", type=int, default=None, help="jobs at a time (default: all cores)")
    _output(one)
    one.rest = "snakemake"
    one.epilog = "Options of snakemake follow after --, as: ptydesign plan my.yaml -- --workflow-profile profiles/slurm"
    one.set_defaults(run=plan)


def _output(one: argparse.ArgumentParser) -> None:
    one.add_argument("-o", "--output", type=Path, help="folder for card.html, card.csv and card.json")


def _plan(one: argparse.ArgumentParser) -> None:
    one.add_argument("plan", type=Path, help="plan file (YAML), or a study's folder")
    one.add_argument("--scale", default="preview", help="smoke, preview (default) or paper")
    functions.add_option(one)
