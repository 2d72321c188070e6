"""Path patching edits: a sender's change reaches chosen receivers alone, along direct paths.

Method: Goldowsky-Dill et al. 2023 (arXiv 2304.05969), after Wang et al. 2022 (arXiv 2211.00593). All heads but the
sender keep their outputs of the base pass. With `frozen` MLPs, as in TransformerLens' direct path patching, MLPs do so
too: the sender's change is added to the residual stream that the receiver alone reads. With `free` MLPs, as in Wang et
al., MLPs run on the changed stream, so that paths through them count as direct. The receivers' changed queries, keys,
values or MLP outputs are then written into a pass in which everything after them runs freely.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from ioi_lab.engine.edits import OTHER_PASS, Edit, EditSet, FromPass, Pass, Site, precedes
from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.models.shape import ModelShape

ReceiverInput = Literal["logits", "q", "k", "v", "mlp"]
Mlps = Literal["frozen", "free"]
Changes = Float[Tensor, "sender prompt pos d_model"]


def path_patch_edits(
    engine: Engine,
    senders: Sequence[Sequence[Site]],
    receivers: Sequence[Site] = (),
    base: Pass = "corrupted",
    mlps: Mlps = "frozen",
) -> list[EditSet]:
    """Return, for each sender, the edits that patch its direct paths into the receivers.

    Args:
        engine: The engine on whose prompts the receivers' changed activations are measured.
        senders: The sites of each sender, whose activations come from the other pass: `z` or `mlp_out`.
        receivers: The sites `q`, `k`, `v` or `mlp_out` of the receivers; none stands for the logits.
        base: The pass that is edited.
        mlps: Whether MLPs between sender and receiver keep their outputs (`frozen`), or run (`free`).

    Raises:
        LabError: MLPs are to be free, but the model's cannot be run apart from attention; or frozen, but the stream is
            not the sum of what blocks add; or free, but some layers have no heads that could be kept.

    """
    if mlps == "free":
        return _edits_through_mlps(engine, senders, receivers, base)
    if not engine.stream_is_sum():
        raise LabError(
            f"intervention.mlps: got 'frozen', which adds a sender's change to the residual stream, but the blocks of "
            f"{engine.shape.name} do more than add to it (their norms follow the sums); expected free"
        )
    edit_sets: list[EditSet] = [()] * len(senders)
    by_layers = defaultdict(list)
    for index, sites in enumerate(senders):
        by_layers[tuple(dict.fromkeys(site.layer for site in sites))].append(index)
    sender_layers = sorted({layer for layers in by_layers for layer in layers})
    outputs = engine.record(base, [_output(layer, senders[0][0]) for layer in sender_layers])
    for indices in by_layers.values():  # senders of one layer at a time: their changes take memory
        changes = _sender_changes(engine, [senders[index] for index in indices], base, outputs)
        received = _receiver_edits(engine, changes, senders[0][0], _receivers_at_end(receivers, senders), base)
        for index, edits in zip(indices, received, strict=True):
            edit_sets[index] = edits
    return edit_sets


def _sender_changes(
    engine: Engine,
    senders: Sequence[Sequence[Site]],
    base: Pass,
    outputs: Mapping[Site, Float[Tensor, "prompt pos d_model"]],
) -> dict[int, Changes]:
    """Return, by layer, what each sender adds to the residual stream if its activation comes from the other pass.

    `outputs` holds the base pass's output of each sender's layer.
    """
    changes = {}
    for layer in dict.fromkeys(site.layer for site in senders[0]):
        out = _output(layer, senders[0][0])
        edits = [
            [Edit(site, "replace", FromPass(OTHER_PASS[base])) for site in sites if site.layer == layer]
            for sites in senders
        ]
        changes[layer] = engine.capture(edits, base, [out])[out] - outputs[out]
    return changes


def _receivers_at_end(receivers: Sequence[Site], senders: Sequence[Sequence[Site]]) -> Sequence[Site]:
    """Return the receivers at END alone if all senders are: then nothing changes before it, and less has to be run."""
    if any(site.position != "END" for sites in senders for site in sites):
        return receivers
    return [replace(receiver, position="END") for receiver in receivers]


def _output(layer: int, sender: Site) -> Site:
    """Return what the attention or the MLP of a layer, whichever the sender is part of, adds to the residual stream."""
    return Site("attn_out" if sender.component == "z" else "mlp_out", layer)


def _receiver_edits(
    engine: Engine, changes: dict[int, Changes], sender: Site, receivers: Sequence[Site], base: Pass
) -> list[EditSet]:
    """Return, for each sender, the edits that give the receivers what they compute from its change."""
    shape = engine.shape
    if not receivers:
        end = Site("resid_post", shape.n_layers - 1, position="END")
        places = list(range(len(engine.prompts))), [len(prompt) - 1 for prompt in engine.prompts]
        return [[Edit(end, "add", change[places])] for change in reduce(add, changes.values())]
    edits: list[list[Edit]] = [[] for _ in next(iter(changes.values()))]
    by_input = defaultdict(list)
    for receiver in receivers:
        by_input[receiver.component, receiver.layer].append(receiver)
    for (component, layer), alike in by_input.items():  # they read the same change of the same stream
        before = [
            change
            for sender_layer, change in changes.items()
            if precedes(Site(sender.component, sender_layer), alike[0], parallel=shape.parallel)
        ]
        if not before:
            continue
        reads_middle = component == "mlp_out" and not shape.parallel
        stream = Site("resid_mid" if reads_middle else "resid_pre", layer)
        changed = [[Edit(stream, "add", change)] for change in reduce(add, before)]
        for receiver, received in engine.capture(changed, base, alike).items():
            for edit_set, value in zip(edits, received, strict=True):
                edit_set.append(Edit(receiver, "replace", value))
    return list(edits)


def _edits_through_mlps(
    engine: Engine, senders: Sequence[Sequence[Site]], receivers: Sequence[Site], base: Pass
) -> list[EditSet]:
    """Return the edits of `path_patch_edits` with free MLPs."""
    shape = engine.shape
    if not shape.layers("mlp_out"):
        raise LabError(
            f"intervention.mlps: got 'free', but the blocks of {shape.name} have no MLP that can be run apart from "
            "attention; expected frozen"
        )
    if len(shape.layers("z")) < shape.n_layers:
        having = ", ".join(map(str, shape.layers("z"))) or "none"
        raise LabError(
            f"intervention.mlps: got 'free', which keeps all heads as they are, but of {shape.name} only these layers "
            f"have heads: {having}; expected frozen"
        )
    if not receivers:
        return [_with_heads_frozen(sites, base, shape, shape.n_layers) for sites in senders]
    receivers = _receivers_at_end(receivers, senders)
    last = max(receiver.layer for receiver in receivers)
    n_frozen = last + 1 if any(receiver.component == "mlp_out" for receiver in receivers) else last
    edit_sets: list[EditSet] = [()] * len(senders)
    by_layer = defaultdict(list)
    for index, sites in enumerate(senders):
        by_layer[min(site.layer for site in sites)].append(index)
    for indices in by_layer.values():  # senders of one layer at a time, whose passes start there
        changed = [_with_heads_frozen(senders[index], base, shape, n_frozen) for index in indices]
        captured = engine.capture(changed, base, receivers)
        for place, index in enumerate(indices):
            edit_sets[index] = [
                Edit(receiver, "replace", captured[receiver][place])
                for receiver in receivers
                if any(precedes(sender, receiver, parallel=shape.parallel) for sender in senders[index])
            ]
    return edit_sets


def _with_heads_frozen(senders: Sequence[Site], base: Pass, shape: ModelShape, n_layers: int) -> EditSet:
    """Return the edits that change the senders and keep all heads after the first of them, in some first layers."""
    first = min(site.layer for site in senders)
    layers = [layer for layer in shape.layers("z") if first < layer < n_layers]
    frozen = [Edit(Site("z", layer), "replace", FromPass(base)) for layer in layers]
    return [*frozen, *(Edit(site, "replace", FromPass(OTHER_PASS[base])) for site in senders)]
