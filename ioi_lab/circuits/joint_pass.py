"""Circuits as forward passes: any set of edges is kept, and all others carry what a counterfactual says.

Each reader reads the sum of what writers write in this same pass (kept edges) or in the counterfactual (ablated edges).
Norms, attention, rotary angles and everything else stay the model's own code, and nothing is linearised. See
Goldowsky-Dill et al. 2023 (arXiv 2304.05969) and Conmy et al. 2023 (arXiv 2304.14997) for the definition.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ioi_lab.circuits.counterfactuals import Outputs
from ioi_lab.circuits.graph import HEAD_INPUTS, Flags, Graph, ReaderInput
from ioi_lab.circuits.reading import needed_writers, places_of_labels, streams_read
from ioi_lab.circuits.wiring import EMBEDDING, Wiring
from ioi_lab.engine.buckets import Bucket
from ioi_lab.engine.edits import Site
from ioi_lab.engine.hooks import Hook
from ioi_lab.engine.overrides import overridden


class JointPass:
    """One pass of several circuits, a slot each, over a bucket, from layer `first` and position `start` on.

    The model's own residual stream is not read: the readers of a block are computed when the model asks for its
    queries and its MLP, from what writers have written so far.

    Args:
        wiring: What readers read and writers write.
        graph: The graph whose edges are kept or ablated.
        bucket: The prompts.
        masks: Which writers each reader reads. Edges into layers before `first` are all kept.
        clean: What writers write in the clean pass; only that of layers before `first` is read.
        ablated: What ablated edges carry; before `start`, the same as in the clean pass.
        first: The first layer that is run.
        start: The first position that is run.

    """

    def __init__(
        self,
        wiring: Wiring,
        graph: Graph,
        bucket: Bucket,
        masks: Bool[Flags, "slot label reader writer"],
        clean: Outputs,
        ablated: Outputs,
        first: int = 0,
        start: int = 0,
    ) -> None:
        self._wiring, self._graph, self._masks = wiring, graph, masks
        self._first = first
        self._per_layer = graph.shape.n_heads + 1
        self._feeds = wiring.feeds(graph)
        self._needed = needed_writers(masks, self._feeds)
        self._places = places_of_labels(graph, bucket, start)
        self._readers: dict[tuple[int, ReaderInput], list[int]] = defaultdict(list)
        for index, reader in enumerate(graph.readers):
            self._readers[reader.layer, reader.input].append(index)
        self._ablated = ablated[:, :, start:]
        self._changes = self._ablated.new_empty(len(masks), *self._ablated.shape)  # what is written, less the ablated
        self._constant = wiring.constant(bucket.length)[start:]
        known = 1 + first * self._per_layer if first else 0
        so_far = clean[:known, :, start:]
        self._changes[:, :known] = so_far - self._ablated[:known]
        constant = self._constant + sum(block.heads.constant for block in wiring.blocks[:first])
        # The residual stream so far, with all edges kept `[slot, row, pos, d_model]`, and with all edges ablated.
        self._live = (constant + so_far.sum(dim=0)).expand(len(masks), -1, -1, -1)
        self._base = constant + self._ablated[:known].sum(dim=0)
        self._before_block = self._live, self._base
        self._projected: dict[ReaderInput, Tensor] = {}

    def install(self, stack: ExitStack) -> list[Hook]:
        """Make the model's blocks read and write as the circuits say while `stack` is open; return hooks to add."""
        n_layers, blocks = self._graph.shape.n_layers, self._wiring.model.bridge.blocks
        hooks: list[Hook] = [] if self._first else [(EMBEDDING.hook, self._write_input)]
        for layer in range(self._first, n_layers):
            attention, mlp = blocks[layer].attn, blocks[layer].mlp
            stack.enter_context(overridden(attention.q, self._queries(layer)))
            stack.enter_context(overridden(attention.k, lambda *_, **__: self._projected["k"]))
            stack.enter_context(overridden(attention.v, lambda *_, **__: self._projected["v"]))
            stack.enter_context(overridden(attention.o, self._heads(layer)))
            stack.enter_context(overridden(mlp, self._mlp(layer, mlp)))
            hooks.append((Site("mlp_out", layer).hook, self._write_mlp(layer)))
        return [*hooks, (Site("resid_post", n_layers - 1).hook, self._read_by_logits)]

    def _write_input(self, embedded: Tensor, hook: object) -> None:
        written = self._by_slot(embedded)[:, None] - self._constant
        self._write(0, written, torch.zeros_like(written[0, 0, 0, 0]))

    def _heads(self, layer: int) -> Callable[..., Tensor]:
        heads, n_heads = self._wiring.blocks[layer].heads, self._graph.shape.n_heads

        def write(z: Tensor, *_: Any, **__: Any) -> Tensor:
            written = heads(self._by_slot(z).unflatten(-1, (n_heads, -1)))
            self._write(1 + layer * self._per_layer, written.transpose(0, 1), heads.constant)
            return z.new_zeros(*z.shape[:-1], self._graph.shape.d_model)  # the model's own stream is not read

        return write

    def _write_mlp(self, layer: int) -> Callable[..., None]:
        def write(output: Tensor, hook: object) -> None:
            written = self._by_slot(output)[:, None]
            self._write((layer + 1) * self._per_layer, written, torch.zeros_like(written[0, 0, 0, 0]))

        return write

    def _write(self, first: int, written: Float[Tensor, "slot writer row pos d_model"], constant: Tensor) -> None:
        """Add writers, numbered from `first` on, to the streams. Writers that nothing needs count as ablated."""
        writers = slice(first, first + written.shape[1])
        ablated, changes = self._ablated[writers], self._changes[:, writers]
        torch.sub(written, ablated, out=changes)
        for slot, writer in np.argwhere(~self._needed[:, writers]).tolist():
            changes[slot, writer] = 0.0
        added = ablated.sum(dim=0) + constant
        self._base = self._base + added
        self._live = self._live + changes.sum(dim=1) + added

    def _queries(self, layer: int) -> Callable[..., Tensor]:
        """Return the forward function of a layer's queries, which makes its keys and values too."""
        last = layer == self._graph.shape.n_layers - 1  # no later attention reads queries before END
        parts: list[tuple[tuple[ReaderInput, ...], bool]] = [(HEAD_INPUTS, False)]
        if last:
            parts = [(("q",), True), (("k", "v"), False)]

        def project(normed: Tensor, *_: Any, **__: Any) -> Tensor:
            self._before_block = self._live, self._base
            for name in HEAD_INPUTS:
                linear = self._wiring.blocks[layer].projections[name].weight
                self._projected[name] = normed.new_zeros(*normed.shape[:-1], linear.shape[0] * linear.shape[1])
            for names, at_end in parts:
                self._project(layer, names, at_end=at_end)
            return self._projected["q"]

        return project

    def _project(self, layer: int, names: tuple[ReaderInput, ...], *, at_end: bool) -> None:
        block, graph = self._wiring.blocks[layer], self._graph
        offset = self._base.shape[1] - 1 if at_end else 0
        writers = slice(1 + layer * self._per_layer, (layer + 1) * self._per_layer)
        for slot in range(len(self._masks)):
            needed = self._feeds[:, writers] @ self._needed[slot, writers]
            readers = [reader for name in names for reader in self._readers[layer, name] if needed[reader]]
            for group, stream in self._read(slot, readers, self._before_block, offset):
                normed = block.attention_norm(stream.to(self._projected["q"].dtype))
                alike = [graph.readers[readers[each]] for each in group]
                for name in names:
                    heads = [reader.head or 0 for reader in alike if reader.input == name]
                    if heads:
                        into = self._by_slot(self._projected[name])[slot, :, offset:]
                        made = block.projections[name](normed, heads).unflatten(-1, (len(heads), -1))
                        into.unflatten(-1, (-1, graph.shape.d_head))[:, :, heads] = made

    def _mlp(self, layer: int, mlp: Any) -> Callable[..., Any]:
        """Return the forward function of a layer's MLP, on what it reads in the circuits."""
        readers, block, forward = self._readers[layer, "mlp"], self._wiring.blocks[layer], mlp.forward
        at_end = layer == self._graph.shape.n_layers - 1 and block.mlp_is_plain
        is_needed = self._needed[:, (layer + 1) * self._per_layer].any()

        def run(given: Tensor, *arguments: Any, **keywords: Any) -> Any:
            if not is_needed and block.mlp_is_plain:
                return mlp.hook_out(torch.zeros_like(given))  # counts as ablated
            offset = given.shape[1] - 1 if at_end else 0
            streams = self._before_block if self._graph.shape.parallel else (self._live, self._base)
            read = [next(self._read(slot, readers, streams, offset))[1] for slot in range(len(self._masks))]
            output = forward(block.mlp_norm(torch.cat(read).to(given.dtype)), *arguments, **keywords)
            return torch.nn.functional.pad(output, (0, 0, offset, 0)) if offset else output

        return run

    def _read_by_logits(self, residual: Tensor, hook: object) -> Tensor:
        offset, readers = residual.shape[1] - 1, [len(self._graph.readers) - 1]
        streams = self._live, self._base
        read = [next(self._read(slot, readers, streams, offset))[1] for slot in range(len(self._masks))]
        return torch.nn.functional.pad(torch.cat(read), (0, 0, offset, 0)).to(residual.dtype)

    def _read(
        self, slot: int, readers: list[int], streams: tuple[Tensor, Tensor], offset: int
    ) -> Iterator[tuple[list[int], Tensor]]:
        """Yield groups of readers of one slot that read the same, and the stream that they read: see `streams_read`."""
        n_writers = self._graph.n_writers_before(self._graph.readers[readers[0]]) if readers else 0
        masks = self._masks[slot][:, readers, :n_writers]
        live, base = streams
        return streams_read(masks, self._changes[slot, :n_writers], (live[slot], base), self._places, offset)

    def _by_slot(self, activation: Float[Tensor, "batch ..."]) -> Float[Tensor, "slot row ..."]:
        by_slot: Tensor = activation.unflatten(0, (len(self._masks), -1))
        return by_slot
