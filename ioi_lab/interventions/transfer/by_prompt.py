"""The values of each prompt behind the rows of one direction of transfer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from jaxtyping import Float

from ioi_lab.engine.engine import Engine
from ioi_lab.reports.report import PER_PROMPT, per_prompt_table
from ioi_lab.stats.metrics import Array, Readout


@dataclass(frozen=True)
class ByPrompt:
    """The readout of one direction, and the logit differences of the unedited passes of the model that is edited."""

    readout: Readout
    clean: Float[Array, "prompt"]
    corrupted: Float[Array, "prompt"]

    @classmethod
    def of(cls, engine: Engine, readout: Readout) -> Self:
        """Return the values of an engine's prompts."""
        return cls(readout, *(engine.baseline(which).logit_diff[0] for which in ("clean", "corrupted")))


def joined_file(directions: Sequence[ByPrompt]) -> dict[str, bytes]:
    """Return `per_prompt.parquet` of several directions, whose rows follow one another in `results.csv`."""
    import pandas as pd

    tables, first = [], 0
    for each in directions:
        tables.append(per_prompt_table(each.readout, each.clean, each.corrupted, first))
        first += len(each.readout.logit_diff)
    return {PER_PROMPT: pd.concat(tables, ignore_index=True).to_parquet(index=False)}
