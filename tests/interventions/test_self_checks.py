from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.engine.edits import Edit, FromPass, Site
from ioi_lab.errors import LabError
from ioi_lab.interventions.self_checks import SelfChecks, check_edit_sets, check_gap, check_shares, checked_run
from ioi_lab.stats.metrics import Readout
from tests.interventions.toy import ToyEngine


def readout(*logit_diffs):
    return Readout(np.array(logit_diffs, dtype=float)[:, None])


def test_checks_touch_what_the_edit_sets_touch():
    plan = [(Edit(Site("z", layer, head), "zero"),) for layer in (1, 2) for head in (0, 1)]
    everything, nothing = check_edit_sets(plan, "corrupted")
    assert [(edit.site, edit.value) for edit in everything] == [(Site("resid_pre", 0), FromPass("clean"))]
    assert [edit.site for edit in nothing] == [Site("z", 1), Site("z", 2)]
    assert {edit.value for edit in nothing} == {FromPass("corrupted")}


@pytest.mark.parametrize("base", ["clean", "corrupted"])
def test_checks_pass_and_fail(base):
    clean, corrupted = readout(3.0), readout(-1.0)
    everything, nothing = (3.0, -1.0) if base == "corrupted" else (-1.0, 3.0)
    shares = check_shares(readout(everything, nothing), clean, corrupted, base)
    assert shares.metrics() == {"check_everything": 1.0, "check_nothing": 0.0}
    with pytest.raises(LabError, match=r"self-check: patching everything moved the logit difference 0\.99"):
        check_shares(readout(everything + 0.01 * np.sign(nothing - everything), nothing), clean, corrupted, base)
    with pytest.raises(LabError, match="self-check: patching nothing"):
        check_shares(readout(everything, nothing + 0.01), clean, corrupted, base)
    with pytest.raises(LabError, match="patching nothing moved the logit difference nan"):
        check_shares(readout(everything, np.nan), clean, corrupted, base)


def test_prompts_that_measure_nothing_are_reported():
    with pytest.raises(LabError, match="nothing to recover"):
        check_gap(readout(1.0), readout(1.0001))
    check_gap(readout(1.0), readout(0.9))


def test_checks_run_without_edits_too():
    readout, checks = checked_run(ToyEngine(), [], "corrupted")
    assert readout.logit_diff.shape == (0, 4)
    assert checks == SelfChecks(1.0, 0.0)


def test_the_worst_of_several_checks():
    checks = [SelfChecks(1.0, 1e-5), SelfChecks(0.9995, -2e-5), SelfChecks(1.0004, 0.0)]
    assert SelfChecks.worst(checks) == SelfChecks(0.9995, -2e-5)
