"""Estimates of the effects of all edges at once from gradients at the inputs of readers (edge attribution patching).

An edge's score is Σ over positions of (what its writer writes, less the counterfactual) · (the gradient of the
objective at the reader's input, before its norm): to first order, what the objective loses without the edge. Source:
Syed et al. 2023 (arXiv 2310.10348); with integrated gradients, Hanna et al. 2024 (arXiv 2403.17806) and Marks et al.
2024 (arXiv 2403.19647).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ioi_lab.circuits.graph import HEAD_INPUTS, Graph, Indices, ReaderInput
from ioi_lab.circuits.reading import places_of_labels
from ioi_lab.circuits.runner import CircuitRunner
from ioi_lab.circuits.wiring import EMBEDDING, Norm
from ioi_lab.engine.buckets import Bucket
from ioi_lab.engine.edits import Site
from ioi_lab.engine.hooks import Hook
from ioi_lab.engine.overrides import overridden
from ioi_lab.engine.readouts import to_array
from ioi_lab.errors import LabError
from ioi_lab.stats.metrics import Array
from ioi_lab.terminal import progress_bar

Objective = Literal["logit_diff", "kl"]
"""What a circuit should keep: the logit difference, or −KL(clean pass ‖ circuit) in nats."""

GradientMethod = Literal["eap", "eap_ig_inputs", "eap_ig_activations", "clean_corrupted"]
IgRule = Literal["end", "start"]
"""The points of integrated gradients with m steps: k/m of the way to the clean pass, for k = 1 … m, or 0 … m−1."""

Gradient = tuple[list[int], Float[Tensor, "reader row pos d_model"]]
"""The gradients at the inputs of some readers, which have the same writers before them."""


def gradient_scores(
    runner: CircuitRunner,
    method: GradientMethod,
    objective: Objective = "logit_diff",
    ig_steps: int = 5,
    ig_rule: IgRule = "end",
) -> Float[Array, "prompt edge"]:
    """Return the score of each edge in each prompt.

    Args:
        runner: Says what ablated edges carry.
        method: `eap`: gradients of the clean pass; `clean_corrupted`: their mean with those of the pass on the
            counterfactual input; `eap_ig_inputs`: their mean over points between the two inputs;
            `eap_ig_activations`: over points between what the writers of one layer write and the counterfactual, with
            all others clean, of which each edge gets those of its own writer.
        objective: What gradients are taken of.
        ig_steps: The number m of points.
        ig_rule: Which points.

    Raises:
        LabError: `eap` with `kl`, whose gradient in the clean pass is zero; a gradient is not finite; or memory does
            not suffice.

    """
    if method == "eap" and objective == "kl":
        raise LabError(
            "intervention.objective: got 'kl', whose gradient in the clean pass is zero, so that eap finds nothing; "
            "expected logit_diff, or the scores eap_ig_inputs or exact"
        )
    graph, engine = runner.graph, runner.engine
    scores = np.zeros((len(engine.prompts), graph.n_edges))
    steps = [(k + (ig_rule == "end")) / ig_steps for k in range(ig_steps)]
    points = {"eap": [1.0], "clean_corrupted": [0.0, 1.0]}.get(method, steps)
    buckets = list(engine.budget.edge_gradient_buckets(len(graph.writers)))
    by_layer = method == "eap_ig_activations"
    stages = range(2 * graph.shape.n_layers + 1 if by_layer else 1)
    with progress_bar(len(buckets) * len(stages) * len(points), method, unit="pass") as bar:
        for bucket in buckets:
            clean, ablated = runner.outputs_of(bucket)
            changes = clean - ablated
            by_place = changes.permute(1, 2, 3, 0).contiguous()  # [row, pos, d_model, writer]
            for stage in stages:
                writers = _writers_of(graph, stage)
                of_stage = changes[writers].sum(dim=0)
                scored = writers if by_layer else np.arange(len(graph.writers))
                for point in points:
                    passed = _GradientPass(runner, bucket, objective, _site_of(stage), (point - 1.0) * of_stage)
                    for gradient in passed.gradients():
                        _add(scores, graph, bucket, gradient, by_place, scored)
                    bar.update()
    if not np.isfinite(scores).all():
        raise LabError(f"model: gradients that are not finite in {graph.shape.name}")
    return scores / len(points)


def _site_of(stage: int) -> Site:
    """Return where the writers of a stage write: the input, then each layer's attention and MLP in turn."""
    return EMBEDDING if stage == 0 else Site("attn_out" if stage % 2 else "mlp_out", (stage - 1) // 2)


def _writers_of(graph: Graph, stage: int) -> Indices:
    site, n_heads = _site_of(stage), graph.shape.n_heads
    if stage == 0:
        return np.array([0])
    first = 1 + site.layer * (n_heads + 1)
    return np.arange(first, first + n_heads) if site.component == "attn_out" else np.array([first + n_heads])


def _add(
    scores: Float[Array, "prompt edge"],
    graph: Graph,
    bucket: Bucket,
    gradient: Gradient,
    by_place: Float[Tensor, "row pos d_model writer"],
    scored: Indices,
) -> None:
    """Add gradients · changes to the scores of the edges from `scored` writers into the gradients' readers."""
    readers, values = gradient
    n_writers = graph.n_writers_before(graph.readers[readers[0]])
    writers = scored[scored < n_writers]
    if not len(writers):
        return
    changes = by_place[..., :n_writers] if len(writers) == n_writers else by_place[..., writers]
    products = values.permute(1, 2, 0, 3) @ changes  # [row, pos, reader, writer]
    for label in range(graph.n_labels):
        if graph.labels:
            rows, positions = places_of_labels(graph, bucket, 0)[label]
            summed = torch.zeros_like(products[:, 0]).index_add_(0, rows, products[rows, positions])
        else:
            summed = products.sum(dim=1)
        first = graph.edge_of(readers[0], label)
        edges = first + n_writers * np.arange(len(readers))[:, None] + writers
        scores[np.ix_(np.array(bucket.rows), edges.ravel())] += to_array(summed.flatten(1))


class _GradientPass:
    """One pass with gradients, in which writers at one site write something else.

    Args:
        runner: Says how readers read.
        bucket: The prompts.
        objective: What gradients are taken of.
        stage: The site; gradients are those of readers after it.
        shift: What is added there.

    """

    def __init__(
        self,
        runner: CircuitRunner,
        bucket: Bucket,
        objective: Objective,
        stage: Site,
        shift: Float[Tensor, "row pos d_model"],
    ) -> None:
        self._runner, self._graph = runner, runner.graph
        self._made: dict[tuple[int, ReaderInput], Tensor] = {}
        self._read_by_mlp: dict[int, Tensor] = {}
        self._streams: dict[Site, Tensor] = {}
        self._last = Site("resid_post", self._graph.shape.n_layers - 1)
        hooks: list[Hook] = [(stage.hook, lambda activation, hook: _leaf(activation + shift.to(activation)))]
        for layer in range(self._graph.shape.n_layers):
            hooks += [self._keeping(Site("resid_pre", layer)), self._keeping(Site("attn_out", layer))]
        hooks.append(self._keeping(self._last))
        passes, kl = runner.engine.passes, objective == "kl"
        blocks = runner.wiring.model.bridge.blocks
        with ExitStack() as stack, torch.enable_grad():
            for layer, block in enumerate(blocks):
                for name in HEAD_INPUTS:
                    linear = getattr(block.attn, name)
                    stack.enter_context(overridden(linear, self._making((layer, name), linear.forward)))
                stack.enter_context(overridden(block.mlp, self._reading(layer, block.mlp.forward)))
            logits = passes.forward.whole(bucket, "clean", hooks, pair_only=not kl)[0]
            if kl:
                clean = passes.recording(bucket, "clean", set()).end_logits.log_softmax(dim=-1)
                objectives = (clean.exp() * (logits.log_softmax(dim=-1) - clean)).sum(dim=-1)
            else:
                objectives = logits[:, 0] - logits[:, 1]
            objectives.sum().backward()

    def gradients(self) -> Iterator[Gradient]:
        """Yield the gradients at the inputs of all readers that the site precedes."""
        shape, readers = self._graph.shape, defaultdict(list)
        for number, reader in enumerate(self._graph.readers):
            readers[reader.layer, reader.input].append(number)
        for layer, block in enumerate(self._runner.wiring.blocks):
            stream = self._streams[Site("resid_pre", layer)]
            made = [(name, _gradient(self._made.get((layer, name)))) for name in HEAD_INPUTS]
            of_inputs = [
                torch.einsum(
                    "bphe,hed->hbpd", gradient.unflatten(-1, (-1, shape.d_head)), block.projections[name].weight
                )
                for name, gradient in made
                if gradient is not None
            ]
            if of_inputs:
                numbers = [number for name in HEAD_INPUTS for number in readers[layer, name]]
                yield numbers, _through(block.attention_norm, stream, torch.cat(of_inputs))
            if (gradient := _gradient(self._read_by_mlp.get(layer))) is not None:
                before = stream if shape.parallel else stream + self._streams[Site("attn_out", layer)]
                yield readers[layer, "mlp"], _through(block.mlp_norm, before, gradient[None])
        if (gradient := _gradient(self._streams[self._last])) is not None:
            yield readers[shape.n_layers, "logits"], gradient.float()[None]

    def _keeping(self, site: Site) -> Hook:
        def keep(activation: Tensor, hook: object) -> Tensor:
            self._streams[site] = _retained(activation) if site == self._last else activation.detach()
            return activation  # else TransformerLens goes on with what it reshaped this from

        return site.hook, keep

    def _making(self, of: tuple[int, ReaderInput], forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def make(*arguments: Any, **keywords: Any) -> Tensor:
            self._made[of] = _retained(forward(*arguments, **keywords))
            return self._made[of]

        return make

    def _reading(self, layer: int, forward: Callable[..., Any]) -> Callable[..., Any]:
        def read(given: Tensor, *arguments: Any, **keywords: Any) -> Any:
            given = given.view_as(given)  # else its gradient would be that of all that reads this norm
            self._read_by_mlp[layer] = _retained(given)
            return forward(given, *arguments, **keywords)

        return read


def _leaf(activation: Tensor) -> Tensor:
    return activation.detach().requires_grad_()


def _retained(activation: Tensor) -> Tensor:
    if activation.requires_grad:
        activation.retain_grad()
    return activation


def _gradient(activation: Tensor | None) -> Tensor | None:
    """Return the gradient of an activation; None if nothing that was changed reaches it."""
    return activation.grad if activation is not None and activation.requires_grad else None


def _through(
    norm: Norm, stream: Float[Tensor, "row pos d_model"], gradient: Float[Tensor, "reader row pos d_model"]
) -> Float[Tensor, "reader row pos d_model"]:
    """Return the gradients at the stream, given those at the output of a norm for each reader."""
    with torch.enable_grad():
        leaf = _leaf(stream)
        normed = norm(leaf)
        (at_stream,) = torch.autograd.grad(normed, leaf, gradient.to(normed.dtype), is_grads_batched=True)
    return at_stream.float()
