"""What metrics are without any edit: the null values of effects, and the values of the unedited run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

EFFECTS: Final = (
    "slope",
    "efficiency",
    "effect",
    "change",
    "share_of_native",
    "share_of_own",
    "share_beyond_mean",
)
"""A metric is the size of an effect if its name, or the last part of it, is one of these, or a recovery.

Every other metric, such as an accuracy, a logit difference or an attention weight, is a level, without a null value.
"""

LEVELS: Final = ("logit_diff", "p_answer", "p_distractor", "accuracy")
"""The levels that every run has of its unedited passes as well, as `clean_…` and `corrupted_…`."""

_RECOVERIES: Final = ("recovery", "recovery_prob_diff", "recovery_kl", "recovery_rank")
"""Recovery of each measure: 0 in the corrupted pass, 1 in the clean one."""


_WITHOUT_EDITS: Final = (
    *("baseline", "logit_lens", "logit_attribution", "attention", "head_roles"),
    *("circuit", "circuit_tests", "cross_task"),
)
"""Interventions whose levels are readouts of the unedited model, or values of circuits, and no changes by edits."""


@dataclass(frozen=True)
class Unedited:
    """What a run has without its edits."""

    value: float
    run: str
    """The run without edits in words, such as `the unsteered clean run`; empty for the null value of an effect."""


def null_value(metric: str, intervention: Mapping[str, object]) -> float | None:
    """Return the value of a metric without any effect; None for a metric that is not the size of an effect.

    Args:
        metric: The name of the metric.
        intervention: The config of the run's intervention.

    """
    if _ends_with(metric, _RECOVERIES):
        return 1.0 if edits_clean(intervention) else 0.0
    return 0.0 if _ends_with(metric, EFFECTS) else None


def unedited(metric: str, intervention: Mapping[str, object], metrics: Mapping[str, Any]) -> Unedited | None:
    """Return the value that a metric of edits has in the same run without edits; None for a metric without one.

    Args:
        metric: The name of a metric, or of a column of `results.csv`.
        intervention: The config of the run's intervention.
        metrics: The metrics of the run, among them the levels of its unedited passes.

    """
    is_clean = edits_clean(intervention)
    run = f"the {'unsteered' if _steers(intervention) else 'unedited'} {'clean' if is_clean else 'corrupted'} run"
    base = without_best(metric)
    if (null := null_value(metric, intervention)) is not None:
        return Unedited(null, run if _ends_with(base, _RECOVERIES) else "")
    if intervention.get("name") in _WITHOUT_EDITS:
        return None
    if base in ("kl", "flipped") and is_clean:
        return Unedited(0.0, run)
    level = metrics.get(f"{'clean' if is_clean else 'corrupted'}_{base}") if base in LEVELS else None
    return Unedited(float(level), run) if isinstance(level, int | float) else None


def without_best(metric: str) -> str:
    """Return what a metric is the best of: `best_recovery` → `recovery`, `forward_best_r2` → `r2`."""
    is_best = metric.startswith("best_") or "_best_" in metric
    return metric.rpartition("best_")[2] if is_best else metric


def edits_clean(intervention: Mapping[str, object]) -> bool:
    """Return whether the clean pass is edited, whose recovery without an effect is 1: steering, noising, ablations.

    `wang2022` has no key for it: its paths carry corrupted activations into the clean pass.
    """
    passes = intervention.get("prompts"), intervention.get("run")
    is_noised = intervention.get("direction") == "noise" or intervention.get("name") == "wang2022"
    return _steers(intervention) or is_noised or "clean" in passes


def _ends_with(metric: str, names: Sequence[str]) -> bool:
    """Return whether a metric, or the last part of it, has one of these names."""
    return any(metric == name or metric.endswith(f"_{name}") for name in names)


def _steers(intervention: Mapping[str, object]) -> bool:
    """Return whether directions are added; `transfer` of a head replaces its output instead."""
    name = intervention.get("name")
    return name == "steer" or (name == "transfer" and intervention.get("through") != "head")
