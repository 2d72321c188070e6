"""What the writers of a model write: in a pass, and in its place wherever an edge is ablated."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Self, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ioi_lab.circuits.wiring import EMBEDDING, Wiring
from ioi_lab.engine.buckets import Bucket
from ioi_lab.engine.edits import Pass, Site
from ioi_lab.errors import LabError

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine
    from ioi_lab.tasks.prompts import PromptPair

Ablation = Literal["corrupted", "mean", "mean_by_position", "zero", "resample"]
"""What an ablated edge carries: what its writer writes in the corrupted prompt; its mean over corrupted prompts and
their positions; its mean at each position over corrupted prompts that agree in their sentence; zeros; or what it writes
in another clean prompt of the same length."""

ABLATIONS: Final[tuple[Ablation, ...]] = get_args(Ablation)

Outputs = Float[Tensor, "writer row pos d_model"]
"""What each writer adds to the residual stream."""


def written_in(engine: Engine, wiring: Wiring, bucket: Bucket, which: Pass) -> Outputs:
    """Return what all writers write in the clean or the corrupted pass of a bucket, in the order of `Graph.writers`."""
    shape, blocks = wiring.model.shape, wiring.blocks
    sites = [Site(each, layer) for layer in range(shape.n_layers) for each in ("z", "mlp_out")]
    activations = engine.passes.recording(bucket, which, {EMBEDDING, *sites}).activations
    written = torch.empty(
        1 + shape.n_layers * (shape.n_heads + 1), len(bucket), bucket.length, shape.d_model, device=bucket.device
    )
    written[0] = activations[EMBEDDING].float() - wiring.constant(bucket.length)
    for layer, block in enumerate(blocks):
        first = 1 + layer * (shape.n_heads + 1)
        written[first : first + shape.n_heads] = block.heads(activations[Site("z", layer)])
        written[first + shape.n_heads] = activations[Site("mlp_out", layer)]
    return written


@dataclass(frozen=True, eq=False)
class Counterfactual:
    """What ablated edges carry in the prompts of an engine."""

    ablation: Ablation
    outputs: Callable[[Bucket], Outputs]

    @property
    def keeps_shared_prefix(self) -> bool:
        """Whether ablated edges carry the same as others before the first token that differs between the prompts."""
        return self.ablation == "corrupted"

    @classmethod
    def of(cls, engine: Engine, wiring: Wiring, ablation: Ablation, seed: int = 0) -> Self:
        """Return the counterfactual outputs of the engine's writers.

        Args:
            engine: The engine on the prompts.
            wiring: The wiring of its model.
            ablation: What ablated edges carry.
            seed: Draws the other prompts of `resample`.

        Raises:
            LabError: `mean_by_position` needs two prompts of each sentence, `resample` two of each length.

        """

        def corrupted(bucket: Bucket) -> Outputs:
            return written_in(engine, wiring, bucket, "corrupted")

        if ablation == "corrupted":
            return cls(ablation, corrupted)
        if ablation == "zero":
            return cls(ablation, lambda bucket: torch.zeros_like(corrupted(bucket)))
        if ablation == "mean":
            mean = _mean(engine, corrupted)
            return cls(
                ablation,
                lambda bucket: mean[:, None, None].expand(-1, len(bucket), bucket.length, -1),
            )
        if ablation == "mean_by_position":
            return cls(ablation, _means_by_position(engine, corrupted))
        other = _others(engine, seed)
        return cls(
            ablation,
            lambda bucket: written_in(engine, wiring, _bucket(engine, [other[row] for row in bucket.rows]), "clean"),
        )


def _bucket(engine: Engine, rows: list[int]) -> Bucket:
    return Bucket(engine.prompts, rows, engine.model.device)


def _mean(engine: Engine, outputs: Callable[[Bucket], Outputs]) -> Float[Tensor, "writer d_model"]:
    total, count = torch.zeros(0), 0
    for bucket in engine.budget.buckets([()], [EMBEDDING]):
        summed = outputs(bucket).sum(dim=(1, 2))
        total, count = (total + summed if count else summed), count + len(bucket) * bucket.length
    return total / count


def _means_by_position(engine: Engine, outputs: Callable[[Bucket], Outputs]) -> Callable[[Bucket], Outputs]:
    """Return a function that gives each prompt the mean over all prompts that agree in their sentence."""
    alike = defaultdict(list)
    for row, pair in enumerate(engine.prompts):
        alike[_alignment(pair)].append(row)
    for rows in alike.values():
        if len(rows) < 2:
            raise LabError(
                "intervention.ablation: got 'mean_by_position', but no other prompt agrees with "
                f"{engine.prompts[rows[0]].clean!r} in its sentence and labels; expected mean, or more prompts"
            )
    means = {key: outputs(_bucket(engine, rows)).mean(dim=1) for key, rows in alike.items()}
    return lambda bucket: torch.stack([means[_alignment(engine.prompts[row])] for row in bucket.rows], dim=1)


def _alignment(pair: PromptPair) -> Hashable:
    return len(pair), pair.frame, tuple(pair.labels.items())


def _others(engine: Engine, seed: int) -> dict[int, int]:
    """Return, for each prompt, another one of the same length: the next in a random circle of them."""
    rng, other = np.random.default_rng(seed), dict[int, int]()
    for length, rows in engine.prompts.buckets().items():
        if len(rows) < 2:
            raise LabError(
                f"intervention.ablation: got 'resample', but only one prompt has {length} tokens; expected corrupted, "
                "mean or zero"
            )
        circle = rng.permutation(rows).tolist()
        other |= dict(zip(circle, [*circle[1:], circle[0]], strict=True))
    return other
