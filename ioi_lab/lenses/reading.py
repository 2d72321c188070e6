"""The residual stream of prompts, read with any lens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ioi_lab.engine.edits import Pass, Site
from ioi_lab.engine.targets import Targets
from ioi_lab.lenses.direct import TOLERANCE
from ioi_lab.models.shape import ModelShape
from ioi_lab.stats.metrics import Array
from ioi_lab.tasks.prompts import Position

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine

LogProbs = Callable[[Tensor, Sequence[Site]], Tensor]
"""From a stream `[site, place, d_model]` and its sites to log-probabilities `[site, place, vocab]`."""

_BYTES_PER_BATCH: Final = 64e6


@dataclass(frozen=True)
class LensReading:
    """What a lens reads, by site of the stream. KL is KL(model's output ‖ lens) in nats, at the same position."""

    logit_diff: Float[Array, "site position prompt"]
    p_answer: Float[Array, "site position prompt"]
    p_distractor: Float[Array, "site position prompt"]
    rank_answer: Float[Array, "site position prompt"]
    """1 if the answer is the likeliest token; of a set of answers, the rank of the likeliest one."""

    kl: Float[Array, "site position prompt"]


@dataclass(frozen=True)
class TopTokens:
    """The likeliest next tokens of one prompt, best first, with P(answer) and P(distractor)."""

    ids: Int[Array, "site pos k"]
    probabilities: Float[Array, "site pos k"]
    p_answer: Float[Array, "site pos"]
    p_distractor: Float[Array, "site pos"]


def stream_sites(shape: ModelShape, *, sublayers: bool) -> list[Site]:
    """Return the stream before the first layer and after each, with `sublayers` also between attention and MLP."""
    sites = [Site("resid_pre", 0)]
    for layer in range(shape.n_layers):
        sites += [Site("resid_mid", layer)] if sublayers else []
        sites.append(Site("resid_post", layer))
    return sites


def read_positions(
    engine: Engine, which: Pass, sites: Sequence[Site], positions: Sequence[Position], log_probs: LogProbs
) -> LensReading:
    """Read the stream of all prompts at some positions. The last site must be the one that the output is made of."""
    size = len(sites), len(positions), len(engine.prompts)
    reading = LensReading(*(np.empty(size) for _ in fields(LensReading)))
    for rows, activations in engine.stream(which, sites):
        prompts = [engine.prompts[row] for row in rows]
        places = torch.tensor([[prompt.index(position) for position in positions] for prompt in prompts])
        within = torch.arange(len(rows))[:, None]
        stream = torch.stack([activations[site][within, places] for site in sites]).flatten(1, 2)
        targets = Targets.of(prompts, stream.device)
        rows_of_places = torch.arange(len(rows), device=stream.device).repeat_interleave(len(positions))
        batch = max(1, int(_BYTES_PER_BATCH / (len(sites) * engine.model.bridge.cfg.d_vocab * 4)))
        parts = [
            _read(log_probs(stream[:, some], sites), targets.select(rows_of_places[some]))
            for some in torch.arange(stream.shape[1], device=stream.device).split(batch)
        ]
        for name, values in zip((field.name for field in fields(LensReading)), zip(*parts, strict=True), strict=True):
            read = torch.cat(values, dim=1).unflatten(1, (len(rows), -1)).transpose(1, 2)
            getattr(reading, name)[:, :, list(rows)] = read.double().cpu().numpy()
    return reading


def reads_output(engine: Engine, which: Pass, sites: Sequence[Site], log_probs: LogProbs) -> bool:
    """Return whether what is read at END of the last site is the model's own logit difference, up to rounding."""
    logit_diff = read_positions(engine, which, sites, ["END"], log_probs).logit_diff[-1, 0]
    readout = engine.baseline(which)
    tolerance = max(TOLERANCE, 10 * engine.model.rounding * readout.largest_logit)
    return bool(np.abs(logit_diff - readout.logit_diff[0]).max() <= tolerance)


def read_prompt(
    engine: Engine, which: Pass, prompt: int, sites: Sequence[Site], log_probs: LogProbs, top_k: int
) -> TopTokens:
    """Read the stream of one prompt, given by its index, at every position."""
    pair = engine.prompts[prompt]
    activations = engine.on(engine.prompts.only(prompt)).record(which, sites)
    targets = Targets.of([pair], engine.model.device)
    reads = []
    for place in range(len(pair)):
        stream = torch.stack([activations[site][:, place] for site in sites])
        read = log_probs(stream, sites)
        best = read[:, 0].exp().topk(top_k, dim=-1)
        reads.append((best.indices, best.values, *targets.read(read)[:, 0].exp().unbind(-1)))
    return TopTokens(*(torch.stack(values, dim=1).cpu().numpy() for values in zip(*reads, strict=True)))


def kl_divergence(
    model: Float[Tensor, "place vocab"], lens: Float[Tensor, "... place vocab"]
) -> Float[Tensor, "... place"]:
    """Return KL(model ‖ lens) in nats, from log-probabilities."""
    return (model.exp() * (model - lens)).sum(dim=-1)


def _read(log_probs: Float[Tensor, "site place vocab"], targets: Targets) -> tuple[Tensor, ...]:
    """Return the fields of a `LensReading`, each `[site, place]`; the last site is the model's own output."""
    answer, distractor = targets.read(log_probs).unbind(-1)
    kl = kl_divergence(log_probs[-1], log_probs).clamp_min(0)
    return answer - distractor, answer.exp(), distractor.exp(), targets.rank(log_probs), kl
