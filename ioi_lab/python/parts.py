"""Parts of the lab with the choices that an intervention's config makes, for direct calls."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ioi_lab.engine.edits import Pass
    from ioi_lab.engine.engine import Engine
    from ioi_lab.lenses.base import Lens
    from ioi_lab.lenses.reading import LensReading
    from ioi_lab.tasks.prompts import Position


def read_lens(
    engine: Engine, lens: Lens[Any] | None = None, which: Pass = "clean", positions: Sequence[Position] = ("END",)
) -> LensReading:
    """Read the residual stream before the first layer and after each one with a lens, over all prompts of the engine.

    Args:
        engine: The model and its prompts.
        lens: `LogitLens()` by default, or a `TunedLens`, which is trained first unless it has translators.
        which: The pass whose stream is read.
        positions: Labels or indices of tokens.

    Returns:
        The logit difference, probabilities, rank of the answer and KL, each `[site, position, prompt]`.

    Raises:
        LabError: The lens cannot read this model.

    """
    from ioi_lab.lenses.logit import LogitLens, check_readout
    from ioi_lab.lenses.reading import read_positions, stream_sites

    chosen = LogitLens() if lens is None else lens
    sites = stream_sites(engine.shape, sublayers=False)
    check_readout(engine, which, sites[-1])
    log_probs = partial(chosen.log_probs, chosen.fit(engine, sites).state, engine.model.bridge)
    return read_positions(engine, which, sites, list(positions), log_probs)
