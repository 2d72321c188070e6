"""What recovery is taken of: for each measure, 1 is the clean pass and 0 the corrupted one.

Recovery is (edited − corrupted) / (clean − corrupted) of the means over prompts. The measures: `logit_diff`, the logit
difference; `prob_diff`, P(answer) − P(distractor); `kl`, −KL(clean pass ‖ edited pass) over the whole vocabulary, so
that recovery is 1 − KL(clean ‖ edited) / KL(clean ‖ corrupted); `rank`, −log(rank of the answer).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from ioi_lab.errors import LabError
from ioi_lab.stats.discoveries import ROUNDING
from ioi_lab.stats.metrics import Array, Extra, Readout

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine

MetricName = Literal["logit_diff", "prob_diff", "kl", "rank"]


@dataclass(frozen=True)
class Measure:
    """A value of each prompt under each edit set."""

    name: str
    """The name in labels and messages."""

    read: Callable[[Readout], Array | None]
    """Returns the values `[edit_set, prompt]`; None if they were not read."""

    rounding: float
    """What floating point may add to a value."""

    extra: tuple[Extra, ...] = ()
    """What has to be read on demand."""


def _difference(readout: Readout) -> Array | None:
    if readout.p_answer is None or readout.p_distractor is None:
        return None
    return readout.p_answer - readout.p_distractor


MEASURES: Final[Mapping[MetricName, Measure]] = {
    "logit_diff": Measure("logit difference", lambda readout: readout.logit_diff, ROUNDING),
    "prob_diff": Measure("probability difference", _difference, 1e-5),
    "kl": Measure(
        "KL from the clean pass",
        lambda readout: None if readout.kl_clean is None else -readout.kl_clean,
        1e-5,
        ("kl_clean",),
    ),
    "rank": Measure(
        "log rank of the answer",
        lambda readout: None if readout.rank is None else -np.log(readout.rank),
        1e-4,
        ("rank",),
    ),
}


def column_of(metric: MetricName) -> str:
    """Return the column of recovery in `results.csv`: `recovery` is always that of the logit difference."""
    return "recovery" if metric == "logit_diff" else f"recovery_{metric}"


def engine_for(engine: Engine, metric: MetricName) -> Engine:
    """Return an engine that reads what a metric needs."""
    extra = MEASURES[metric].extra
    return engine.also_reading(*extra) if extra else engine


def read(readout: Readout, metric: MetricName) -> Array:
    """Return the values of a metric; raises a `LabError` if the readout has logit differences alone."""
    values = MEASURES[metric].read(readout)
    if values is None:
        raise LabError(
            f"intervention.metric: got {metric!r}, but engine.readout=logit_diff reads no probabilities; expected "
            "engine.readout=full, or metric=logit_diff"
        )
    return values


def check_recoverable(clean: Array, corrupted: Array, metric: MetricName) -> None:
    """Raise a `LabError` if the corruption does not change the mean of a metric."""
    if abs(clean.mean() - corrupted.mean()) < 10 * MEASURES[metric].rounding:
        raise LabError(
            f"intervention.metric: got {metric!r}, but clean and corrupted prompts give the same mean "
            f"{MEASURES[metric].name}, so there is nothing to recover; choose another metric or another corruption"
        )
