"""A checked plan, ready to run: its bench, its optical modes, and one study for each of them.

A mode is a voltage and a camera length: they fix the pixel of the reconstruction, lambda / (N dtheta), so each has a
potential of its own. Everything below a trial (simulate, reconstruct, score, the point store) is that of `study`.
"""

from __future__ import annotations

from ptydesign.planning.card import Card, make_card
from ptydesign.planning.config import PlanConfig
from ptydesign.planning.instrument import Bench, Setting

EXPERT = "rule of thumb"


def make_bench(plan: PlanConfig) -> Bench:
    """The instrument with its detector."""
    return Bench(plan)


def plan_cards(plan: PlanConfig, settings: dict[str, Setting] | None = None) -> list[Card]:
    """A card for each setting (by name) at the dose limit; by default for the rule of thumb's, at every dose."""
    from ptydesign.study.estimate import fft_rate

    bench, rate = Bench(plan), fft_rate()
    doses = plan.goal.doses_e_per_a2
    if settings is None:
        return [make_card(bench, bench.operate(expert_at(bench, dose), dose), EXPERT, rate) for dose in doses]
    limit = plan.goal.dose_limit
    return [make_card(bench, bench.operate(setting, limit), name, rate) for name, setting in settings.items()]


def expert_at(bench: Bench, dose_e_per_a2: float) -> Setting:
    """The rule of thumb's setting, with the nearest step that can be done at the dose."""
    return bench.feasible_near(bench.expert(), dose_e_per_a2)
