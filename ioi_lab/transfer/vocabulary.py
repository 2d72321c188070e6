"""Directions of one model as logits over tokens, and from these as directions of another model with other tokens."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

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
    from ioi_lab.tasks.tokens import Tokens

PENALTY: Final = 0.1
"""The penalty of the ridge regression from logits to a direction, as a share of the readout's weighted mean square.

Of 1e-4 to 100, this value has the largest effect compared with shuffled vocabularies, between the two tiny models with
three pairs of names: smaller penalties spend the direction's length on tokens that a small number of dimensions cannot
separate.
"""


@dataclass(frozen=True)
class SharedVocabulary:
    """The tokens that stand for the same text in both models, by their ids in each."""

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


@dataclass(frozen=True)
class Translator:
    """Translates directions through the vocabulary; `source` and `target` are the results of `token_readout`."""

    source: Float[Array, "vocab_source d_source"]
    target: Float[Array, "vocab_target d_target"]
    shared: SharedVocabulary

    def translate(
        self, direction: Float[Array, "d_source"], shuffle: np.random.Generator | None = None
    ) -> Float[Array, "d_target"]:
        """Return the target's direction that writes the logits of the source's direction, to the same tokens.

        It is found by ridge regression over the shared tokens, and scaled to fit best. Each token is weighted by the
        square of its logit: a direction is about few tokens of a vocabulary, and all others would outweigh them.
        `shuffle`: give each logit to another token.
        """
        from sklearn.linear_model import Ridge

        logits = self._logits(direction)[self.shared.source]
        if shuffle is not None:
            logits = shuffle.permutation(logits)
        weights = np.square(logits)
        if not weights.any():
            return np.zeros(self.target.shape[1])
        weights /= weights.mean()
        readout = self.target[self.shared.target]
        size = float(weights @ np.square(readout - readout.mean(axis=0)).mean(axis=1))
        fitted: Array = Ridge(alpha=PENALTY * size).fit(readout, logits, sample_weight=weights).coef_
        written, wanted = (values - np.average(values, weights=weights) for values in (readout @ fitted, logits))
        return fitted * float((weights * written) @ wanted / ((weights * written) @ written))

    def shared_mass(self, direction: Float[Array, "d_source"]) -> float:
        """Return the share of Σ|logit − mean logit| that lies on shared tokens."""
        logits = np.abs(self._logits(direction))
        total = logits.sum()
        return float(logits[self.shared.source].sum() / total) if total else 0.0

    def _logits(self, direction: Float[Array, "d_source"]) -> Float[Array, "vocab_source"]:
        logits: Array = self.source @ direction
        centred: Array = logits - logits.mean()
        return centred
