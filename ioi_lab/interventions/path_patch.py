"""Path patching: how much of a sender's effect goes straight into chosen receivers, all other paths frozen.

Method: Goldowsky-Dill et al. 2023 (arXiv 2304.05969), after Wang et al. 2022 (arXiv 2211.00593). The sender's change
is added to the residual stream that the receiver alone reads; every other component sees the base run. MLPs are frozen
too, as in TransformerLens' direct path patching, while Wang et al. count paths through MLPs as direct. Receivers that
have got their changed query, key, value or MLP output are then patched into a run that is free behind them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from ioi_lab.edits import Edit, EditSet, ModelShape, Site
from ioi_lab.errors import LabError
from ioi_lab.interventions.grid import Index, Row, cell_name, head_names_in
from ioi_lab.interventions.heads import HeadName, heads_of
from ioi_lab.interventions.patch import Patch
from ioi_lab.tasks.prompts import PromptPairs

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from ioi_lab.engine import Engine

    Changes = Float[Tensor, "sender prompt pos d_model"]


class PathPatch(Patch):
    """Patch each sender along the direct paths into the receivers.

    Senders: heads (`component: z`) or MLPs (`mlp_out`), by the selectors of every grid. `receiver_input`: `logits`
    (with no `receiver`), `q`, `k` or `v` of the heads that `receiver` names (key/value heads for `k` and `v`), or `mlp`
    of the layers that it lists.
    """

    pools_edits = False  # each carries the activations of its frozen paths

    component: Literal["z", "mlp_out"]
    receiver_input: Literal["logits", "q", "k", "v", "mlp"]
    receiver: (
        HeadName
        | Index
        | Annotated[list[Index], Field(min_length=1)]
        | Annotated[list[HeadName], Field(min_length=1)]
        | None
    )

    @model_validator(mode="after")
    def _receiver_fits_input(self) -> PathPatch:
        wanted = {"logits": "null", "mlp": "a layer or a list of layers"}.get(
            self.receiver_input, "a head or a list of heads, such as ['9.9','9.6']"
        )
        kinds: dict[str, tuple[type, ...]] = {"logits": (), "mlp": (int,)}
        fits = all(isinstance(receiver, kinds.get(self.receiver_input, (str, float))) for receiver in self._receivers)
        if not fits or (self.receiver_input == "logits") != (self.receiver is None):
            raise LabError(
                f"intervention.receiver: got {self.receiver}, but receiver_input={self.receiver_input} takes {wanted}"
            )
        return self

    @property
    def title(self) -> str:
        """Such as `path patch z → 9.9 q`."""
        return f"path patch {self.component} → {self._receiver_name}" + (
            " (noise)" if self.direction == "noise" else ""
        )

    @property
    def action(self) -> str:
        """`Path patching`."""
        return "Path patching"

    @property
    def details(self) -> str:
        """The receivers, and the direction as in patching."""
        return f"direct paths into {self._receiver_name}\n{super().details}"

    @property
    def _receivers(self) -> list[str | float | int]:
        if self.receiver is None:
            return []
        return [*self.receiver] if isinstance(self.receiver, list) else [self.receiver]

    @property
    def _receiver_name(self) -> str:
        if self.receiver_input == "logits":
            return "the logits"
        names = " ".join(str(receiver) for receiver in self._receivers)
        return f"MLP {names}" if self.receiver_input == "mlp" else f"{self.receiver_input} of {names}"

    def receivers(self, shape: ModelShape) -> list[Site]:
        """The activations that hold what the receivers make of their input; none stands for the logits."""
        key = "intervention.receiver"
        if self.receiver_input == "mlp":
            layers = [receiver for receiver in self._receivers if isinstance(receiver, int)]
            for layer in layers:
                shape.check_layer(layer, key)
            return [Site("mlp_out", layer) for layer in dict.fromkeys(layers)]
        if self.receiver_input == "logits":
            return []
        names = [receiver for receiver in self._receivers if not isinstance(receiver, int)]
        return [Site(self.receiver_input, *head) for head in heads_of(names, shape, self.receiver_input, key)]

    def rows(self, shape: ModelShape, prompts: PromptPairs) -> list[Row]:
        """The senders; of `all`, those before the last receiver."""
        rows, receivers = super().rows(shape, prompts), self.receivers(shape)
        if not receivers:
            return rows
        named = self.sets != "except" and (self.layer != "all" or bool(head_names_in(self.head)))
        reaching = []
        for row in rows:
            sites = [site for site in row.sites if any(_precedes(site, to, shape) for to in receivers)]
            if len(sites) < len(row.sites) and named:
                late = next(site for site in row.sites if site not in sites)
                raise LabError(
                    f"intervention.layer: sender {cell_name(late.layer, late.head)} does not come before any receiver "
                    f"({self._receiver_name})"
                )
            if sites:
                label = " ".join(cell_name(site.layer, site.head) for site in sites)
                reaching.append(Row(sites, row.label if self.sets == "except" else label))
        if not reaching:
            raise LabError(f"intervention.receiver: no sender comes before {self._receiver_name}")
        return reaching

    def plan(self, engine: Engine) -> list[EditSet]:
        """For each sender, the receivers with what they would be if they alone saw the sender's change."""
        senders = [row.sites for row in self.rows(engine.shape, engine.prompts)]
        plan: list[EditSet] = [()] * len(senders)
        alike = defaultdict(list)
        for index, sites in enumerate(senders):
            alike[tuple(dict.fromkeys(site.layer for site in sites))].append(index)
        for indices in alike.values():  # senders of one layer at a time: what they change takes memory
            changes = self._changes([senders[index] for index in indices], engine)
            for index, edits in zip(indices, self._received(changes, engine), strict=True):
                plan[index] = edits
        return plan

    def _changes(self, senders: Sequence[Sequence[Site]], engine: Engine) -> dict[int, Changes]:
        """By layer, what each sender adds to the residual stream there when it is as in the other run."""
        edit = self.editor(engine)
        changes = {}
        for layer in dict.fromkeys(site.layer for site in senders[0]):
            out = Site("attn_out" if self.component == "z" else "mlp_out", layer)
            edits = [[edit(site) for site in sites if site.layer == layer] for sites in senders]
            changes[layer] = engine.capture(edits, self.base, [out])[out] - engine.record(self.base, [out])[out]
        return changes

    def _received(self, changes: dict[int, Changes], engine: Engine) -> list[EditSet]:
        """For each sender, the edits that stand for what the receivers make of its change."""
        shape = engine.shape
        if self.receiver_input == "logits":
            end = Site("resid_post", shape.n_layers - 1, position="END")
            places = list(range(len(engine.prompts))), [len(prompt) - 1 for prompt in engine.prompts]
            return [[Edit(end, "add", change[places])] for change in reduce(add, changes.values())]
        edits: list[list[Edit]] = [[] for _ in next(iter(changes.values()))]
        reads_middle = self.receiver_input == "mlp" and not shape.parallel
        for to in self.receivers(shape):
            before = [change for layer, change in changes.items() if _precedes(Site(self.component, layer), to, shape)]
            if not before:
                continue
            stream = Site("resid_mid" if reads_middle else "resid_pre", to.layer)
            seen = [[Edit(stream, "add", change)] for change in reduce(add, before)]
            received = engine.capture(seen, self.base, [to])[to]
            for sender, value in zip(edits, received, strict=True):
                sender.append(Edit(to, "replace", value))
        return list(edits)


def _precedes(sender: Site, receiver: Site, shape: ModelShape) -> bool:
    """Whether the receiver reads what the sender writes: an MLP reads its own block's attention, unless in parallel."""
    same_block = sender.component == "z" and receiver.component == "mlp_out" and not shape.parallel
    return sender.layer < receiver.layer or (same_block and sender.layer == receiver.layer)
