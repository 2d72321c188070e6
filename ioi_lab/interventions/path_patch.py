"""Path patching: how much of a sender's effect goes straight into chosen receivers, all other paths frozen.

See `ioi_lab.engine.path_patching` for the method and its sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator
from typing_extensions import override

from ioi_lab.engine.edits import EditSet, Site, precedes
from ioi_lab.errors import LabError
from ioi_lab.interventions.grid_result import Row
from ioi_lab.interventions.patch import Patch
from ioi_lab.models.heads import HeadName, heads_of
from ioi_lab.models.selectors import Index, cell_name, head_names_in
from ioi_lab.models.shape import ModelShape
from ioi_lab.tasks.prompts import PromptPairs

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine


class PathPatch(Patch):
    """Patch each sender along the direct paths into the receivers.

    Senders are heads (`component: z`) or MLPs (`mlp_out`), by the selectors of every grid. `receiver_input`: `logits`
    (with no `receiver`), `q`, `k` or `v` of the heads that `receiver` names (key/value heads for `k` and `v`), or `mlp`
    of the layers that it lists.
    """

    shares_passes = False  # the edits of each sender hold the activations of all its receivers

    action: ClassVar[str] = "Path patching"

    name: str = "path_patch"
    component: Literal["z", "mlp_out"] = "z"
    receiver_input: Literal["logits", "q", "k", "v", "mlp"] = "logits"
    receiver: (
        HeadName
        | Index
        | Annotated[list[Index], Field(min_length=1)]
        | Annotated[list[HeadName], Field(min_length=1)]
        | None
    ) = None

    @model_validator(mode="after")
    def _receiver_fits_input(self) -> Self:
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
    @override
    def title(self) -> str:
        noise = " (noise)" if self.direction == "noise" else ""
        return f"path patch {self.component} → {self._receiver_name}{noise}"

    @property
    @override
    def details(self) -> str:
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
        """Return the sites of the receivers' activations; none stands for the logits."""
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

    @override
    def rows(self, shape: ModelShape, prompts: PromptPairs) -> list[Row]:
        """Return the senders; if all are selected, only those before the last receiver."""
        rows, receivers = super().rows(shape, prompts), self.receivers(shape)
        if not receivers:
            return rows
        named = self.sets != "except" and (self.layer != "all" or bool(head_names_in(self.head)))
        reaching = []
        for row in rows:
            sites = [site for site in row.sites if any(precedes(site, to, parallel=shape.parallel) for to in receivers)]
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

    @override
    def plan(self, rows: Sequence[Row], engine: Engine) -> list[EditSet]:
        from ioi_lab.engine.path_patching import path_patch_edits

        return path_patch_edits(engine, [row.sites for row in rows], self.receivers(engine.shape), self.base)
