"""The logit lens: the residual stream, read through the final norm and the unembedding as if the model ended there.

Method: nostalgebraist 2020. The tuned lens (`tuned.py`) puts a trained affine translator before the norm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from typing_extensions import override

from ioi_lab.errors import LabError, folded
from ioi_lab.lenses.base import FittedLens, Lens

if TYPE_CHECKING:
    from torch import Tensor
    from transformer_lens.model_bridge import TransformerBridge
    from transformer_lens.tools.analysis import LogitReadout

    from ioi_lab.engine.edits import Pass, Site
    from ioi_lab.engine.engine import Engine
    from ioi_lab.lenses.reading import LensReading
    from ioi_lab.tasks.prompts import Position

Translators = Mapping["Site", tuple["Float[Tensor, 'd_model d_model']", "Float[Tensor, 'd_model']"]]
"""By site, the matrix A and the bias b of a translator, which turns h into h + A h + b."""


class LogitLens(Lens[None]):
    """The plain logit lens, which has no parameters of its own."""

    name: str = "logit"

    @override
    def fit(self, engine: Engine, sites: Sequence[Site]) -> FittedLens[None]:
        return FittedLens(None)

    @override
    def log_probs(
        self,
        state: None,
        bridge: TransformerBridge,
        stream: Float[Tensor, "site place d_model"],
        sites: Sequence[Site],
    ) -> Float[Tensor, "site place vocab"]:
        return lens_log_probs(bridge, stream, sites, {})


def read_stream(
    engine: Engine, which: Pass, sites: Sequence[Site], positions: Sequence[Position], translators: Translators
) -> LensReading:
    """Read the stream of all prompts at some positions with the logit lens or, given translators, the tuned lens."""
    from ioi_lab.lenses.reading import read_positions

    log_probs = partial(lens_log_probs, engine.model.bridge, translators=translators)
    return read_positions(engine, which, sites, positions, log_probs)


def check_readout(engine: Engine, which: Pass, last: Site) -> None:
    """Raise a `LabError` unless the final norm and the unembedding give the model's own logits of its last stream."""
    from ioi_lab.lenses.reading import reads_output

    if not reads_output(engine, which, [last], partial(lens_log_probs, engine.model.bridge, translators={})):
        raise LabError(
            f"intervention: the lens cannot read {engine.shape.name}: it does more than a norm and an unembedding "
            "between residual stream and logits"
        )


def lens_log_probs(
    bridge: TransformerBridge,
    stream: Float[Tensor, "site place d_model"],
    sites: Sequence[Site],
    translators: Translators,
    *,
    grad: bool = False,
) -> Float[Tensor, "site place vocab"]:
    """Return the log-probabilities of the next token, by TransformerLens' readout; with `grad`, to train through."""
    import torch

    rows = len(sites) * stream.shape[1]
    translated = torch.stack([_translated(own, translators.get(site)) for site, own in zip(sites, stream, strict=True)])
    log_probs: Tensor = readout_of(
        bridge, translated, return_type="log_probs", chunk_size=rows, enable_grad=grad
    ).values
    return log_probs


def readout_of(bridge: TransformerBridge, vectors: Float[Tensor, "... d_model"], **options: Any) -> LogitReadout:
    """Return TransformerLens' `logit_readout`; raises a `LabError` for a model that it cannot read."""
    from transformer_lens.tools.analysis import logit_readout

    try:
        return logit_readout(bridge, vectors, **options)
    except (ValueError, NotImplementedError) as error:
        raise LabError(f"intervention: the residual stream of this model cannot be read: {folded(error)}") from error


def _translated(
    stream: Float[Tensor, "place d_model"], translator: tuple[Tensor, Tensor] | None
) -> Float[Tensor, "place d_model"]:
    if translator is None:
        return stream
    matrix, bias = translator
    return stream + stream @ matrix.T + bias
