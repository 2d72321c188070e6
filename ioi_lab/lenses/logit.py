"""The residual stream, read through the final norm and the unembedding as if the model ended there: the logit lens.

Method: nostalgebraist 2020 (the logit lens); Belrose et al. 2023 (arXiv 2303.08112) put a trained affine translator in
front of the norm (`tuned.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from jaxtyping import Float, Int

from ioi_lab.engine.edits import Pass, Site
from ioi_lab.errors import LabError, folded
from ioi_lab.lenses.direct import TOLERANCE
from ioi_lab.models.shape import ModelShape
from ioi_lab.stats.metrics import Array
from ioi_lab.tasks.prompts import Position

if TYPE_CHECKING:
    from torch import Tensor
    from transformer_lens.model_bridge import TransformerBridge
    from transformer_lens.tools.analysis import LogitReadout

    from ioi_lab.engine.engine import Engine

Translators = Mapping[Site, tuple["Float[Tensor, 'd_model d_model']", "Float[Tensor, 'd_model']"]]
"""By site, the matrix A and the bias b of a translator: h becomes h + A h + b."""

_BYTES_PER_BATCH: Final = 64e6


@dataclass(frozen=True)
class LensReading:
    """What the lens reads, by place in the stream. KL is KL(model's output ‖ lens) in nats, at the same position."""

    logit_diff: Float[Array, "site position prompt"]
    p_answer: Float[Array, "site position prompt"]
    p_distractor: Float[Array, "site position prompt"]
    rank_answer: Float[Array, "site position prompt"]
    """1 where the answer is the likeliest token."""

    kl: Float[Array, "site position prompt"]


@dataclass(frozen=True)
class TopTokens:
    """The likeliest tokens of one prompt, best first, with P(answer) and P(distractor)."""

    ids: Int[Array, "site pos k"]
    probabilities: Float[Array, "site pos k"]
    p_answer: Float[Array, "site pos"]
    p_distractor: Float[Array, "site pos"]


def stream_sites(shape: ModelShape, *, sublayers: bool) -> list[Site]:
    """The stream before the first layer and after each, with `sublayers` also between attention and MLP."""
    sites = [Site("resid_pre", 0)]
    for layer in range(shape.n_layers):
        sites += [Site("resid_mid", layer)] if sublayers else []
        sites.append(Site("resid_post", layer))
    return sites


def read_stream(
    engine: Engine, run: Pass, sites: Sequence[Site], positions: Sequence[Position], translators: Translators
) -> LensReading:
    """Read the stream of all prompts at some positions."""
    shape = len(sites), len(positions), len(engine.prompts)
    reading = LensReading(*(np.empty(shape) for _ in fields(LensReading)))
    for rows, held in engine.stream(run, sites):
        prompts = [engine.prompts[row] for row in rows]
        places = torch.tensor([[prompt.positions(position).start for position in positions] for prompt in prompts])
        within = torch.arange(len(rows))[:, None]
        stream = torch.stack([held[site][within, places] for site in sites]).flatten(1, 2)  # [site, place, d_model]
        pairs = torch.tensor([[prompt.answer_id, prompt.distractor_id] for prompt in prompts], device=stream.device)
        pairs = pairs.repeat_interleave(len(positions), dim=0)
        size = max(1, int(_BYTES_PER_BATCH / (len(sites) * engine.model.bridge.cfg.d_vocab * 4)))
        parts = []
        for some in torch.arange(len(pairs)).split(size):
            log_probs = lens_log_probs(engine.model.bridge, stream[:, some], sites, translators)
            parts.append(_read(log_probs, pairs[some]))
        for name, values in zip((field.name for field in fields(LensReading)), zip(*parts, strict=True), strict=True):
            read = torch.cat(values, dim=1).unflatten(1, (len(rows), -1)).transpose(1, 2)
            getattr(reading, name)[:, :, list(rows)] = read.double().cpu().numpy()
    return reading


def check_readout(engine: Engine, run: Pass, last: Site) -> None:
    """Raise a `LabError` unless the final norm and the unembedding make the model's own logits of its last stream."""
    got = read_stream(engine, run, [last], ["END"], {}).logit_diff[0, 0]
    readout = engine.baseline(run)
    tolerance = max(TOLERANCE, 10 * engine.model.rounding * readout.largest_logit)
    if not np.abs(got - readout.logit_diff[0]).max() <= tolerance:
        raise LabError(
            f"intervention: the lens cannot read {engine.shape.name}: it does more than a norm and an unembedding "
            "between residual stream and logits"
        )


def read_prompt(
    engine: Engine, run: Pass, prompt: int, sites: Sequence[Site], translators: Translators, top_k: int
) -> TopTokens:
    """Read the stream of one prompt at every position."""
    pair = engine.prompts[prompt]
    held = engine.on(engine.prompts.only(prompt)).record(run, sites)
    reads = []
    for place in range(len(pair)):
        stream = torch.stack([held[site][:, place] for site in sites])
        probabilities = lens_log_probs(engine.model.bridge, stream, sites, translators)[:, 0].exp()
        best = probabilities.topk(top_k, dim=-1)
        reads.append(
            (best.indices, best.values, probabilities[:, pair.answer_id], probabilities[:, pair.distractor_id])
        )
    return TopTokens(*(torch.stack(values, dim=1).cpu().numpy() for values in zip(*reads, strict=True)))


def lens_log_probs(
    bridge: TransformerBridge,
    stream: Float[Tensor, "site place d_model"],
    sites: Sequence[Site],
    translators: Translators,
    *,
    grad: bool = False,
) -> Float[Tensor, "site place vocab"]:
    """The lens's log-probabilities of the next token, by TransformerLens' readout; with `grad`, to train through."""
    rows = len(sites) * stream.shape[1]
    translated = torch.stack(
        [_translated(held, translators.get(site)) for site, held in zip(sites, stream, strict=True)]
    )
    log_probs: Tensor = readout_of(
        bridge, translated, return_type="log_probs", chunk_size=rows, enable_grad=grad
    ).values
    return log_probs


def kl_divergence(model: Float[Tensor, "place vocab"], lens: Float[Tensor, "... place vocab"]) -> Tensor:
    """KL(model ‖ lens) in nats, from log-probabilities: `[..., place]`."""
    return (model.exp() * (model - lens)).sum(dim=-1)


def readout_of(bridge: TransformerBridge, vectors: Float[Tensor, "... d_model"], **options: Any) -> LogitReadout:
    """TransformerLens' `logit_readout`; a `LabError` for a model that it cannot read."""
    from transformer_lens.tools.analysis import logit_readout

    try:
        return logit_readout(bridge, vectors, **options)
    except (ValueError, NotImplementedError) as error:
        raise LabError(f"intervention: the residual stream of this model cannot be read: {folded(error)}") from error


def _translated(held: Float[Tensor, "place d_model"], translator: tuple[Tensor, Tensor] | None) -> Tensor:
    if translator is None:
        return held
    matrix, bias = translator
    return held + held @ matrix.T + bias


def _read(log_probs: Float[Tensor, "site place vocab"], pairs: Int[Tensor, "place 2"]) -> tuple[Tensor, ...]:
    """The fields of a `LensReading`, each `[site, place]`; the last site is the model's own output."""
    pair = log_probs.gather(-1, pairs.expand(len(log_probs), -1, -1))
    answer, distractor = pair.unbind(-1)
    rank = 1 + (log_probs > answer[..., None]).sum(dim=-1)
    kl = kl_divergence(log_probs[-1], log_probs).clamp_min(0)
    return answer - distractor, answer.exp(), distractor.exp(), rank, kl
