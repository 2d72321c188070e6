from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.engine.edits import Edit, FromPass, Site
from ioi_lab.errors import LabError
from ioi_lab.interventions.self_checks import baseline_lines, check_controls, check_gap, control_edit_sets
from ioi_lab.stats.metrics import Readout


def readout(*logit_diffs):
    return Readout(np.array(logit_diffs, dtype=float)[:, None])


def test_controls_touch_what_the_plan_touches():
    plan = [(Edit(Site("z", layer, head), "zero"),) for layer in (1, 2) for head in (0, 1)]
    everything, nothing = control_edit_sets(plan, "corrupted")
    assert [(edit.site, edit.value) for edit in everything] == [(Site("resid_pre", 0), FromPass("clean"))]
    assert [edit.site for edit in nothing] == [Site("z", 1), Site("z", 2)]
    assert {edit.value for edit in nothing} == {FromPass("corrupted")}


@pytest.mark.parametrize("base", ["clean", "corrupted"])
def test_controls_pass_and_fail(base):
    clean, corrupted = readout(3.0), readout(-1.0)
    everything, nothing = (3.0, -1.0) if base == "corrupted" else (-1.0, 3.0)
    shares = check_controls(readout(everything, nothing), clean, corrupted, base)
    assert shares == {"check_everything": 1.0, "check_nothing": 0.0}
    with pytest.raises(LabError, match=r"self-check: patching everything moved the logit difference 0\.99"):
        check_controls(readout(everything + 0.01 * np.sign(nothing - everything), nothing), clean, corrupted, base)
    with pytest.raises(LabError, match="self-check: patching nothing"):
        check_controls(readout(everything, nothing + 0.01), clean, corrupted, base)
    with pytest.raises(LabError, match="patching nothing moved the logit difference nan"):
        check_controls(readout(everything, np.nan), clean, corrupted, base)


def test_baselines_are_told_with_a_warning_where_the_task_is_not_done():
    assert baseline_lines(readout(3.0), readout(-1.0)) == [
        "clean prompts: logit difference 3.00, accuracy 1.00",
        "corrupted prompts: logit difference -1.00, accuracy 0.00",
    ]
    for clean, corrupted in ((-0.5, -1.0), (1.0, 2.0)):
        assert baseline_lines(readout(clean), readout(corrupted))[-1].startswith("warning: the model does not do")


def test_prompts_that_measure_nothing_are_told():
    with pytest.raises(LabError, match="nothing to recover"):
        check_gap(readout(1.0), readout(1.0001))
    check_gap(readout(1.0), readout(0.9))
