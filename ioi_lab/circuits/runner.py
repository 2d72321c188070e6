"""Evaluating circuits on an engine's clean prompts, many at a time, exactly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ioi_lab.circuits.counterfactuals import Ablation, Counterfactual, Outputs, written_in
from ioi_lab.circuits.graph import Flags, Graph, Indices
from ioi_lab.circuits.joint_pass import JointPass
from ioi_lab.circuits.wiring import Wiring
from ioi_lab.engine.buckets import Bucket
from ioi_lab.engine.exactness import proofs_of
from ioi_lab.engine.forward import Part
from ioi_lab.engine.passes import BatchResult
from ioi_lab.engine.readouts import read_into
from ioi_lab.errors import LabError
from ioi_lab.stats.metrics import Readout
from ioi_lab.terminal import progress_bar

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine

_MAX_TOKENS: Final = {"cpu": 1024, "cuda": 65_536}
"""More tokens in a batch of circuits gain nothing."""


def run_circuits(
    engine: Engine, graph: Graph, circuits: Bool[Flags, "circuit edge"], ablation: Ablation = "corrupted"
) -> Readout:
    """Evaluate circuits on the engine's clean prompts, with all their other edges ablated; see `CircuitRunner.run`."""
    return CircuitRunner(engine, graph, ablation).run(circuits)


class CircuitRunner:
    """Evaluates circuits of one graph under one ablation on an engine's clean prompts.

    Args:
        engine: The engine.
        graph: The graph of its model.
        ablation: What ablated edges carry.
        seed: Draws the other prompts of `resample`.

    Raises:
        LabError: The model's residual stream is not the sum of what heads and MLPs write; the prompts do not have what
            the ablation or the labels of the graph need.

    """

    def __init__(self, engine: Engine, graph: Graph, ablation: Ablation = "corrupted", seed: int = 0) -> None:
        self.engine, self.graph, self.ablation = engine, graph, ablation
        for label in graph.labels:
            engine.prompts.check_position(label, "intervention.positions")
        self.wiring = Wiring.of(engine)
        self._counterfactual = Counterfactual.of(engine, self.wiring, ablation, seed)
        one_prompt = Bucket(engine.prompts, [0], engine.model.device)
        self._shortcut = proofs_of(engine.model).shortcut(engine.passes, one_prompt, ["resid_pre"])
        self._outputs: tuple[Bucket, Outputs, Outputs] | None = None

    @torch.no_grad()
    def run(self, circuits: Bool[Flags, "circuit edge"], *, progress: bool = True) -> Readout:
        """Return the readout `[circuit, prompt]` of each circuit, in which KL is measured from the whole model.

        Raises a `LabError` if there are no circuits, activations are not finite, or memory does not suffice.
        """
        if not len(circuits):
            raise LabError("circuits: the list is empty; nothing to run")
        engine, graph = self.engine, self.graph
        readout = Readout.empty(len(circuits), len(engine.prompts), probabilities=not engine.passes.pair_only)
        first = self._first_layers(circuits)
        order = np.argsort(first, kind="stable")
        with progress_bar(len(circuits) * len(engine.prompts), "circuits × prompts", is_shown=progress) as bar:
            for bucket in engine.budget.circuit_buckets(len(graph.writers)):
                clean, ablated = self.outputs_of(bucket)
                for rows in self._batches(order, first, bucket):
                    read_into(readout, self._run(bucket, circuits, rows, int(first[rows[0]]), clean, ablated))
                    bar.update(len(rows) * len(bucket))
        if not readout.is_finite():
            raise LabError(f"model: activations that are not finite in a circuit of {graph.shape.name}")
        return readout

    def ends(self) -> Readout:
        """Return the readouts of the circuit with all edges and of that with none."""
        return self.run(np.array([[True], [False]]).repeat(self.graph.n_edges, axis=1), progress=False)

    @torch.no_grad()
    def changes(self, writers: Sequence[int]) -> Float[Tensor, "writer prompt pos d_model"]:
        """Return what some writers write in the clean pass less the counterfactual, filled up with zeros."""
        prompts = self.engine.prompts
        changes = torch.zeros(
            len(writers), len(prompts), prompts.longest, self.graph.shape.d_model, device=self.engine.model.device
        )
        for bucket in self.engine.budget.circuit_buckets(len(self.graph.writers)):
            clean, ablated = self.outputs_of(bucket)
            changes[:, bucket.index, : bucket.length] = (clean - ablated)[list(writers)]
        return changes

    def outputs_of(self, bucket: Bucket) -> tuple[Outputs, Outputs]:
        """Return what writers write in the clean pass and what ablated edges carry; kept for the latest bucket."""
        kept = self._outputs
        if kept is None or list(kept[0].rows) != list(bucket.rows):
            clean = written_in(self.engine, self.wiring, bucket, "clean")
            kept = self._outputs = bucket, clean, self._counterfactual.outputs(bucket)
        return kept[1], kept[2]

    def _first_layers(self, circuits: Bool[Flags, "circuit edge"]) -> Int[Indices, "circuit"]:
        """Return the layer of the first reader of each circuit that an ablated edge leads to."""
        if not self._shortcut:
            return np.zeros(len(circuits), dtype=np.int64)
        layers = np.array([reader.layer for reader in self.graph.readers])[self.graph.edge_reader]
        last = self.graph.shape.n_layers - 1
        first: Indices = np.where(circuits, last, np.minimum(layers, last)).min(axis=1)
        return first

    def _batches(
        self, order: Int[Indices, "circuit"], first: Int[Indices, "circuit"], bucket: Bucket
    ) -> Iterator[list[int]]:
        """Yield the circuits that share a batch: the same first layer, up to what fits."""
        tokens = len(bucket) * bucket.length
        most = max(1, _MAX_TOKENS.get(bucket.device.type, _MAX_TOKENS["cuda"]) // tokens)
        most = min(most, self.engine.budget.max_circuits(bucket, len(self.graph.writers)))
        batch: list[int] = []
        for row in order.tolist():
            if batch and (len(batch) == most or first[row] != first[batch[0]]):
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch

    def _run(
        self,
        bucket: Bucket,
        circuits: Bool[Flags, "circuit edge"],
        rows: Sequence[int],
        first: int,
        clean: Outputs,
        ablated: Outputs,
    ) -> BatchResult:
        passes, start = self.engine.passes, 0
        if self._shortcut not in (None, "blocks") and self._counterfactual.keeps_shared_prefix:
            shared = min(self.engine.prompts[row].first_difference for row in bucket.rows)
            start = min(shared, bucket.length - 1)
        part = Part(first=first, last=self.graph.shape.n_layers - 1, start=start)
        base, base_logits = passes.base_pass(bucket, [], "clean", [part])
        masks = self.graph.masks(circuits[list(rows)])
        joint = JointPass(self.wiring, self.graph, bucket, masks, clean, ablated, first, start)
        with ExitStack() as stack:
            hooks = joint.install(stack)
            if self._shortcut:
                logits = passes.forward.part(base, part, hooks, len(rows), pair_only=passes.pair_only)
            else:
                logits = passes.selected(passes.forward.whole(bucket, "clean", hooks, len(rows)), bucket)
        return BatchResult(bucket, list(rows), logits, passes.references(bucket, base_logits), {})
