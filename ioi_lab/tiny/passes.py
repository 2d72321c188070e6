"""The passes of a network with parts of its circuit, and how faithful these are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from transformers import GPT2LMHeadModel

from ioi_lab.tiny.ioi_batches import PromptBatch
from ioi_lab.tiny.masked import circuit_logits, edges_of, plain_outputs
from ioi_lab.tiny.plants import Plant


@dataclass(frozen=True)
class Passes:
    """The passes of a network with parts of its circuit, on one batch."""

    network: GPT2LMHeadModel
    batch: PromptBatch
    plant: Plant
    counterfactual: Mapping[str, Tensor]

    @classmethod
    def of(cls, network: GPT2LMHeadModel, batch: PromptBatch, plant: Plant) -> Passes:
        """Run the counterfactual prompts in plain passes."""
        return cls(network, batch, plant, plain_outputs(network, batch.counterfactual))

    def logits(self, edges: Collection[str]) -> Tensor:
        """Return the logits `[batch, vocab]` at END if only these edges carry the prompt."""
        return circuit_logits(self.network, self.batch.tokens, edges, self.counterfactual, self.batch.end)

    def without(self, *cuts: str) -> Tensor:
        """Return the logits `[batch, vocab]` at END of the circuit with some of its cuts made."""
        cut = {edge for name in cuts for edge in self.plant.cuts[name]}
        return self.logits(set(self.plant.edges) - cut)

    @cached_property
    def circuit(self) -> Tensor:
        """The logits `[batch, vocab]` at END of the whole circuit."""
        return self.logits(self.plant.edges)

    def disagreement(self) -> Tensor:
        """Return by how much the logit differences of the circuit and of the plain pass of the network differ."""
        rows = torch.arange(len(self.batch.tokens))
        hidden = self.network.transformer(self.batch.tokens).last_hidden_state[rows, self.batch.end]
        plain = self.network.lm_head(hidden)
        return (self.logit_diff(plain) - self.logit_diff(self.circuit)).abs().mean()

    def cross_entropy(self, logits: Tensor) -> Tensor:
        """Return the mean cross-entropy of the answer."""
        return nn.functional.cross_entropy(logits, self.batch.answer)

    def neutral_cross_entropy(self, logits: Tensor) -> Tensor:
        """Return the mean over the prompts whose counterfactual is neutral, so that a part that is cut says nothing."""
        return nn.functional.cross_entropy(logits[self.batch.neutral], self.batch.answer[self.batch.neutral])

    def neutral_mean(self, values: Tensor) -> Tensor:
        """Return the mean of `[batch]` over the prompts whose counterfactual is neutral."""
        return values[self.batch.neutral].mean()

    def logit_diff(self, logits: Tensor) -> Tensor:
        """Return logit(answer) − logit(distractor), `[batch]`."""
        rows = torch.arange(len(logits))
        return logits[rows, self.batch.answer] - logits[rows, self.batch.distractor]


@torch.no_grad()
def faithfulness(passes: Passes) -> dict[str, float]:
    """Return the accuracy of the whole network and the faithfulness of its circuit, of the rest, and of both cut.

    The faithfulness of some edges is the mean logit difference if only they carry the prompt, on a scale on which no
    edges have 0 and all edges have 1.
    """
    passes.network.eval()
    plant, everything = passes.plant, set(edges_of(passes.network))
    whole = passes.logit_diff(passes.logits(everything))
    nothing = passes.logit_diff(passes.logits([])).mean()

    def f(logits: Tensor) -> float:
        return float((passes.logit_diff(logits).mean() - nothing) / (whole.mean() - nothing))

    return {
        "accuracy": float((whole > 0).float().mean()),
        "circuit": f(passes.circuit),
        "rest": f(passes.logits(everything - set(plant.edges))),
        **{f"without {cut}": f(passes.without(cut)) for cut in plant.cuts},
        **{f"all without {cut}": f(passes.logits(everything - set(edges))) for cut, edges in plant.cuts.items()},
    }
