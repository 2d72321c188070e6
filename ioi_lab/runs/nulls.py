"""The null values of metrics: what they are if nothing has an effect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

EFFECTS: Final = (
    "recovery",
    "slope",
    "efficiency",
    "effect",
    "change",
    "share_of_native",
    "share_of_own",
)
"""A metric is the size of an effect if its name, or the last part of it, is one of these.

Every other metric, such as an accuracy, a logit difference or an attention weight, is a level, without a null value.
"""


def null_value(metric: str, intervention: Mapping[str, object]) -> float | None:
    """Return the value of a metric without any effect; None for a metric that is not the size of an effect.

    Args:
        metric: The name of the metric.
        intervention: The config of the run's intervention.

    """
    if not any(metric == name or metric.endswith(f"_{name}") for name in EFFECTS):
        return None
    is_recovery = metric == "recovery" or metric.endswith("_recovery")
    return 1.0 if is_recovery and edits_clean(intervention) else 0.0


def edits_clean(intervention: Mapping[str, object]) -> bool:
    """Return whether the clean pass is edited, whose recovery without an effect is 1: steering, noising, ablations."""
    passes = intervention.get("prompts"), intervention.get("run")
    return intervention.get("name") == "steer" or intervention.get("direction") == "noise" or "clean" in passes
