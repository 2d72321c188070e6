"""The effects of steering on ordinary text, as a steering run reports them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float

from ioi_lab.engine.edits import Site
from ioi_lab.interventions.steer.steps import Step
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Array
from ioi_lab.stats.responses import Response

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine

MAX_TEXT_TOKENS: Final = 1024
"""The number of tokens of ordinary text that are read."""


@dataclass(frozen=True)
class TextEffects:
    """Effects on ordinary text. Rows go by the measured sites, then scale by scale."""

    name: str
    """The name of the text's file."""

    sites: list[int]
    """The indices of the measured sites, the steepest first."""

    n_passages: int

    loss: float
    """The next-token loss without steering, in nats per token."""

    steered_loss: float
    """The next-token loss at the best site and the strongest scale, in nats per token."""

    estimates: dict[str, Estimate]
    """`text_loss_change`, in nats per token, and `text_agreement`, the share of tokens whose likeliest next token stays
    the same, with intervals over passages."""

    largest_rise: Float[Array, "site"]
    """The largest rise of the loss within the linear range of each measured site, in nats per token; NaN without
    one."""


def measure_text_effects(
    held_out: Engine,
    steps: Sequence[Step],
    responses: Sequence[Response],
    scales: Sequence[float],
    strongest: int,
    sites: list[int],
    text: Path | None,
) -> TextEffects | None:
    """Steer ordinary text at all positions, each passage as one of the prompts, in turn; None without `sites`.

    Args:
        held_out: The engine on the steered prompts.
        steps: What is added at each site.
        responses: The response of each site.
        scales: The scales.
        strongest: The index of the strongest scale.
        sites: The indices of the sites to be measured, the best one first.
        text: The text file; None for the packaged text.

    Raises:
        LabError: The text cannot be read, or the model's own logits cannot be read from its last layer.

    """
    if not sites:
        return None
    from ioi_lab.lenses.logit import check_readout
    from ioi_lab.steering.side_effects import side_effects
    from ioi_lab.tasks.text import default_text, passages

    path = text if text is not None else default_text(held_out.model)
    check_readout(held_out, "clean", Site("resid_post", held_out.shape.n_layers - 1))
    pieces = passages(held_out.model, path, "intervention.text", MAX_TEXT_TOKENS)
    on_text = held_out.on(pieces)
    plan = [edits for site in sites for edits in steps[site].edits_on_text(scales, len(pieces))]
    effects = side_effects(on_text, plan)
    over_passages = held_out.bootstrap.over(len(pieces))
    change = over_passages.mean(effects.loss_change)
    loss = float(effects.loss.mean())
    return TextEffects(
        name=path.name,
        sites=sites,
        n_passages=len(pieces),
        loss=loss,
        steered_loss=loss + float(change.value[strongest]),  # the best site is the first
        estimates={"text_loss_change": change, "text_agreement": over_passages.mean(effects.agreement)},
        largest_rise=_largest_rises(change, [responses[site] for site in sites], np.array(scales)),
    )


def _largest_rises(
    change: Estimate, responses: Sequence[Response], scales: Float[Array, "scale"]
) -> Float[Array, "site"]:
    by_site = change.value.reshape(len(responses), len(scales))
    linear = [(response.linear_scales[0] <= scales) & (scales <= response.linear_scales[-1]) for response in responses]
    largest = np.array([rises[chosen].max(initial=0.0) for rises, chosen in zip(by_site, linear, strict=True)])
    return np.where([response.linear.is_linear for response in responses], largest, np.nan)
