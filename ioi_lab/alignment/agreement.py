"""How much a stitched model behaves as the model itself, on held-out texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ioi_lab.alignment.config import PairOfLayers
from ioi_lab.alignment.nonlinear import ActivationMap
from ioi_lab.alignment.pairing import Pairing
from ioi_lab.alignment.stitching import NO_TOKEN, StitchBatch, kl_from_own, log_probs, pieces_by_length
from ioi_lab.alignment.text_activations import ReadPiece
from ioi_lab.engine.edits import Site
from ioi_lab.stats.bootstrap import Bootstrap, Estimate
from ioi_lab.stats.metrics import Array
from ioi_lab.terminal import progress_bar

_MOST: Final = 64
"""The greatest number of pieces per pass."""


@dataclass(frozen=True)
class Agreement:
    """Sums over the shared positions of each held-out text, of a model stitched by one map and of its control.

    The control, `mean`, replaces the same positions by the mean of the target's activations there (mean ablation).
    Losses are over the positions that a token follows.
    """

    kl: Float[Array, "text"]
    """KL from the model's own next-token distribution, in nats."""

    kl_mean: Float[Array, "text"]
    same_top: Float[Array, "text"]
    """Positions at which the likeliest next token stays the same."""

    same_top_mean: Float[Array, "text"]
    loss: Float[Array, "text"]
    loss_own: Float[Array, "text"]
    loss_mean: Float[Array, "text"]
    n_positions: Float[Array, "text"]
    n_followed: Float[Array, "text"]

    @classmethod
    def zeros(cls, n_texts: int) -> Self:
        """Return sums over no positions."""
        return cls(*(np.zeros(n_texts) for _ in fields(cls)))


@torch.no_grad()
def agreements(
    pieces: Sequence[ReadPiece],
    pairing: Pairing,
    maps: Mapping[PairOfLayers, ActivationMap],
    means: Mapping[int, Float[Tensor, "d_y"]],
    *,
    backward: bool,
) -> dict[PairOfLayers, Agreement]:
    """Return how each map's stitched model behaves on held-out pieces.

    Args:
        pieces: The pieces with their activations.
        pairing: The models.
        maps: The maps by layer of the model that is mapped from and of the one that is stitched into.
        means: The mean activation of each layer that is stitched into.
        backward: Whether the maps are from the target to the source.

    """
    side = 0 if backward else 1
    model = pairing.models[side]
    numbers = {text: place for place, text in enumerate(dict.fromkeys(each.piece.text for each in pieces))}
    sums = {pair: Agreement.zeros(len(numbers)) for pair in maps}
    layers_x = pairing.layers[1 - side]
    groups = list(pieces_by_length(pieces, side, _MOST, model, pairing.memory_gb))
    with progress_bar(len(groups), "stitching", unit="pass") as bar:
        for some in groups:
            own = None
            ablated: dict[int, Tensor] = {}
            for (x_layer, y_layer), each in maps.items():
                batch = StitchBatch.of(some, side, layers_x.index(x_layer), model.device)
                site = Site(pairing.component, y_layer)
                own = log_probs(model, site, batch, None) if own is None else own
                if y_layer not in ablated:
                    mean = means[y_layer].expand(len(batch), -1)
                    ablated[y_layer] = log_probs(model, site, batch, mean)
                stitched = log_probs(model, site, batch, each(batch.x.to(each.bias)))
                text = np.array([numbers[int(number)] for number in batch.texts])
                _add(sums[x_layer, y_layer], own, stitched, ablated[y_layer], batch.next_tokens, text)
            bar.update()
    return sums


def _add(
    sums: Agreement,
    own: Float[Tensor, "position vocab"],
    stitched: Float[Tensor, "position vocab"],
    ablated: Float[Tensor, "position vocab"],
    next_tokens: Int[Tensor, "position"],
    text: Int[np.ndarray[tuple[int], np.dtype[np.int64]], "position"],
) -> None:
    followed = (next_tokens != NO_TOKEN).float()
    targets = next_tokens.clamp_min(0)[:, None]

    def loss(log_probabilities: Tensor) -> Tensor:
        return -log_probabilities.gather(1, targets)[:, 0] * followed

    top = own.argmax(dim=1)
    by_position = {
        "kl": kl_from_own(own, stitched),
        "kl_mean": kl_from_own(own, ablated),
        "same_top": stitched.argmax(dim=1) == top,
        "same_top_mean": ablated.argmax(dim=1) == top,
        "loss": loss(stitched),
        "loss_own": loss(own),
        "loss_mean": loss(ablated),
        "n_positions": torch.ones(len(own)),
        "n_followed": followed,
    }
    for name, values in by_position.items():
        np.add.at(getattr(sums, name), text, values.cpu().double().numpy())


def agreement_estimates(agreements: Sequence[Agreement], bootstrap: Bootstrap) -> dict[str, Estimate]:
    """Return what is reported of the agreements of several maps, with intervals over texts."""

    def stacked(name: str) -> Array:
        return np.stack([getattr(each, name) for each in agreements])

    ratio = bootstrap.over(len(agreements[0].kl)).ratio
    positions, followed = stacked("n_positions"), stacked("n_followed")
    own, mean = stacked("loss_own"), stacked("loss_mean")
    return {
        "stitched_kl": ratio(stacked("kl"), positions),
        "stitched_agreement": ratio(stacked("same_top"), positions),
        "stitched_loss": ratio(stacked("loss"), followed),
        "own_loss": ratio(own, followed),
        "mean_ablated_loss": ratio(mean, followed),
        "mean_ablated_kl": ratio(stacked("kl_mean"), positions),
        "mean_ablated_agreement": ratio(stacked("same_top_mean"), positions),
        "loss_recovered": ratio(mean - stacked("loss"), mean - own),
    }


def replaced_share(pieces: Sequence[ReadPiece], side: int) -> float:
    """Return the share of a model's positions, BOS included, that are shared, and so replaced."""
    n_tokens = sum(len(each.piece.ids[side]) for each in pieces)
    return sum(len(each.piece) for each in pieces) / max(1, n_tokens)
