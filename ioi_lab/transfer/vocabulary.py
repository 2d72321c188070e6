"""The tokens that two models share, and what their final norms and unembeddings read from a direction."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from jaxtyping import Float, Int

from ioi_lab.engine.edits import OTHER_PASS, Site
from ioi_lab.errors import LabError
from ioi_lab.lenses.direct_path import DirectPath
from ioi_lab.stats.metrics import Array
from ioi_lab.steering.vectors import activations_at

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine
    from ioi_lab.models.loading import LabModel
    from ioi_lab.tasks.tokens import Tokens


@dataclass(frozen=True)
class SharedVocabulary:
    """The tokens that stand for the same text in both models, by their ids in each.

    Texts are those of decoded tokens as they continue other text: `▁Mary` of a SentencePiece vocabulary is `ĠMary` of a
    byte-level one.
    """

    source: Int[Array, "token"]
    target: Int[Array, "token"]

    @classmethod
    def of(cls, source: Tokens, target: Tokens) -> Self:
        """Return the shared tokens, without texts that several tokens stand for, such as incomplete characters.

        Raises a `LabError` if there are none.
        """
        first, second = _texts(source), _texts(target)
        common = sorted(first.keys() & second.keys())
        if not common:
            raise LabError(
                "intervention.source: its vocabulary shares no token with the model's; no direction can be moved"
            )
        return cls(np.array([first[text] for text in common]), np.array([second[text] for text in common]))


def _texts(tokens: Tokens) -> dict[str, int]:
    special = set(tokens.tokenizer.all_special_ids)
    ids = [token for token in range(len(tokens.tokenizer)) if token not in special]
    texts = tokens.strings(tuple(ids))
    count = Counter(texts)
    return {text: token for text, token in zip(texts, ids, strict=True) if count[text] == 1}


@torch.no_grad()
def token_readout(engine: Engine) -> Float[Array, "vocab d_model"]:
    """Return the direction of the last layer's output at END that each token's logit, less the mean logit, reads.

    These are the final norm and the unembedding, with the norm's scale fixed at that of the mean activation of both
    passes.
    """
    last = Site("resid_post", engine.shape.n_layers - 1, None, "END")
    means = [activations_at(engine, which, [last])[last].mean(axis=0) for which in OTHER_PASS]
    model = engine.model
    mean = torch.from_numpy(np.mean(means, axis=0)).to(model.bridge.W_U.device).float()
    n_tokens = min(len(model.tokens.tokenizer), model.bridge.cfg.d_vocab)
    tokens = torch.arange(n_tokens, device=mean.device)[:, None]
    read, _ = DirectPath.of(engine, "clean").readout(mean[None], tokens, torch.ones_like(tokens, dtype=mean.dtype))
    directions: Array = read.double().cpu().numpy()
    return directions


@torch.no_grad()
def unembedding_rows(model: LabModel) -> Float[Array, "vocab d_model"]:
    """Return the unembedding of each token, as it is in the model's weights."""
    n_tokens = min(len(model.tokens.tokenizer), model.bridge.cfg.d_vocab)
    rows: Array = model.bridge.W_U[:, :n_tokens].T.double().cpu().numpy()
    return rows
