"""Every run checks itself: patching everything must recover all of the behaviour, patching nothing none of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ioi_lab.engine.edits import OTHER_PASS, Edit, EditSet, FromPass, Pass, Site
from ioi_lab.errors import LabError
from ioi_lab.stats.discoveries import ROUNDING
from ioi_lab.stats.metrics import Readout

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine

TOLERANCE: Final = 1e-3
"""The largest deviation of the checks from 1 and 0, as a share of the way from the base pass to the other."""

MIN_GAP: Final = 1e-3
"""The least difference between mean logit differences that leaves something to recover: recovery divides by it."""


@dataclass(frozen=True)
class SelfChecks:
    """Shares of the way from the base pass to the other: 1 and 0, up to rounding, if the numbers can be trusted."""

    everything: float
    """With everything patched."""

    nothing: float
    """With every touched component patched by its own activation."""

    def metrics(self) -> dict[str, float]:
        """Return both as scalars; NaN, for checks that are impossible without anything to recover, is left out."""
        checks = {"check_everything": self.everything, "check_nothing": self.nothing}
        return {name: share for name, share in checks.items() if math.isfinite(share)}

    @classmethod
    def worst(cls, checks: Sequence[SelfChecks]) -> SelfChecks:
        """Return the values that deviate most, of several measurements of one run."""
        return cls(
            everything=max((check.everything for check in checks), key=lambda share: abs(share - 1)),
            nothing=max((check.nothing for check in checks), key=abs),
        )


def checked_run(engine: Engine, edit_sets: Sequence[EditSet], base: Pass) -> tuple[Readout, SelfChecks]:
    """Evaluate edit sets over the `base` pass together with two self-checks through the same code.

    Without edit sets, the checks alone are run. Raises a `LabError` if a check fails: then no number of this run can be
    trusted.
    """
    clean, corrupted = engine.baseline("clean"), engine.baseline("corrupted")
    readout = engine.run([*edit_sets, *check_edit_sets(edit_sets, base)], base)
    checks = check_shares(readout.select(slice(len(edit_sets), None)), clean, corrupted, base)
    return readout.select(slice(len(edit_sets))), checks


def check_edit_sets(edit_sets: Sequence[EditSet], base: Pass) -> list[EditSet]:
    """Return the two edit sets of the self-checks.

    The first writes the other pass into the first layer's input, from which everything follows; the second writes the
    base pass's own activations into every component and layer that `edit_sets` touch.
    """
    touched = dict.fromkeys((edit.site.component, edit.site.layer) for edit_set in edit_sets for edit in edit_set)
    everything = (Edit(Site("resid_pre", 0), "replace", FromPass(OTHER_PASS[base])),)
    nothing = tuple(Edit(Site(component, layer), "replace", FromPass(base)) for component, layer in touched)
    return [everything, nothing]


def check_shares(checked: Readout, clean: Readout, corrupted: Readout, base: Pass) -> SelfChecks:
    """Return the shares that the two check edit sets have moved the logit difference.

    Raises a `LabError` if one is off by more than `TOLERANCE`.
    """
    start, end = (corrupted, clean) if base == "corrupted" else (clean, corrupted)
    gap = (end.logit_diff - start.logit_diff).mean()
    shares = (checked.logit_diff - start.logit_diff).mean(axis=1) / gap
    tolerance = max(TOLERANCE, ROUNDING / abs(gap))  # if the gap is small, rounding is more than `TOLERANCE` of it
    for name, share, expected in zip(("everything", "nothing"), shares, (1.0, 0.0), strict=True):
        if not abs(share - expected) <= tolerance:
            raise LabError(
                f"self-check: patching {name} moved the logit difference {share:.6f} of the way to the other pass, "
                f"expected {expected:.0f} ± {tolerance:.4f}; the results are not to be trusted"
            )
    return SelfChecks(float(shares[0]), float(shares[1]))


def check_gap(clean: Readout, corrupted: Readout) -> None:
    """Raise a `LabError` if the corruption does not change the mean logit difference."""
    means = clean.logit_diff.mean(), corrupted.logit_diff.mean()
    if abs(means[0] - means[1]) < MIN_GAP:
        raise LabError(
            f"task: clean and corrupted prompts give the same mean logit difference ({means[0]:.6f} and "
            f"{means[1]:.6f}), so there is nothing to recover; check the prompts or choose another corruption"
        )
