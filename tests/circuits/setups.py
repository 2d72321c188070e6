"""Models, plain models and prompts for the tests of circuits, and what the oracle says about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ioi_lab.circuits.graph import Graph
from ioi_lab.circuits.runner import CircuitRunner
from ioi_lab.circuits.wiring import Wiring
from ioi_lab.engine.engine import Engine
from ioi_lab.models.loading import LabModel
from ioi_lab.tasks.prompts import PromptPair, PromptPairs
from tests.circuit_oracle import Keeps, Plain, everything, kept_at, passed

MODELS = ("tiny-gpt2", "tiny-pythia", "llama-gqa", "gemma3")


@dataclass(frozen=True)
class Setup:
    model: LabModel
    plain: Plain
    prompts: PromptPairs
    engine: Engine
    _written: dict[tuple[int, ...], dict[str, Tensor]] = field(default_factory=dict)

    def graph(self, labels: Sequence[str] = ()) -> Graph:
        return Graph.of(self.model.shape, labels)

    def runner(self, labels: Sequence[str] = (), ablation="corrupted", **given) -> CircuitRunner:
        return CircuitRunner(self.engine, self.graph(labels), ablation, **given)

    def wiring(self) -> Wiring:
        return Wiring.of(self.engine)

    def written(self, pair: PromptPair, which="clean") -> dict[str, Tensor]:
        """What each writer writes in a plain pass, `[pos, d_model]`."""
        ids = ids_of(pair, which)
        key = tuple(ids.tolist())
        if key not in self._written:
            with torch.no_grad():
                self._written[key] = passed(self.plain, ids).written
        return self._written[key]

    def instead(self, row: int, ablation: str) -> dict[str, Tensor]:
        """What ablated edges carry in a prompt, by hand; for `resample`, of prompts that come in twos of a length."""
        pair = self.prompts[row]
        if ablation == "corrupted":
            return self.written(pair, "corrupted")
        if ablation == "zero":
            return {name: torch.zeros_like(value) for name, value in self.written(pair).items()}
        if ablation == "resample":
            (other,) = (each for each in self.prompts if len(each) == len(pair) and each is not pair)
            return self.written(other, "clean")
        if ablation == "mean":
            every = [self.written(each, "corrupted") for each in self.prompts]
            means = {name: torch.cat([each[name] for each in every]).mean(dim=0) for name in every[0]}
            return {name: mean.expand(len(pair), -1) for name, mean in means.items()}
        alike = [each for each in self.prompts if each.frame == pair.frame and each.labels == pair.labels]
        every = [self.written(each, "corrupted") for each in alike]
        return {name: torch.stack([each[name] for each in every]).mean(dim=0) for name in every[0]}

    @torch.no_grad()
    def logits(self, row: int, keeps: Keeps = everything, ablation="corrupted") -> Tensor:
        """The logits `[vocab]` of a prompt with some edges kept, by hand."""
        pair = self.prompts[row]
        return passed(self.plain, ids_of(pair), keeps, self.instead(row, ablation)).logits

    def keeps(self, graph: Graph, circuit, row: int) -> Keeps:
        pair = self.prompts[row]
        edges = {graph.names[edge] for edge in np.flatnonzero(circuit)}
        return kept_at(edges, {label: pair.labels[label] for label in graph.labels}, len(pair))

    def assert_equal(self, graph: Graph, circuits, readout, ablation="corrupted", tolerance=3e-5) -> None:
        """Compare everything in a readout `[circuit, prompt]` with passes by hand."""
        for row, pair in enumerate(self.prompts):
            clean = self.logits(row).log_softmax(dim=-1)
            for number, circuit in enumerate(circuits):
                logits = self.logits(row, self.keeps(graph, circuit, row), ablation)
                log_probs = logits.log_softmax(dim=-1)
                expected = {
                    "answer_logit": logits[pair.answer_id],
                    "logit_diff": logits[pair.answer_id] - logits[pair.distractor_id],
                    "p_answer": log_probs[pair.answer_id].exp(),
                    "kl": (clean.exp() * (clean - log_probs)).sum(),
                }
                for name, value in expected.items():
                    got = getattr(readout, name)
                    if got is not None:
                        assert abs(got[number, row] - float(value)) < tolerance, (name, number, pair.clean)


def ids_of(pair: PromptPair, which="clean") -> Tensor:
    return torch.tensor(pair.clean_tokens if which == "clean" else pair.corrupted_tokens)


def random_circuits(graph: Graph, shares: Sequence[float], seed=0):
    """A circuit with each share of all edges."""
    return np.random.default_rng(seed).random((len(shares), graph.n_edges)) < np.array(shares)[:, None]
