"""Every run checks itself: patching everything must recover all of the behaviour, patching nothing none of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ioi_lab.edits import OTHER_RUN, Edit, EditSet, FromRun, Run, Site
from ioi_lab.errors import LabError
from ioi_lab.metrics import Readout

if TYPE_CHECKING:
    from ioi_lab.engine import Engine

TOLERANCE: Final = 1e-3
"""How far the controls may be from 1 and 0, as a share of the way from the base run to the other."""

ROUNDING: Final = 1e-4
"""What floating point may add to a logit difference: in a small gap this is more than `TOLERANCE` of it."""

SMALLEST_GAP: Final = 1e-3
"""Mean logit differences closer than this leave nothing to recover (recovery divides by the gap)."""


def check_gap(clean: Readout, corrupted: Readout) -> None:
    """Raise a `LabError` if the corruption does not change the mean logit difference."""
    means = clean.logit_diff.mean(), corrupted.logit_diff.mean()
    if abs(means[0] - means[1]) < SMALLEST_GAP:
        raise LabError(
            f"task: clean and corrupted prompts give the same mean logit difference ({means[0]:.6f} and "
            f"{means[1]:.6f}), so there is nothing to recover; check the prompts or choose another corruption"
        )


def baseline_lines(clean: Readout, corrupted: Readout) -> list[str]:
    """What the model does without edits, for the terminal; with a warning where the clean run does not do the task."""
    lines = [
        f"{run} prompts: logit difference {readout.logit_diff.mean():.2f}, accuracy {readout.correct.mean():.2f}"
        for run, readout in (("clean", clean), ("corrupted", corrupted))
    ]
    if clean.logit_diff.mean() <= max(0.0, corrupted.logit_diff.mean()):
        lines.append("warning: the model does not do the task on the clean prompts, so recovery says little")
    return lines


def checked_run(engine: Engine, plan: Sequence[EditSet], base: Run) -> tuple[Readout, dict[str, float]]:
    """Evaluate `plan` over the `base` run, with the controls beside it: the readout of the plan, and their results.

    Raises a `LabError` if a control fails.
    """
    clean, corrupted = engine.baseline("clean"), engine.baseline("corrupted")
    readout = engine.run([*plan, *control_edit_sets(plan, base)], base)
    checks = check_controls(readout.select(slice(len(plan), None)), clean, corrupted, base)
    return readout.select(slice(len(plan))), checks


def control_edit_sets(plan: Sequence[EditSet], base: Run) -> list[EditSet]:
    """Two edit sets to run along with `plan`, through the same code.

    The first writes the other run into the first layer's input (everything downstream follows); the second writes the
    base run's own activations into every component and layer that the plan touches.
    """
    touched = dict.fromkeys((edit.site.component, edit.site.layer) for edit_set in plan for edit in edit_set)
    everything = (Edit(Site("resid_pre", 0), "replace", FromRun(OTHER_RUN[base])),)
    nothing = tuple(Edit(Site(component, layer), "replace", FromRun(base)) for component, layer in touched)
    return [everything, nothing]


def check_controls(controls: Readout, clean: Readout, corrupted: Readout, base: Run) -> dict[str, float]:
    """The controls' results as scalars: the share of the way from the base run to the other, to be 1 and 0.

    Raises a `LabError` if one is off by more than `TOLERANCE`: then no number of this run can be trusted.
    """
    start, end = (corrupted, clean) if base == "corrupted" else (clean, corrupted)
    gap = (end.logit_diff - start.logit_diff).mean()
    shares = (controls.logit_diff - start.logit_diff).mean(axis=1) / gap
    tolerance = max(TOLERANCE, ROUNDING / abs(gap))
    for name, share, expected in zip(("everything", "nothing"), shares, (1.0, 0.0), strict=True):
        if not abs(share - expected) <= tolerance:
            raise LabError(
                f"self-check: patching {name} moved the logit difference {share:.6f} of the way to the other run, "
                f"expected {expected:.0f} ± {tolerance:.4f}; the results are not to be trusted"
            )
    return {"check_everything": float(shares[0]), "check_nothing": float(shares[1])}
