"""Samples: twisted bilayers, structure files, images; their configuration and their atoms.

Frame of the atoms: x = cell[0] is axis 1 of every array, y = cell[1] is axis 0, the beam travels along +z. The
cell is orthogonal and exactly as large as the simulated area. Twisted bilayers and tilted crystals have no common
period with it, so they are cut at its edges: the outermost atoms see foreign neighbours across the periodic edge.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from ptydesign.config import Strict
from ptydesign.errors import InputError
from ptydesign.simulate import crystal, image
from ptydesign.simulate.films import FilmConfig, covered
from ptydesign.simulate.own import SAMPLES

if TYPE_CHECKING:
    import ase


class Layer(NamedTuple):
    """A 2H dichalcogenide MX2, space group P6_3/mmc: M at 2c (1/3, 2/3, 1/4), X at 4f (1/3, 2/3, z).

    a, c in angstrom. The chalcogen planes lie (3/4 - z) c above and below the metal plane.
    """

    metal: str
    chalcogen: str
    a: float
    c: float
    z: float

    @property
    def half_thickness_a(self) -> float:
        """Distance between the metal plane and a chalcogen plane in angstrom."""
        return (0.75 - self.z) * self.c


# MoS2: Bronsema, de Boer, Jellinek, Z. Anorg. Allg. Chem. 540:15 (1986). MoSe2: the same for a and c; James & Lavik,
# Acta Cryst. 16:1183 (1963) for z. WS2, WSe2: Schutte, de Boer, Jellinek, J. Solid State Chem. 70:207 (1987).
LAYERS = {
    "MoS2": Layer("Mo", "S", 3.1602, 12.294, 0.621),
    "WS2": Layer("W", "S", 3.1532, 12.323, 0.6225),
    "MoSe2": Layer("Mo", "Se", 3.289, 12.927, 0.621),
    "WSe2": Layer("W", "Se", 3.282, 12.96, 0.6211),
}
Dichalcogenide = Literal["MoS2", "WS2", "MoSe2", "WSe2"]


class Filmed(Strict):
    """A sample of atoms that may lie between amorphous films."""

    film: FilmConfig | None = None
    """Amorphous film on each face, as a support or contamination; null is none. It is part of what is scored."""
    film_seed: int = Field(0, ge=0, lt=2**31)
    """Start of the random numbers that place the film's atoms: another seed is another piece of it."""

    @model_serializer(mode="wrap")
    def _leave_out_what_is_off(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Written as before there were films and `occupation_seed`: what was stored stays valid."""
        off = {"film", "film_seed"} if self.film is None else set()
        return {n: v for n, v in handler(self).items() if n not in off and (n != "occupation_seed" or v)}


class BilayerSample(Filmed):
    """Two rigid monolayers, each with the geometry that it has in the bulk 2H crystal."""

    kind: Literal["bilayer"] = "bilayer"
    """What the sample is; `bilayer` is built in."""
    layers: tuple[Dichalcogenide, Dichalcogenide] = ("MoS2", "MoS2")
    """The two monolayers, in the order in which the beam meets them."""
    twist_deg: float = 30.0
    """Angle in degrees that turns the second layer from +x towards +y about a common metal site at the centre; 0 is
    parallel (3R-like), 60 antiparallel as in 2H."""
    gap_a: PositiveFloat | None = None
    """Distance of the two metal planes in angstrom; null is the mean c/2 of the two bulk crystals."""
    shift_a: tuple[float, float] = (0.0, 0.0)
    """[y, x] displacement of the second layer in angstrom, after the twist."""
    rotation_deg: float = 0.0
    """Angle in degrees that turns both layers together; at 0 the zigzag direction of the first layer is along x."""

    @model_validator(mode="after")
    def _layers_apart(self) -> BilayerSample:
        needed = sum(LAYERS[name].half_thickness_a for name in self.layers)
        if self.gap_a is not None and self.gap_a < needed + 1:
            raise InputError(
                "gap_a",
                f"must keep the chalcogen planes at least 1 A apart ({needed + 1:.2f} A between these metals)",
                self.gap_a,
                "Leave it out for the bulk distance, or give the distance between the metal planes.",
            )
        return self

    @property
    def metal_distance_a(self) -> float:
        """Distance of the metal planes in angstrom."""
        return self.gap_a or sum(LAYERS[name].c for name in self.layers) / 4


class StructureSample(Filmed):
    """A crystal (or any model with a cell) from a file that ASE reads.

    x is along the projection of the oriented cell's first vector. The oriented cell is (a, b, c), (b, c, a) or
    (c, a, b) for the axes [001], [100] and [010], else a reduced cell with [uvw] as its third vector. The crystal is
    turned, repeated and cropped to the simulated area; it is not strained to make it periodic.
    """

    kind: Literal["structure"]
    """What the sample is; `structure` is read from a file of atoms."""
    file: Path
    """Structure file, as CIF; the path counts from the study's folder."""
    zone_axis: tuple[int, int, int] = (0, 0, 1)
    """[u, v, w] of the file's cell that is turned parallel to the beam."""
    rotation_deg: float = 0.0
    """Angle in degrees that turns the crystal about the beam, from +x towards +y."""
    repeats: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    """Oriented cells along its two lateral vectors and the beam, which must cover the simulated area; null is as many
    as needed laterally (a file without periodic boundaries: 1), one along the beam."""
    thickness_a: PositiveFloat | None = None
    """Thickness in angstrom to which the crystal is cut or repeated along the beam, instead of the third number of
    `repeats`."""
    occupation_seed: int = Field(0, ge=0, lt=2**31)
    """Start of the random numbers that fill sites which a CIF says are shared by elements or partly empty: another seed
    is another piece of the crystal."""

    @model_validator(mode="before")
    @classmethod
    def _three_indices(cls, content: Any) -> Any:
        value = content.get("zone_axis", (0, 0, 1)) if isinstance(content, Mapping) else (0, 0, 1)
        if isinstance(value, list | tuple) and len(value) == 3:
            return content
        words = value[0] if isinstance(value, list | tuple) and len(value) == 1 else value
        indices = re.findall(r"-?\d", words) if isinstance(words, str) else []
        axis = f"[{', '.join(indices)}]" if len(indices) == 3 else "three, as [0, 0, 1]"
        mend = f"Write {axis}, with commas: 001 is read as the number 1."
        raise InputError("zone_axis", "must be three whole numbers", value, mend)

    @field_validator("zone_axis")
    @classmethod
    def _not_zero(cls, value: tuple[int, int, int]) -> tuple[int, int, int]:
        if value == (0, 0, 0):
            raise InputError("zone_axis", "must have a direction", value, "Give three whole numbers, as [0, 0, 1].")
        return crystal.check_indices(value)


class ImageSample(Strict):
    """A sample that exists only as an image of its projected phase or potential.

    Its central part is taken and interpolated to the simulation's pixels. What is scored lies in its middle, so that an
    image needs to be no larger than the field where its `edge` says how it goes on.
    """

    kind: Literal["image"]
    """What the sample is; `image` has no atoms."""
    file: Path
    """Real image (y, x) as .npy or .tif; the path counts from the study's folder."""
    pixel_a: PositiveFloat
    """Pixel of the image in angstrom."""
    quantity: Literal["phase_rad", "potential_va"]
    """What the image holds: phase in rad, or projected potential in V A."""
    voltage_kv: PositiveFloat | None = None
    """Voltage in kV for which a phase was computed or measured; required for phase_rad."""
    thickness_a: PositiveFloat = 10.0
    """Thickness in angstrom of the single slice; recorded, without effect on the patterns."""
    edge: Literal["periodic", "reflect", "vacuum"] | None = None
    """How an image goes on that is smaller than scan and window: again and again, mirrored, or as vacuum; null refuses
    it."""
    centre_a: tuple[NonNegativeFloat, NonNegativeFloat] | None = None
    """[y, x] in angstrom of the middle of what is scored, from the image's first pixel; null is the image's middle."""

    @model_serializer(mode="wrap")
    def _leave_out_what_is_off(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Written as before there were `edge` and `centre_a`: what was stored stays valid."""
        new = ("edge", "centre_a")
        return {name: value for name, value in handler(self).items() if name not in new or value is not None}

    def read(self) -> np.ndarray:
        """The image (y, x) with what is scored in its middle. Raises InputError."""
        found = image.read_image(self.file)
        return found if self.centre_a is None else image.centred(found, self.pixel_a, self.centre_a, self.edge)

    @model_validator(mode="after")
    def _voltage_for_phase(self) -> ImageSample:
        if self.quantity == "phase_rad" and self.voltage_kv is None:
            raise InputError(
                "voltage_kv",
                "is required for quantity phase_rad",
                None,
                "Give the voltage at which the phase holds, or give the projected potential in V A.",
            )
        return self


class FunctionSample(Strict):
    """Atoms that a function of your own makes, (extent_a) -> ase.Atoms."""

    kind: Literal["function"]
    """What the sample is; `function` calls one of your own."""
    function: SAMPLES.own_annotation
    """Its name, as file.py:name."""


Sample = BilayerSample | StructureSample | ImageSample | FunctionSample
SampleConfig = Annotated[Sample, Field(discriminator="kind")]


def check_sample(
    sample: Sample,
    base_folder: Path,
    extent_a: tuple[float, float] | None = None,
    field_a: tuple[float, float] | None = None,
) -> Sample:
    """The sample with its file found from `base_folder`, after every check that takes seconds.

    extent_a: (y, x) in angstrom that the sample has to cover, if known. field_a: (y, x) of what is scored, if known.
    Raises InputError for a missing or unreadable file, a cell without volume, an unknown element, an image that is no
    real 2-D array or has nothing to see in the field, or a sample that is too small.
    """
    if isinstance(sample, BilayerSample | FunctionSample):
        return sample
    path = sample.file if sample.file.is_absolute() else Path(base_folder) / sample.file
    if not path.is_file():
        raise InputError("sample.file", "must exist", str(path), "Give its path from the study's folder.")
    sample = sample.model_copy(update={"file": path})
    if isinstance(sample, ImageSample):
        pixels = sample.read()
        if field_a is not None:
            image.check_contrast(image.read_image(path), sample.pixel_a, field_a, sample.centre_a)
        if extent_a is not None and sample.edge is None:
            image.check_covers(pixels.shape, sample.pixel_a, extent_a)
    else:
        oriented = _oriented(sample)
        if extent_a is not None:
            _check_covers(sample, oriented, extent_a)
    return sample


def build_atoms(sample: Sample, extent_a: tuple[float, float]) -> ase.Atoms:
    """The atoms in an orthogonal cell (x, y, z) = (extent_a[1], extent_a[0], thickness), periodic.

    extent_a: (y, x) in angstrom. Positions lie in the cell. Raises InputError for an image (it has no atoms), a file
    that can't be used, and a sample smaller than extent_a.
    """
    import ase

    if isinstance(sample, ImageSample):
        raise InputError("sample.kind", "must have atoms", "image", "Use a bilayer or a structure file.")
    if isinstance(sample, FunctionSample):
        return SAMPLES[sample.function](extent_a)
    if isinstance(sample, BilayerSample):
        positions, numbers, thickness_a = _bilayer(sample, extent_a)
    else:
        oriented = _oriented(sample)
        _check_covers(sample, oriented, extent_a)
        thickness_a = _thickness(sample, oriented)
        positions, numbers = crystal.fill(oriented, extent_a, thickness_a, _centre(sample, oriented))
    if sample.film is not None:
        faces_a = (sample.film.entrance_a, sample.film.entrance_a + thickness_a)
        thickness_a = faces_a[1] + sample.film.exit_a
        positions = positions + np.array([0, 0, faces_a[0]])
        positions, numbers = covered(sample.film, extent_a, faces_a, thickness_a, positions, numbers, sample.film_seed)
    return ase.Atoms(numbers, positions, cell=(extent_a[1], extent_a[0], thickness_a), pbc=True)


def _bilayer(sample: BilayerSample, extent_a: tuple[float, float]) -> tuple[np.ndarray, np.ndarray, float]:
    """Positions (n, 3) x, y, z, atomic numbers (n,), thickness in angstrom."""
    first, second = (LAYERS[name] for name in sample.layers)
    heights = (first.c / 4, first.c / 4 + sample.metal_distance_a)
    thickness_a = heights[1] + second.c / 4
    shifts = ((0.0, 0.0), sample.shift_a)
    angles = np.deg2rad([sample.rotation_deg, sample.rotation_deg + sample.twist_deg])
    parts = [
        crystal.fill(_monolayer(layer, angle, height, thickness_a), extent_a, thickness_a, (-shift[1], -shift[0]))
        for layer, angle, height, shift in zip((first, second), angles, heights, shifts, strict=True)
    ]
    return np.concatenate([p for p, _ in parts]), np.concatenate([n for _, n in parts]), thickness_a


def _monolayer(layer: Layer, angle_rad: float, height_a: float, thickness_a: float) -> crystal.Oriented:
    """A trigonal-prismatic monolayer with its metal at (0, 0, height_a), turned by angle_rad about it."""
    from ase.data import atomic_numbers

    a, u = layer.a, layer.half_thickness_a
    metal, chalcogen = atomic_numbers[layer.metal], atomic_numbers[layer.chalcogen]
    vectors = np.array([[a, 0, 0], [-a / 2, a * math.sqrt(3) / 2, 0], [0, 0, thickness_a]])
    # 2c and 4f differ by (1/3, -1/3) in the plane: one of the two kinds of triangle between the metals is filled.
    x, y, _ = (vectors[0] + 2 * vectors[1]) / 3
    positions = np.array([[0, 0, height_a], [x, y, height_a - u], [x, y, height_a + u]])
    return crystal.Oriented(vectors, positions, np.array([metal, chalcogen, chalcogen])).turned(angle_rad)


def _oriented(sample: StructureSample) -> crystal.Oriented:
    """The file's cell with the zone axis along the beam."""
    atoms = crystal.read_structure(sample.file)
    return crystal.orient(atoms, sample.zone_axis, sample.occupation_seed).turned(math.radians(sample.rotation_deg))


def mixed_words(sample: Sample) -> str:
    """A warning that sites of a structure are filled by chance; empty if none is. The sample's file has been found."""
    found = crystal.mixed_words(crystal.read_structure(sample.file)) if isinstance(sample, StructureSample) else ""
    if not found:
        return ""
    return (
        f"sample.file: sites that are shared or partly empty ({found}) are filled by chance, each copy for itself: "
        "another sample.occupation_seed is another piece of the crystal"
    )


def _repeats(sample: StructureSample, oriented: crystal.Oriented) -> tuple[int, int, int] | None:
    return sample.repeats or (None if oriented.periodic else (1, 1, 1))


def _thickness(sample: StructureSample, oriented: crystal.Oriented) -> float:
    period_a = oriented.vectors[2, 2]
    if sample.thickness_a is not None:
        limit = None if oriented.periodic and not sample.repeats else (_repeats(sample, oriented) or (1, 1, 1))[2]
        if limit is not None and sample.thickness_a > limit * period_a + crystal.EDGE_A:
            raise InputError(
                "sample.thickness_a",
                f"must not exceed the sample's repeats along the beam ({limit} x {period_a:.3f} A)",
                sample.thickness_a,
                "Give a smaller thickness, or more repeats.",
            )
        return sample.thickness_a
    return period_a * (_repeats(sample, oriented) or (1, 1, 1))[2]


def _centre(sample: StructureSample, oriented: crystal.Oriented) -> tuple[float, float]:
    """The point (x, y) of the oriented crystal that comes to the centre of the area: the middle of a finite sample."""
    repeats = _repeats(sample, oriented)
    if repeats is None:
        return (0.0, 0.0)
    x, y = 0.5 * (repeats[0] * oriented.vectors[0, :2] + repeats[1] * oriented.vectors[1, :2])
    return float(x), float(y)


def _check_covers(sample: StructureSample, oriented: crystal.Oriented, extent_a: tuple[float, float]) -> None:
    """Raise InputError if a sample of finite repeats does not cover the area, or if it would be too large to hold."""
    thickness_a = _thickness(sample, oriented)
    repeats = _repeats(sample, oriented)
    if repeats is not None:
        needed = crystal.cells_to_cover(oriented, extent_a)
        if any(n > have for n, have in zip(needed, repeats[:2], strict=True)):
            raise InputError(
                "sample.repeats",
                f"the sample must cover scan and window, {extent_a[0]:.1f} x {extent_a[1]:.1f} A (y, x), which takes "
                f"{needed[0]} x {needed[1]} cells",
                list(repeats),
                "Give more repeats, leave them out to have as many as needed, or make field of view or window smaller.",
            )
    crystal.check_count(oriented, extent_a, thickness_a)
