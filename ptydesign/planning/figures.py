"""Figures of a plan, each drawn from its tables alone: prediction, fronts, robustness, limits, screen."""

from __future__ import annotations

import numpy as np
from matplotlib import figure as mpl
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ptydesign import drawing
from ptydesign.drawing import BLUE, GREY, ORANGE, TWO_COLUMNS_IN, VERMILLION, empty_panel, panel_letter, scale_bar
from ptydesign.planning.cautions import higher_values
from ptydesign.planning.patterns import caption as patterns_caption
from ptydesign.planning.patterns import draw_patterns, missing
from ptydesign.planning.probes import caption as probe_caption
from ptydesign.planning.probes import draw_probes
from ptydesign.planning.resolution import THRESHOLD, smoothed
from ptydesign.planning.search import WITHIN
from ptydesign.planning.tables import PlanningTables
from ptydesign.study.figures import Figure

PARAMETERS = {
    "defocus_nm": "defocus on the display (nm)",
    "step_a": "scan step (Å)",
    "semiangle_mrad": "aperture (mrad)",
    "camera": "camera ({camera})",
}
PERCENT = f"{100 * (1 - WITHIN):g} % of the score"
COLOURS = {"recommended": BLUE, "expert": VERMILLION}


def prediction(tables: PlanningTables) -> mpl.Figure:
    """Truth, and what to expect of the recommended setting and of the rule of thumb, on one scale of phases."""
    figure = drawing.new_figure(TWO_COLUMNS_IN, 2.2)
    axes = figure.subplots(1, 4, width_ratios=(1, 1, 1, 1.15))
    shown = tables.images.get("recommended") or tables.images.get("expert")
    truth = shown["arrays"]["truth"]
    low, high = np.percentile(truth, [0.5, 99.8])
    picture = _image(axes[0], truth, shown["attrs"]["pixel_a"], low, high, "truth")
    scale_bar(axes[0], *_extent(truth, shown["attrs"]["pixel_a"]))
    names = names_of(tables)
    for place, name in enumerate(names, 1):
        item = tables.images.get(name)
        if item is None:
            empty_panel(axes[place], f"{names[name]}:\nfailed")
            continue
        title = f"{names[name]}\nSSIM {item['attrs']['ssim']:.2f}"
        _image(axes[place], item["arrays"]["phase"], item["attrs"]["pixel_a"], low, high, title)
    figure.colorbar(picture, ax=axes[2], label="phase (rad)", fraction=0.05, pad=0.03)
    for name in names:
        if name in tables.images:
            arrays, pixel_a = tables.images[name]["arrays"], tables.images[name]["attrs"]["pixel_a"]
            axes[3].plot(arrays["frc_q"], arrays["frc"], color=COLOURS[name], lw=0.6, alpha=0.4)
            axes[3].plot(arrays["frc_q"], smoothed(arrays, pixel_a), color=COLOURS[name], label=names[name])
    axes[3].plot([], [], color=GREY, lw=0.6, alpha=0.6, label="single rings")
    axes[3].axhline(THRESHOLD, color=GREY, lw=0.7, ls=":")
    axes[3].set(xlabel="frequency (1/Å)", ylabel="correlation with truth", ylim=(-0.1, 1.05))
    axes[3].legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))
    for number, one in enumerate(axes):
        panel_letter(one, number, dx_pt=-10 if number < 3 else -26)
    return figure


def _extent(image: np.ndarray, pixel_a: list[float]) -> tuple[float, float]:
    return image.shape[1] * pixel_a[1], image.shape[0] * pixel_a[0]


def _image(axes: Axes, image: np.ndarray, pixel_a: list[float], low: float, high: float, title: str):
    width, height = _extent(image, pixel_a)
    shown = axes.imshow(image, cmap="gray", vmin=low, vmax=high, extent=(0, width, height, 0), interpolation="nearest")
    axes.set_title(title)
    drawing.bare(axes)
    return shown


def fronts(tables: PlanningTables) -> mpl.Figure:
    """What quality costs: best score at each dose, and every trial at the dose of the sheet against its scan time."""
    figure = drawing.new_figure(TWO_COLUMNS_IN, 2.4)
    left, right = figure.subplots(1, 2)
    trials = tables["trials"]
    good = trials[trials["status"] == "ok"]
    left.plot(good["dose_e_per_a2"], good["ssim"], ".", color=GREY, alpha=0.4, ms=4, label="trials")
    best = good.groupby("dose_e_per_a2")["ssim"].max()
    left.plot(best.index, best.to_numpy(), "o-", color=BLUE, label="best at each dose")
    left.set(xlabel="dose (e/Å²)", ylabel="SSIM", xscale="log")
    doses = sorted(best.index)
    left.set_xticks(doses, [f"{dose:g}" for dose in doses])
    left.minorticks_off()
    left.legend(loc="lower right")
    limit = tables.recommended["dose_e_per_a2"]
    here = good[good["dose_e_per_a2"] == limit].sort_values("scan_time_s")
    right.plot(here["scan_time_s"], here["ssim"], ".", color=GREY, alpha=0.5, label="trials")
    front = here[here["ssim"] >= here["ssim"].cummax() - 1e-12]
    right.step(front["scan_time_s"], front["ssim"], where="post", color=BLUE, label=f"front at {limit:g} e/Å²")
    names = names_of(tables)
    for name, marker, size, order in (("expert", "s", 6, 3), ("recommended", "*", 9, 4)):
        item = tables.recommendation[name]
        if item["planned"] is not None and item["scan_time_s"]:
            right.plot(
                item["scan_time_s"], item["planned"], marker, color=COLOURS[name], ms=size, zorder=order,
                label=f"{names[name]}, fresh noise",
            )  # fmt: skip
    right.set(xlabel="scan time (s)", ylabel="SSIM", xscale="log")
    right.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    right.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    right.xaxis.set_minor_formatter(NullFormatter())
    right.legend(loc="lower right")
    for number, one in enumerate((left, right)):
        panel_letter(one, number)
    return figure


def robustness(tables: PlanningTables) -> mpl.Figure:
    """Scores of each design as planned and under errors."""
    trials, order = tables["robustness"], list(tables["candidates"]["design"])
    figure = drawing.new_figure(TWO_COLUMNS_IN, 2.4)
    axes = figure.subplots()
    for number, design in enumerate(order):
        rows = trials[trials["design"] == design]
        for kind, colour, shift in (("repeat", BLUE, -0.15), ("draw", ORANGE, 0.15)):
            values = rows[rows["kind"] == kind]["ssim"].to_numpy(float)
            values = np.where(np.isfinite(values), values, 0.0)
            label = {"repeat": "as planned, fresh noise", "draw": "with errors"}[kind] if number == 0 else None
            place = number + shift + np.linspace(-0.08, 0.08, len(values))
            axes.plot(place, values, "o", color=colour, ms=3.5, alpha=0.8, label=label)
            axes.plot([number + shift - 0.12, number + shift + 0.12], [values.mean()] * 2, color=colour, lw=2)
    chosen = tables.recommended["design"]
    words = [_design_name(tables, design) + ("\n(recommended)" if design == chosen else "") for design in order]
    axes.set_xticks(range(len(order)), words)
    axes.set(ylabel="SSIM", xlim=(-0.6, len(order) - 0.4))
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return figure


def tolerance(tables: PlanningTables) -> mpl.Figure:
    """The recommended design with other values of one parameter, the others held: simulated."""
    frame, item = tables["tolerance"], tables.recommended
    names = list(dict.fromkeys(frame["parameter"]))
    figure = drawing.new_figure(TWO_COLUMNS_IN, 2.2)
    for number, axes in enumerate(np.atleast_1d(figure.subplots(1, len(names), sharey=True))):
        name = names[number]
        rows = frame[(frame["parameter"] == name) & frame["ssim"].notna()]
        axes.plot(rows["value"], rows["ssim"], "o-", color=BLUE, ms=3.5)
        chosen, least = ("recommended", PERCENT) if number == 0 else (None, None)
        axes.axvline(item["setting"][name], color=GREY, lw=0.8, label=chosen)
        axes.axhline((1 - WITHIN) * item["planned"], color=VERMILLION, lw=0.8, ls="--", label=least)
        axes.set(xlabel=PARAMETERS[name].format(camera=item["camera_unit"]))
        if number == 0:
            axes.set_ylabel("SSIM")
        panel_letter(axes, number)
    figure.legend(loc="outside upper right", ncols=2)
    return figure


def names_of(tables: PlanningTables) -> dict[str, str]:
    """What the recommended design and the one that it is compared with are called."""
    return {"recommended": "recommended", "expert": tables.recommendation["expert_name"]}


def _design_name(tables: PlanningTables, design: str) -> str:
    if design == "expert":
        return names_of(tables)["expert"]
    rank = int(design.rpartition("-")[2])
    return "winner" if rank == 0 else f"neighbour {rank}"


def limits(tables: PlanningTables) -> mpl.Figure:
    """The least error of a phase wave that the dose allows, and what the object has to show there."""
    figure = drawing.new_figure(TWO_COLUMNS_IN * 0.8, 2.5)
    axes, frame = figure.subplots(), tables["limits"]
    for design, words in names_of(tables).items():
        rows, colour = frame[frame["design"] == design], COLOURS[design]
        axes.plot(rows["q_per_a"], rows["known_rad"], "--", color=colour, label=f"{words}, probe known")
        axes.plot(rows["q_per_a"], rows["unknown_rad"], "-", color=colour, label=f"{words}, probe unknown")
        axes.plot(rows["q_per_a"], rows["scatter_rad"], "^", color=colour, ms=4, label=f"{words}, scatter as simulated")
        axes.plot(rows["q_per_a"], rows["bias_rad"], "v", mfc="none", color=colour, ms=4, label=f"{words}, bias")
    axes.plot(rows["q_per_a"], rows["object_rad"], "k.-", lw=0.8, label="the sample's own")
    axes.set(xlabel="frequency (1/Å)", ylabel="rms amplitude of a unit wave (rad)", yscale="log")
    axes.legend(fontsize=6, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def screen(tables: PlanningTables) -> mpl.Figure:
    """The cheap look by Fisher information against the simulated score."""
    frame, summary = tables["screen"].dropna(subset=["objective"]), tables["summary"]
    doses = sorted(frame["dose_e_per_a2"].unique())
    figure = drawing.new_figure(TWO_COLUMNS_IN, 2.3)
    for number, axes in enumerate(np.atleast_1d(figure.subplots(1, len(doses), sharey=True))):
        dose = doses[number]
        rows = frame[frame["dose_e_per_a2"] == dose]
        first = rows["round"] == 0
        axes.plot(1 - rows[first]["left"], rows[first]["objective"], "o", color=BLUE, label="first points")
        axes.plot(1 - rows[~first]["left"], rows[~first]["objective"], "o", mfc="none", color=GREY, label="proposed")
        one = summary[summary["dose_e_per_a2"] == dose].iloc[0]
        rank = one["rank_correlation_all"]
        words = f"rank correlation {rank:.2f}" if np.isfinite(rank) else "too few trials"
        axes.set(title=f"{dose:g} e/Å², {words}", xlabel="recoverable part of the object's power")
        if number == 0:
            axes.set_ylabel("SSIM of the simulation")
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.12), ncols=2)
        panel_letter(axes, number)
    return figure


def _nothing_to_vary(tables: PlanningTables) -> str | None:
    return "no parameter of this instrument has a choice" if tables["tolerance"].empty else None


def _prediction_caption(tables: PlanningTables) -> str:
    return (
        "Phase of the sample and of the simulated reconstructions, with one range of grey, at "
        f"{tables.recommended['dose_e_per_a2']:g} e/Å². Right: correlation of rings in Fourier space with the truth."
    )


def _fronts_caption(tables: PlanningTables) -> str:
    return "Trials of the searches, and those that no other one beats in quality, dose and scan time."


def _robustness_caption(tables: PlanningTables) -> str:
    return (
        "SSIM of simulations with fresh noise, as planned, and with draws of errors of defocus, drift, source, tilt "
        "and thickness that are the same for every design. Bars: means. A failed one counts as 0."
    )


def _tolerance_caption(tables: PlanningTables) -> str:
    return (
        "The recommended design with other values of one parameter, which the operator knows, the others held: "
        f"simulations. Dashed: {PERCENT} as planned." + (f" {higher}." if (higher := higher_values(tables)) else "")
    )


def _limits_caption(tables: PlanningTables) -> str:
    return (
        "Least standard deviation of a wave of the phase that the dose allows an unbiased reconstruction (Cramer-Rao), "
        "with the probe known and unknown, and what the sample has there. Triangles: what the simulated repeats have: "
        "scatter from one to the next, and bias, in which contrast that is lost to noise shows. A biased image may "
        "scatter less than the bound."
    )


def _screen_caption(tables: PlanningTables) -> str:
    return "Fisher information of each setting tried, without a reconstruction, against the score of its simulation."


FIGURES = (
    Figure("prediction", "What to expect", prediction, _prediction_caption),
    Figure("probe", "The probe on its scan", draw_probes, probe_caption),
    Figure("patterns", "Patterns to expect", draw_patterns, patterns_caption, missing),
    Figure("fronts", "Quality, dose and time", fronts, _fronts_caption),
    Figure("robustness", "Designs under errors", robustness, _robustness_caption),
    Figure("tolerance", "Tolerances", tolerance, _tolerance_caption, _nothing_to_vary),
    Figure("limits", "What the dose allows", limits, _limits_caption),
    Figure("screen", "A cheap look against the simulation", screen, _screen_caption),
)
