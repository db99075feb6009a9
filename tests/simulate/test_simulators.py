"""The JAX simulator against abTEM, and datasets made with either."""

import math
from dataclasses import replace

import numpy as np
import pytest
from specimens import gaussian_atoms

from ptydesign.errors import InputError
from ptydesign.grids import Grid
from ptydesign.simulate import abtem_simulator, jax_simulator
from ptydesign.simulate.dataset import check_experiment, required_shape, simulate
from ptydesign.simulate.integrate import pattern, pixels_of, probe_spectrum
from ptydesign.simulate.scan import raster, true_positions
from ptydesign.simulate.window import Window, choose_window
from ptydesign.types import Detector, Experiment, Optics, Potential, Scan
from ptydesign.units import interaction_parameter

abtem = pytest.importorskip("abtem")

# Nothing square, nothing symmetric: pixels, detector, window, field, step and specimen differ along y and x.
OPTICS = Optics(
    voltage_kv=80,
    semiangle_rad=0.025,
    defocus_a=120.0,
    astigmatism_a=50.0,
    astigmatism_angle_rad=0.5,
    coma_a=2e4,
    coma_angle_rad=1.1,
    cs_a=3e6,
    trefoil_a=1500.0,
    trefoil_angle_rad=0.4,
    star_a=6e4,
    star_angle_rad=0.5,
    fourfold_a=6e4,
    fourfold_angle_rad=0.3,
    c5_a=1e8,
)
EXPERIMENT = Experiment(
    optics=OPTICS,
    scan=Scan(2.1, (4.0, 6.0), rotation_rad=0.2, jitter_a=0.3, drift_a=(0.4, -0.2)),
    detector=Detector((20, 36), (0.4, 0.3)),
    dose_e_per_a2=1e4,
)
POTENTIAL = gaussian_atoms((180, 225), (0.2, 0.15), slices=6, thickness_a=25.0, volt_a3=200.0, width_a=0.25)
WINDOW = Window(Grid((120, 144), POTENTIAL.pixel_a))  # 3 and 2 times the detector's


def _positions(scan: Scan = EXPERIMENT.scan) -> np.ndarray:
    return true_positions(scan, raster(scan, (18.1, 15.7)), np.random.default_rng(0))


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.fixture(scope="module")
def reference() -> np.ndarray:
    return abtem_simulator.intensities(POTENTIAL, EXPERIMENT, _positions(), WINDOW)


def test_simulators_agree(reference):
    ours = jax_simulator.intensities(POTENTIAL, EXPERIMENT, _positions(), WINDOW)
    assert ours.shape == (12, 20, 36) == reference.shape
    assert _difference(ours, reference) < 1e-5
    assert np.abs(ours - reference).max() < 1e-5 * reference.max()
    assert 0.95 < ours.sum(axis=(1, 2)).min() <= ours.sum(axis=(1, 2)).max() < 1.0001


def test_chosen_window_is_as_good_as_a_large_one_of_abtem():
    """Non-square, aberrated, multislice; and in one slice on a coarser pixel than abTEM's."""
    optics = replace(OPTICS, coma_a=5e3, cs_a=3e5)
    experiment = replace(EXPERIMENT, optics=optics)
    for slices, shape, large in ((4, (340, 460), (280, 360)), (1, (340, 440), (250, 300))):
        potential = gaussian_atoms(shape, (0.2, 0.15), slices=slices, thickness_a=12.0, volt_a3=200.0, width_a=0.25)
        positions = np.array([[34.1, 33.3], [32.85, 34.2]])
        window = choose_window(experiment, potential.pixel_a, 12.0 * (slices - 1))
        assert max(window.ratio) > 1.5 if slices == 1 else max(window.ratio) == 1
        ours = jax_simulator.intensities(potential, experiment, positions, window)
        theirs = abtem_simulator.intensities(potential, experiment, positions, Window(Grid(large, potential.pixel_a)))
        assert _difference(ours, theirs) < 3e-3


def _with_optics(**change) -> dict:
    return {"experiment": replace(EXPERIMENT, optics=replace(OPTICS, **change))}


def _with_slices(slices_va: np.ndarray) -> dict:
    return {"potential": Potential(slices_va, POTENTIAL.pixel_a, POTENTIAL.thickness_a)}


def _transposed() -> np.ndarray:
    """The largest square of the potential with its axes swapped, the rest as it was."""
    slices_va = POTENTIAL.slices_va.copy()
    slices_va[..., :180, :180] = np.swapaxes(slices_va[..., :180, :180], -1, -2)
    return slices_va


SWAPS = {
    "defocus sign": _with_optics(defocus_a=-120.0),
    "defocus in nm": _with_optics(defocus_a=12.0),
    "astigmatism sign": _with_optics(astigmatism_a=-50.0),
    "astigmatism angle sign": _with_optics(astigmatism_angle_rad=-0.5),
    "astigmatism angle axes": _with_optics(astigmatism_angle_rad=math.pi / 2 - 0.5),
    "astigmatism angle not doubled": _with_optics(astigmatism_angle_rad=0.25),
    "coma sign": _with_optics(coma_a=-2e4),
    "coma angle sign": _with_optics(coma_angle_rad=-1.1),
    "coma angle axes": _with_optics(coma_angle_rad=math.pi / 2 - 1.1),
    "coma without its third": _with_optics(coma_a=6e4),
    "spherical aberration sign": _with_optics(cs_a=-3e6),
    "threefold angle sign": _with_optics(trefoil_angle_rad=-0.4),
    "threefold without its third": _with_optics(trefoil_a=4500.0),
    "star angle axes": _with_optics(star_angle_rad=math.pi / 2 - 0.5),
    "fourfold sign": _with_optics(fourfold_a=-6e4),
    "fifth order sign": _with_optics(c5_a=-1e8),
    "voltage in the wrong unit": _with_optics(voltage_kv=81),
    "semi-angle as full angle": _with_optics(semiangle_rad=0.0125),
    "propagator sign": {"potential": Potential(POTENTIAL.slices_va, POTENTIAL.pixel_a, -POTENTIAL.thickness_a)},
    "propagator missing": {"potential": Potential(POTENTIAL.slices_va, POTENTIAL.pixel_a, 0 * POTENTIAL.thickness_a)},
    "propagator without its half": {
        "potential": Potential(POTENTIAL.slices_va, POTENTIAL.pixel_a, 2 * POTENTIAL.thickness_a)
    },
    "potential sign": _with_slices(-POTENTIAL.slices_va),
    "slices reversed": _with_slices(POTENTIAL.slices_va[:, ::-1]),
    "potential flipped along y": _with_slices(POTENTIAL.slices_va[..., ::-1, :]),
    "potential flipped along x": _with_slices(POTENTIAL.slices_va[..., ::-1]),
    "potential transposed": _with_slices(_transposed()),
    "potential moved by a pixel": _with_slices(np.roll(POTENTIAL.slices_va, 1, axis=-1)),
    "positions swapped": {"positions": _positions()[:, ::-1]},
    "positions half a pixel off": {"positions": _positions() + np.array([0.1, 0.075])},
    "rotation sign": {"positions": _positions(replace(EXPERIMENT.scan, rotation_rad=-0.2))},
}


@pytest.mark.parametrize("swap", SWAPS)
def test_any_swap_of_sign_unit_or_axis_is_seen(reference, swap):
    given = {"potential": POTENTIAL, "experiment": EXPERIMENT, "positions": _positions(), **SWAPS[swap]}
    ours = jax_simulator.intensities(given["potential"], given["experiment"], given["positions"], WINDOW)
    assert _difference(ours, reference) > 1e-2


@pytest.mark.parametrize("turn", [lambda p: p[:, ::-1], lambda p: p[..., ::-1], lambda p: np.swapaxes(p, -1, -2)])
def test_a_swapped_detector_axis_is_seen(reference, turn):
    ours = jax_simulator.intensities(POTENTIAL, EXPERIMENT, _positions(), WINDOW)
    turned = turn(ours)
    assert turned.shape != reference.shape or _difference(turned, reference) > 1e-2


def test_window_as_large_as_the_specimen_is_abtems_own_multislice():
    """No crop of ours: abTEM's Waves.multislice on the whole potential, absolute positions."""
    potential = gaussian_atoms((60, 108), (0.2, 0.15), slices=4, thickness_a=20.0, volt_a3=60.0)
    window = Window(potential.grid)
    detector = Detector((10, 18), (0.4, 0.3))  # a third of the window
    positions = np.array([[1.3, 2.2], [6.01, 15.9], [11.7, 8.0]])
    experiment = replace(EXPERIMENT, detector=detector)
    ours = jax_simulator.intensities(potential, experiment, positions, window, periodic=True)
    with abtem.config.set({"precision": "float64", "fft": "numpy", "device": "cpu", "diagnostics.progress_bar": False}):
        whole = abtem.PotentialArray(
            np.swapaxes(potential.slices_va[0], 1, 2).astype(float), slice_thickness=20.0, sampling=(0.15, 0.2)
        )
        probe = abtem_simulator._probe(OPTICS, 0.0, window)
        scan = abtem.CustomScan(positions[:, ::-1])
        exit_waves = probe.build(scan=scan, lazy=False).multislice(whole)
        leaving = np.swapaxes(np.fft.fft2(exit_waves.array), 1, 2)
        entering = np.swapaxes(np.fft.fft2(probe.build(scan=scan, lazy=False).array), 1, 2)
    everything = np.sum(np.abs(entering[0]) ** 2)
    ky, kx = potential.grid.frequencies()
    free = entering * np.exp(-1j * np.pi * 0.0417571 * 80.0 * (ky**2 + kx**2))  # after all slices
    direct = np.abs(np.sum(np.conj(free) * leaving, axis=(1, 2)) / everything) ** 2
    of_probe = np.abs(probe_spectrum(potential.grid, OPTICS)) ** 2
    all_of_it = tuple(np.fft.fftfreq(size, 1 / size) for size in potential.grid.shape)
    pixels = pixels_of(experiment, potential.grid, all_of_it, of_probe)
    theirs = pattern(np.abs(leaving) ** 2 / everything * pixels.kept, direct, pixels)
    assert _difference(ours, theirs) < 1e-4


@pytest.mark.parametrize("slices", [1, 2])
def test_few_slices_are_band_limited_alike(slices):
    """Strong phase approximation: same rule; a detector pixel as small as the potential's brings the limit in sight."""
    potential = gaussian_atoms((150, 160), (0.2, 0.2), slices=slices, volt_a3=500.0, width_a=0.12)
    experiment = replace(EXPERIMENT, detector=Detector((20, 32), (0.2, 0.2)))
    window = Window(Grid((60, 96), potential.pixel_a))
    positions = np.array([[15.0, 16.0], [14.2, 15.1]])
    ours = jax_simulator.intensities(potential, experiment, positions, window)
    theirs = abtem_simulator.intensities(potential, experiment, positions, window)
    assert _difference(ours, theirs) < 1e-5
    ky, kx = experiment.detector.grid.frequencies()
    beyond = np.hypot(ky, kx) > 2 / 3 * 2.5 + 0.2
    assert beyond.sum() > 100
    assert ours[:, beyond].max() < 1e-4 * ours.max()
    assert theirs[:, beyond].max() < 1e-4 * theirs.max()
    assert np.all(ours[:, ~beyond].sum(axis=1) > 0.9)


def test_partial_coherence_and_phonons_agree():
    potential = gaussian_atoms((180, 225), (0.2, 0.15), slices=2, configurations=2, volt_a3=400.0)
    experiment = replace(EXPERIMENT, source_size_a=0.15, focal_spread_a=20.0)
    positions = _positions()[:1]
    ours = jax_simulator.intensities(potential, experiment, positions, WINDOW)
    theirs = abtem_simulator.intensities(potential, experiment, positions, WINDOW)
    # abTEM's has all points of the quadrature, ours the fewest probes that keep all but 5 % of the electrons
    assert _difference(ours, theirs) < 1e-2
    assert _difference(ours, jax_simulator.intensities(potential, EXPERIMENT, positions, WINDOW)) > 5e-3


def test_configurations_are_averaged_incoherently():
    potential = gaussian_atoms((180, 225), (0.2, 0.15), configurations=3, volt_a3=500.0)
    together = jax_simulator.intensities(potential, EXPERIMENT, _positions(), WINDOW)
    apart = [
        jax_simulator.intensities(replace(potential, slices_va=one[None]), EXPERIMENT, _positions(), WINDOW)
        for one in potential.slices_va
    ]
    np.testing.assert_allclose(together, np.mean(apart, axis=0), rtol=1e-4, atol=1e-9)
    mean = replace(potential, slices_va=potential.slices_va.mean(axis=0, keepdims=True))
    assert _difference(jax_simulator.intensities(mean, EXPERIMENT, _positions(), WINDOW), together) > 1e-2


def test_quadrature_is_the_mean_over_a_source_and_foci():
    """Against a dense sum over the Gaussian distributions."""
    positions = _positions()[:1]
    t = np.linspace(-4, 4, 17)
    weights = np.exp(-(t**2) / 2)
    weights /= weights.sum()
    ours = jax_simulator.intensities(POTENTIAL, replace(EXPERIMENT, focal_spread_a=40.0), positions, WINDOW)
    dense = sum(
        w
        * jax_simulator.intensities(POTENTIAL, _with_optics(defocus_a=120.0 + 40 * s)["experiment"], positions, WINDOW)
        for s, w in zip(t, weights, strict=True)
    )
    assert _difference(ours, dense) < 1e-2
    ours = jax_simulator.intensities(POTENTIAL, replace(EXPERIMENT, source_size_a=0.3), positions, WINDOW)
    offsets = 0.3 * np.stack(np.meshgrid(t, t, indexing="ij"), axis=-1).reshape(-1, 1, 2)
    many = jax_simulator.intensities(POTENTIAL, EXPERIMENT, (positions + offsets).reshape(-1, 2), WINDOW)
    dense = np.einsum("s,spyx->pyx", np.outer(weights, weights).ravel(), many.reshape(-1, *ours.shape))
    assert _difference(ours, dense) < 1e-2


def test_four_waves_stand_for_a_source_of_many(monkeypatch):
    """Within 1 % of the patterns of nearly all the probes of the quadrature."""
    from ptydesign.simulate import coherence

    experiment = replace(EXPERIMENT, source_size_a=0.27)
    few = jax_simulator.intensities(POTENTIAL, experiment, _positions()[:4], WINDOW)
    assert len(jax_simulator.probe_spectra(experiment, WINDOW.grid)) <= 4
    monkeypatch.setattr(coherence, "LEFT_OUT", 1e-3)
    assert len(jax_simulator.probe_spectra(experiment, WINDOW.grid)) >= 9
    monkeypatch.setattr(coherence, "LEFT_OUT", 1e-5)
    many = jax_simulator.intensities(POTENTIAL, experiment, _positions()[:4], WINDOW)
    assert _difference(few, many) < 1e-2
    assert _difference(jax_simulator.intensities(POTENTIAL, EXPERIMENT, _positions()[:4], WINDOW), many) > 2e-2


def test_moving_specimen_and_scan_together_changes_nothing():
    shift_px = np.array([7, -5])
    moved = replace(POTENTIAL, slices_va=np.roll(POTENTIAL.slices_va, shift_px, axis=(-2, -1)))
    shift_a = shift_px * np.array(POTENTIAL.pixel_a)
    before = jax_simulator.intensities(POTENTIAL, EXPERIMENT, _positions(), WINDOW)
    after = jax_simulator.intensities(moved, EXPERIMENT, _positions() + shift_a, WINDOW)
    assert _difference(after, before) < 1e-5


@pytest.mark.parametrize("simulator", [jax_simulator, abtem_simulator])
def test_a_periodic_specimen_has_no_edge(simulator):
    positions = _positions()[:3]
    around = positions + np.array([-18.0, 15.75]) + np.array([0.0, -3 * 33.75])
    here = simulator.intensities(
        replace(POTENTIAL, slices_va=np.roll(POTENTIAL.slices_va, (-90, 105), axis=(-2, -1))),
        EXPERIMENT,
        around,
        WINDOW,
        periodic=True,
    )
    assert _difference(here, simulator.intensities(POTENTIAL, EXPERIMENT, positions, WINDOW)) < 2e-5
    with pytest.raises(InputError, match="must hold the scan and the window"):
        simulator.intensities(POTENTIAL, EXPERIMENT, around, WINDOW)


def test_number_of_positions_and_optics_do_not_recompile():
    jax_simulator.intensities(POTENTIAL, EXPERIMENT, _positions(), WINDOW)
    compiled = jax_simulator._block._cache_size()
    for count, defocus in ((1, 10.0), (7, -80.0), (45, 33.0)):
        positions = np.resize(_positions(), (count, 2))
        experiment = replace(_with_optics(defocus_a=defocus, semiangle_rad=0.02)["experiment"], dose_e_per_a2=7.0)
        jax_simulator.intensities(POTENTIAL, experiment, positions, WINDOW)
    assert jax_simulator._block._cache_size() == compiled


def test_positions_are_independent():
    positions = np.resize(_positions(), (45, 2))
    together = jax_simulator.intensities(POTENTIAL, EXPERIMENT, positions, WINDOW)
    np.testing.assert_allclose(together[40], together[40 % 12], rtol=1e-5, atol=1e-10)
    alone = jax_simulator.intensities(POTENTIAL, EXPERIMENT, positions[40:41], WINDOW)
    np.testing.assert_allclose(together[40:41], alone, rtol=1e-5, atol=1e-10)


# Datasets

DESIGN = Experiment(
    optics=Optics(80, 0.025, 60.0),
    scan=Scan(2.0, (14.0, 9.0), jitter_a=0.2, drift_a=(0.5, 0.3), rotation_rad=0.1, scale_error=0.01),
    detector=Detector((24, 32), (0.25, 0.25)),
    dose_e_per_a2=2e3,
)


@pytest.fixture(scope="module")
def specimen() -> Potential:
    return gaussian_atoms(required_shape([DESIGN], (0.125, 0.125)), (0.125, 0.125))


def test_dataset_is_what_an_operator_knows(specimen):
    dataset, truth = simulate(specimen, DESIGN, seed=5)
    centre = tuple(size / 2 for size in specimen.grid.extent_a)
    np.testing.assert_array_equal(dataset.positions_a, raster(DESIGN.scan, centre))
    assert np.abs(truth.positions_a - dataset.positions_a).max() > 0.3
    assert dataset.patterns.shape == (48, 24, 32)
    assert dataset.grid == DESIGN.detector.grid
    assert dataset.electrons_per_pattern == 8000
    assert dataset.provenance["seed"] == 5
    assert dataset.provenance["window_px"] == [128, 128]
    sigma = interaction_parameter(80)
    np.testing.assert_allclose(truth.phase_rad, sigma * specimen.slices_va[0], rtol=1e-6)
    assert truth.phase_rad.dtype == np.float32


def test_total_counts_are_the_dose(specimen):
    """Dose times scanned area, within Poisson error plus the electrons scattered beyond the detector (< 0.5 %)."""
    dataset, truth = simulate(specimen, DESIGN, seed=1)
    expected = 8000 * 48
    total = dataset.patterns.sum(dtype=float)
    assert total < expected + 4 * math.sqrt(expected)
    assert total > 0.995 * expected - 4 * math.sqrt(expected)
    window = choose_window(DESIGN, specimen.pixel_a, fine=True)  # another one than the dataset's
    fraction = jax_simulator.intensities(specimen, DESIGN, truth.positions_a, window)
    assert abs(total - 8000 * fraction.sum(dtype=float)) < 4 * math.sqrt(expected)


def test_background_and_mtf_reach_the_counts(specimen):
    noisy = replace(DESIGN, detector=replace(DESIGN.detector, background_e_per_px=0.5, mtf_nyquist=0.3))
    clean, _ = simulate(specimen, DESIGN, seed=1)
    dataset, _ = simulate(specimen, noisy, seed=1)
    np.testing.assert_array_equal(dataset.background, np.full((24, 32), 0.5))
    assert clean.background is None
    added = dataset.patterns.sum(dtype=float) - clean.patterns.sum(dtype=float)
    assert added == pytest.approx(0.5 * dataset.patterns.size, abs=5 * math.sqrt(2 * 8000 * 48))
    sharp, blurred = (np.abs(np.fft.fft2(d.patterns.mean(axis=0))) for d in (clean, dataset))
    assert blurred[0, 8:24].mean() < 0.7 * sharp[0, 8:24].mean()


def test_seeds(specimen):
    first, again, other = (simulate(specimen, DESIGN, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first[0].patterns, again[0].patterns)
    np.testing.assert_array_equal(first[1].positions_a, again[1].positions_a)
    assert np.any(first[0].patterns != other[0].patterns)
    assert np.any(first[1].positions_a != other[1].positions_a)


def test_simulators_give_the_same_counts_within_noise(specimen):
    small = replace(DESIGN, scan=replace(DESIGN.scan, field_of_view_a=(3.0, 3.0)))
    ours, _ = simulate(specimen, small, seed=0)
    theirs, _ = simulate(specimen, small, seed=0, simulator="abtem")
    assert theirs.provenance["simulator"] == "abtem"
    # Same seed, same means but for rounding, which may tip a borderline draw of the Poisson generator.
    error = (ours.patterns - theirs.patterns) / np.sqrt(ours.patterns + theirs.patterns + 1)
    assert np.mean(error**2) < 1.1
    np.testing.assert_array_equal(ours.positions_a, theirs.positions_a)


def test_required_shape_is_enough_and_not_wasteful(specimen):
    for seed in range(5):
        simulate(specimen, DESIGN, seed)
    smaller = Potential(specimen.slices_va[..., :-40, :], specimen.pixel_a, specimen.thickness_a)
    with pytest.raises(InputError, match="must hold the scan and the window"):
        simulate(smaller, DESIGN, 0)
    wide = replace(DESIGN, scan=replace(DESIGN.scan, field_of_view_a=(5.0, 30.0)))
    both = required_shape([DESIGN, wide], (0.125, 0.125))
    assert both[0] == specimen.slices_va.shape[2]
    assert both[1] > specimen.slices_va.shape[3]


def test_specimen_must_hold_scan_and_window(specimen):
    with pytest.raises(InputError, match="must hold the scan and the window"):
        simulate(specimen, DESIGN, 0, centre_a=(5.0, 20.0))
    dataset, _ = simulate(specimen, DESIGN, 0, centre_a=(5.0, 20.0), periodic=True)
    np.testing.assert_allclose(dataset.positions_a.mean(axis=0), (5.0, 20.0))


@pytest.mark.parametrize(
    "change, field",
    [
        ({"dose_e_per_a2": 0.0}, "dose_e_per_a2"),
        ({"dose_e_per_a2": math.inf}, "dose_e_per_a2"),
        ({"dose_e_per_a2": 1e12}, "dose_e_per_a2"),
        ({"source_size_a": -1.0}, "source_size_a"),
        ({"focal_spread_a": -1.0}, "focal_spread_a"),
        ({"optics": Optics(-80, 0.02)}, "optics.voltage_kv"),
        ({"optics": Optics(80, 0.0)}, "optics.semiangle_rad"),
        ({"optics": Optics(80, 20.0)}, "optics.semiangle_rad"),
        ({"optics": Optics(80, 0.02, math.nan)}, "optics.defocus_a"),
        ({"scan": Scan(-2.0, (4.0, 4.0))}, "scan.step_a"),
        ({"detector": Detector((24, -3), (0.25, 0.25))}, "detector.pixels"),
    ],
)
def test_impossible_experiments_are_refused(change, field):
    with pytest.raises(InputError) as error:
        check_experiment(replace(DESIGN, **change))
    assert error.value.field == field


def test_unknown_simulator_is_refused(specimen):
    with pytest.raises(InputError, match="abtem"):
        simulate(specimen, DESIGN, 0, simulator="abtm")


def test_a_probe_that_drifts_is_the_mean_one_at_mid_scan_and_each_end_has_its_own():
    """Aberrations are linear in their coefficients: the ends of the scan are those of a defocus moved by half the
    drift.
    """
    from dataclasses import replace

    from ptydesign.simulate.dataset import required_shape, simulate
    from ptydesign.simulate.potential import PotentialConfig, build_potential
    from ptydesign.simulate.specimen import BilayerSample
    from ptydesign.types import Detector, Experiment, Optics, Scan

    still = Experiment(
        optics=Optics(80, 0.02, defocus_a=-100, astigmatism_a=10, astigmatism_angle_rad=0.4),
        scan=Scan(2.0, (4.0, 4.0)),
        detector=Detector((32, 32), (0.4, 0.4)),
        dose_e_per_a2=1e6,
    )
    drifting = replace(still, defocus_drift_a=60.0, astigmatism_drift_a=20.0)
    shape = required_shape([drifting], (0.4, 0.4))
    potential = build_potential(BilayerSample(layers=("MoSe2", "WS2")), PotentialConfig(pixel_a=0.4), shape)
    found, _ = simulate(potential, drifting, 5)
    for index, change in ((0, -0.5), (4, 0.0), (8, 0.5)):
        optics = replace(still.optics, defocus_a=-100 + 60 * change, astigmatism_a=10 + 20 * change)
        # the same window, so that the same noise falls on the same pixels
        one, _ = simulate(potential, replace(still, optics=optics), 5)
        np.testing.assert_allclose(
            found.patterns[index], one.patterns[index], atol=5 * np.sqrt(one.patterns[index].max())
        )
        other, _ = simulate(potential, still, 5)
        if change:
            far = np.abs(found.patterns[index] - other.patterns[index]).sum()
            assert far > 5 * np.abs(found.patterns[index] - one.patterns[index]).sum()


def test_intensity_factors_have_the_spread_that_was_asked_for():
    from ptydesign.simulate.dataset import intensity_factors
    from ptydesign.types import Detector, Experiment, Optics, Scan

    experiment = Experiment(Optics(80, 0.02), Scan(1.0, (4.0, 4.0)), Detector((8, 8), (0.4, 0.4)), 100.0)
    assert np.all(intensity_factors(experiment, 50, 0) == 1)
    from dataclasses import replace

    factors = intensity_factors(replace(experiment, intensity_rms=0.05), 4000, 0)
    assert factors.mean() == pytest.approx(1, abs=0.005)
    assert factors.std() == pytest.approx(0.05, rel=0.05)
