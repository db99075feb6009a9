"""A step's command of earlier versions is answered with what it is called now."""

import pytest

from ptydesign import kinds, steps
from ptydesign.cli import main

FORMER = {
    "potential": "experiment potential",
    "propose": "experiment propose",
    "evaluate": "experiment evaluate",
    "choose": "experiment choose",
    "validate": "experiment validate",
    "collect": "experiment collect",
    "depth-specimen": "depth specimen",
    "depth-simulate": "depth simulate",
    "depth-reconstruct": "depth reconstruct",
    "depth-measure": "depth measure",
    "depth-thickness": "depth thickness",
    "depth-collect": "depth collect",
    "scan": "tuning scan",
    "tune": "tuning search",
    "pick": "tuning choose",
    "assess": "tuning assess",
    "tabulate": "tuning collect",
    "regularisation-specimen": "regularisation specimen",
    "regularisation-simulate": "regularisation simulate",
    "regularisation-tune": "regularisation tune",
    "regularisation-reconstruct": "regularisation reconstruct",
    "regularisation-collect": "regularisation collect",
    "plancard": "planning card",
    "planpotentials": "planning potentials",
    "planpropose": "planning propose",
    "planevaluate": "planning evaluate",
    "planchoose": "planning choose",
    "planrobust": "planning robust",
    "plantolerance": "planning tolerance",
    "planlimits": "planning limits",
    "planscreen": "planning screen",
    "plancollect": "planning collect",
}


@pytest.mark.parametrize("name, now", FORMER.items())
def test_former_commands_are_answered_with_their_step(name, now):
    assert steps.old_command(name) == f"ptydesign step {now}"
    kind, step = now.split()
    assert kinds.find_kind(kind).step(step).name == step  # raises for a step that there isn't


def test_a_word_that_was_never_a_command_has_no_step():
    assert steps.old_command("specimen") is None
    assert steps.old_command("lowdose") is None


def test_the_error_says_it(capsys):
    assert main(["tune", "studies/reconparams"]) == 2
    assert "It is called `ptydesign step tuning search` now." in capsys.readouterr().err
