"""Instruments that are kept as files, `instruments/<name>.yaml`, and included in plans by their names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptydesign.config import build, read_yaml
from ptydesign.errors import InputError, nearest, shown
from ptydesign.planning.config import InstrumentConfig
from ptydesign.planning.gun import focal_spread_nm, scaled_source_a, source_rms_a
from ptydesign.study.file import in_file

FOLDER = "instruments"
EXAMPLES = Path(__file__).parent / FOLDER
MOST_NAME = 60
NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
MAKE = "`ptydesign instrument new NAME` makes one."


def find_instrument(name: str, beside: Path) -> Path:
    """The file of an instrument: a path from the folder `beside`, or a name that is looked for in instruments/ of that
    folder, of the one that one works in, and among the examples. Raises InputError."""
    if Path(name).suffix in (".yaml", ".yml") or "/" in name:
        path = Path(beside) / name
        if not path.is_file():
            raise InputError("instrument", "must be an instrument's file", name, f"It counts from {beside}. {MAKE}")
        return path
    folders = (Path(beside) / FOLDER, Path.cwd() / FOLDER, EXAMPLES)
    found = [folder / f"{name}.yaml" for folder in folders if (folder / f"{name}.yaml").is_file()]
    if not found or not re.fullmatch(NAME, name):
        known = {path.stem for folder in folders for path in folder.glob("*.yaml")}
        rule = f"must be a file in {FOLDER}/ of the plan's folder or of yours, or one of the examples"
        raise InputError("instrument", rule, name, f"{nearest(name, known)} {MAKE}")
    return found[0]


def read_instrument(path: Path) -> dict[str, Any]:
    """The content of an instrument's file, checked. Raises InputError."""
    content = read_yaml(path)
    build(InstrumentConfig, content, str(path))
    return content


def with_instrument(content: Mapping[str, Any], beside: Path) -> dict[str, Any]:
    """A plan's content with the instrument that it includes by name in the place of the name."""
    name = content.get("instrument")
    if isinstance(name, int | float):
        raise InputError("instrument", "must be a name, or a section", name, 'Put a name in quotes, as "123".')
    if not isinstance(name, str):
        return dict(content)
    return {**content, "instrument": read_instrument(find_instrument(name, beside))}


def new_path(name: str, folder: Path) -> Path:
    """Where a new instrument goes. Raises InputError for a name that can't be, or that is taken."""
    if not re.fullmatch(NAME, name) or len(name) > MOST_NAME or Path(name).suffix in (".yaml", ".yml"):
        rule = f"must be at most {MOST_NAME} letters (a to z), digits, -, _ and ., without .yaml"
        raise InputError("name", rule, name, "Give a short one, as my-titan.")
    if (EXAMPLES / f"{name}.yaml").exists():
        raise InputError("name", "must not be that of an example", name, "Give another name, as my-titan.")
    path = Path(folder) / FOLDER / f"{name}.yaml"
    if path.exists():
        raise InputError("name", "must not be taken", str(path), "Give another name, or edit that file.")
    return path


def lines_of(path: Path) -> list[str]:
    """What a file says of an instrument, each number with its source, and the sources and focal spreads that follow.
    Raises InputError."""
    with in_file(path):
        config = build(InstrumentConfig, read_yaml(path), str(path))
    lines = [f"{config.name} ({path})"]
    for name in InstrumentConfig.model_fields:
        value = getattr(config, name)
        if name in ("name", "sources") or value is None or (value == 0 and name not in config.sources):
            continue
        value = value.model_dump(exclude_defaults=True) if hasattr(value, "model_dump") else value
        if value == {} and name not in config.sources:
            continue
        lines.append(f"  {name:18s} {shown(value)}")
        where = config.sources.get(name)
        lines.append(f"      {where}" if where else "      no source given: compare it with your instrument")
    return [*lines, *_beams(config)]


def _beams(config: InstrumentConfig) -> list[str]:
    """Source and focal spread that follow from the gun at the ends of the lists."""
    lines = []
    for voltage in config.voltages_kv:
        if config.cc_mm:
            spread = focal_spread_nm(config.cc_mm, config.gun.spread_ev, voltage)
            lines.append(f"  focal spread at {voltage:g} kV: {spread:.2g} nm rms")
        if config.gun is None and config.source_at is None:
            continue
        for aperture in config.apertures_mrad:
            sizes = []
            for current in config.currents_pa:
                at = voltage, aperture, current
                scaled = config.source_at is not None
                size = (
                    scaled_source_a(config.source_size_a, config.source_at, *at)
                    if scaled
                    else source_rms_a(config.gun.brightness, *at)
                )
                sizes.append(f"{size:.2g} A at {current:g} pA")
            lines.append(f"  source (rms) at {voltage:g} kV, {aperture:g} mrad: {', '.join(sizes)}")
    if config.gun is not None and config.gun.assumed:
        lines += [f"  {name}: {config.gun.where(name)}" for name in config.gun.assumed]
    return lines
