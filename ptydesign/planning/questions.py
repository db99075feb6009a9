"""A questionnaire that makes an instrument's file: a question for each number, with its unit, checked at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ptydesign import io
from ptydesign.config import build
from ptydesign.errors import InputError
from ptydesign.planning.aberrations import KINDS, Kind
from ptydesign.planning.config import InstrumentConfig
from ptydesign.planning.library import new_path

Ask = Callable[[str], str]
YES_OR_NO = {"yes": True, "y": True, "no": False, "n": False}
# An instrument with which an answer is checked before the others are known.
ANY: dict[str, Any] = {
    "voltages_kv": [80],
    "apertures_mrad": [20],
    "defocus_nm": {"low": -10, "high": 10},
    "step_a": {"low": 1, "high": 2},
    "pixels_mrad": [1],
    "currents_pa": [1],
}


@dataclass(frozen=True)
class Question:
    """field: of the instrument, with a dot for one in a section. words: with the unit. kind: of the answer. default:
    what Enter means; None: an answer is needed. only: fields that must be known for it to be asked, and not 0; with "!"
    such as must not."""

    field: str
    words: str
    kind: str = "number"
    default: str | None = None
    only: tuple[str, ...] = ()


def _of_aberration(kind: Kind) -> str:
    name = f"{kind.haider}, {kind.words}"
    if kind.fold:
        return f"{name}: amount in nm, direction in degrees, what alignment leaves in nm (as 2 30 1; Enter: none)"
    return f"{name}: amount in mm, what alignment leaves in mm (as 1 0.5; Enter: none)"


# Kinds of answers of several numbers -> what they are.
PARTS = {
    "range": ("low", "high"),
    "setting": ("voltage_kv", "semiangle_mrad", "current_pa"),
    "directed": ("nm", "angle_deg", "residual_nm"),
    "round": ("mm", "residual_mm"),
}
QUESTIONS = (
    Question("name", "What is the microscope called?", "text"),
    Question("voltages_kv", "Accelerating voltages that are aligned, in kV (as 80 300)", "list"),
    Question("apertures_mrad", "Convergence semi-angles of the apertures, in mrad (as 15 21.4 25)", "list"),
    Question("defocus_nm", "Lowest and highest defocus in nm, as the display shows it (as -60 60)", "range"),
    Question("conventions.defocus_positive", "Is a positive defocus on the display underfocus or overfocus?", "text",
             "underfocus"),
    Question("step_a", "Smallest and largest scan step in angstrom (as 0.4 6)", "range"),
    Question("pixels_mrad", "Angle of a detector pixel at each camera length, in mrad (Enter: not calibrated)", "list",
             ""),
    Question("camera_lengths_mm", "Camera lengths at the detector, in mm (as 115 145)", "list",
             only=("!pixels_mrad",)),
    Question("currents_pa", "Beam currents that can be set, in pA (as 1 5 20)", "list"),
    Question("dwell_us", "Shortest and longest dwell time in microseconds", "range", "0.5 100000"),
    Question("flyback_us", "Time lost after each line of the scan, in microseconds", default="0"),
    Question("beam_blanked_in_flyback", "Is the beam off while the scan flies back, yes or no?", "yes", "yes",
             only=("flyback_us",)),
    Question("drift_a_per_min", "Drift of the settled stage in angstrom per minute", default="0"),
    Question("gun.kind", "Kind of gun: cold-feg, schottky or lab6 (Enter: not known)", "text", ""),
    Question("source_size_a", "Source at the specimen in angstrom rms, if it was measured (Enter: it wasn't)",
             default=""),
    Question("source_at", "At which voltage in kV, semi-angle in mrad and current in pA was it measured (as 80 21 5)?",
             "setting", only=("source_size_a",)),
    Question("gun.reduced_brightness_a_per_m2_sr_v", "Reduced brightness in A/(m^2 sr V) (Enter: typical of the kind)",
             default="", only=("gun", "!source_size_a")),
    Question("gun.energy_spread_ev", "Energy spread in eV, full width at half maximum (Enter: typical of the kind)",
             default="", only=("gun",)),
    Question("cc_mm", "Chromatic aberration Cc in mm (Enter: not known, no focal spread)", default="", only=("gun",)),
    Question("focal_spread_nm", "Focal spread in nm rms (Enter: none)", default="", only=("!gun",)),
    Question("cs_mm", "Spherical aberration C3 in mm (0: corrected)", default="0"),
    Question("aberrations", "Are further aberrations known, or what alignment leaves of them, yes or no?", "section",
             "no"),
    *(Question(f"aberrations.{one.haider}", _of_aberration(one), "directed" if one.fold else "round", "",
               only=("aberrations",)) for one in KINDS),
    Question("defocus_error_nm", "How well the defocus is known: one standard deviation in nm", default="2"),
    Question("position_jitter_a", "Random error of a scan position in angstrom rms", default="0"),
    Question("conventions.rotation_positive", "Does a positive scan rotation turn clockwise or counterclockwise?",
             "text", "clockwise"),
)  # fmt: skip


def make_instrument(name: str, folder: Path, ask: Ask, patient: bool, say: Callable[[str], None] = print) -> Path:
    """Ask for an instrument and write instruments/<name>.yaml of a folder; returns the path.

    ask: shows words and returns an answer; raises EOFError when there are no more. patient: a wrong answer is asked for
    again, as on a terminal; else it ends. Raises InputError; nothing is written then.
    """
    path = new_path(name, folder)
    answers: dict[str, Any] = {}
    for question in QUESTIONS:
        if _is_asked(question, answers):
            _answer(question, answers, ask, patient, say)
    if answers.get("aberrations") == {}:
        del answers["aberrations"]
    build(InstrumentConfig, answers, "instrument")
    path.parent.mkdir(parents=True, exist_ok=True)
    head = f"# Made by `ptydesign instrument new`. In a plan: instrument: {name}\n"
    io.write_text(path, head + yaml.safe_dump(answers, sort_keys=False, allow_unicode=True))
    return path


def _is_asked(question: Question, answers: dict[str, Any]) -> bool:
    known = {name for name, value in answers.items() if value != 0}
    return all((name.lstrip("!") in known) != name.startswith("!") for name in question.only)


def _answer(question: Question, answers: dict[str, Any], ask: Ask, patient: bool, say: Callable[[str], None]) -> None:
    """Ask until the answer is right, and put it into `answers`."""
    while True:
        words = question.words + (f" [{question.default}]" if question.default else "")
        words += " " if words.endswith("?") else ": "
        try:
            given = ask(words).strip() or question.default
        except EOFError:
            mend = "Give one line for each question; an empty one takes what is in brackets."
            raise InputError(question.field, "needs an answer", "the end of the answers", mend) from None
        if given == "":
            return
        try:
            value = _value(question, given)
            _check(question, answers, value)
        except InputError as error:
            if not patient:
                raise
            say(f"  {error}")
        else:
            if value is not None:
                _put(answers, question.field, value)
            return


def _value(question: Question, given: str | None) -> Any:
    """The answer as the file holds it."""
    if given is None:
        raise InputError(question.field, "needs an answer", "nothing", question.words)
    if question.kind == "text":
        return given if question.field == "name" else given.lower()
    if question.kind in ("yes", "section"):
        if given.lower() not in YES_OR_NO:
            raise InputError(question.field, "must be yes or no", given, question.words)
        yes = YES_OR_NO[given.lower()]
        return yes if question.kind == "yes" else {} if yes else None
    words = given.replace(",", " ").split()
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        raise InputError(
            question.field, "must be numbers alone, in the unit of the question", given, question.words
        ) from None
    numbers = [int(number) if number.is_integer() else number for number in numbers]
    parts = PARTS.get(question.kind)
    count = len(parts) if parts else 1 if question.kind == "number" else len(numbers)
    if len(numbers) != count:
        rule = f"must be {count} number{'s' if count > 1 else ''}"
        raise InputError(question.field, rule, given, question.words)
    if parts:
        return dict(zip(parts, numbers, strict=True))
    return numbers if question.kind == "list" else numbers[0]


def _check(question: Question, answers: dict[str, Any], value: Any) -> None:
    """Raises InputError for an answer that breaks a rule of the instrument, with what was answered before."""
    known = {**ANY, **answers}
    known = {name: dict(one) if isinstance(one, dict) else one for name, one in known.items()}
    camera = {*answers, question.field}
    if "camera_lengths_mm" in camera and "pixels_mrad" not in camera:
        del known["pixels_mrad"]
    if value is not None:
        _put(known, question.field, value)
    if question.field == "source_size_a":  # where it was measured is the next question
        known |= {"source_at": {"voltage_kv": 80, "semiangle_mrad": 20, "current_pa": 1}}
    build(InstrumentConfig, known, "instrument")


def _put(content: dict[str, Any], field: str, value: Any) -> None:
    section, _, name = field.rpartition(".")
    if section:
        content.setdefault(section, {})[name] = value
    else:
        content[name] = value
