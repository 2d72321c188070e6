"""Attention patterns: how much each head attends from END to the names, as Wang et al. 2022 do (arXiv 2211.00593).

Nothing is edited.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator
from typing_extensions import override

from ioi_lab.circuits.files import CircuitFile, cells_of_circuit
from ioi_lab.config import Renamed
from ioi_lab.engine.edits import Pass
from ioi_lab.errors import LabError
from ioi_lab.interventions.attention.ranked_heads import RankedHeads
from ioi_lab.interventions.base import Intervention
from ioi_lab.lenses.attention import ELSEWHERE
from ioi_lab.models.heads import HeadName
from ioi_lab.models.selectors import IndexSelector
from ioi_lab.runs.past_run import PastRun
from ioi_lab.tasks.prompts import Position

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine
    from ioi_lab.interventions.attention.measure import AttentionResult
    from ioi_lab.models.shape import ModelShape
    from ioi_lab.reports.report import Report, ReportContext
    from ioi_lab.tasks.prompts import PromptPairs


PageSelector = Literal["of_heads"] | IndexSelector
"""The layers that get a page with all their heads; `of_heads`: those of the heads that are drawn large."""


class Attention(Intervention["AttentionResult"]):
    """Measure the attention from `query` to each of `keys` and elsewhere, for every head.

    `prompts`: clean or corrupted. `heads` are drawn large: `strongest` (the `k` that attend most to the first key),
    `top` (the `k` with the largest effect in the patching run `from_run`), or names. `layer`: the layers that get a
    page with all heads: `all`, `of_heads` (those of the heads that are drawn large), one or a list. `prompt`: the index
    of the prompt whose patterns are drawn. `circuit`: the `circuit.json` or the run folder of a circuit, whose heads
    are drawn.
    """

    renamed_keys: ClassVar[Mapping[str, Renamed]] = {"run": Renamed("prompts")}

    name: str = "attention"
    query: Position = "END"
    keys: list[Position] = Field(["IO", "S1", "S2"], min_length=1)
    prompts: Pass = "clean"
    layer: PageSelector = "all"
    heads: Literal["strongest", "top"] | Annotated[list[HeadName], Field(min_length=1)] = "strongest"
    k: int = Field(5, ge=1)
    from_run: str | None = None
    prompt: int = Field(0, ge=0)
    circuit: str | None = None

    @model_validator(mode="after")
    def _keys_fit(self) -> Self:
        if self.heads == "top" and self.from_run is None:
            raise LabError(
                "intervention.from_run: got None, but heads=top takes its heads from a patching run; give its folder"
            )
        if self.circuit is not None and self.heads != "strongest":
            raise LabError(
                f"intervention.heads: got {self.heads}, but the circuit has its heads already; expected strongest"
            )
        if len(set(self.keys)) < len(self.keys):
            raise LabError(f"intervention.keys: got {self.keys}, in which a key stands twice")
        for name, positions in (("query", [self.query]), ("keys", self.keys)):
            if words := {"all", "each", ELSEWHERE}.intersection(positions):
                raise LabError(
                    f"intervention.{name}: got {words.pop()!r}, which is not a single position; name a label or an "
                    "index"
                )
        return self

    @property
    @override
    def title(self) -> str:
        return f"attention {self.query} → {self.keys[0]}" + (" (corrupted)" if self.prompts == "corrupted" else "")

    @override
    def check(self) -> None:
        if self.circuit is not None:
            CircuitFile.read(self.circuit, "intervention.circuit")
        if self.from_run is not None:
            RankedHeads.of(PastRun.read(self.from_run, "intervention.from_run"), "intervention.from_run")

    @override
    def n_edit_sets(self, shape: ModelShape, prompts: PromptPairs) -> int:
        return 0

    @override
    def measure(self, engine: Engine) -> AttentionResult:
        from ioi_lab.interventions.attention.measure import measure_attention

        heads = self.heads
        if self.circuit is not None:
            cells = cells_of_circuit(self.circuit, "z", engine.shape, "intervention.circuit")
            heads = [f"{layer}.{head}" for layer, head in cells]
        return measure_attention(
            engine,
            self.prompts,
            self.query,
            self.keys,
            layer=self.layer,
            heads=heads,
            k=self.k,
            from_run=self.from_run,
            prompt=self.prompt,
        )

    @override
    def report(self, result: AttentionResult, context: ReportContext) -> Report:
        from ioi_lab.interventions.attention.report import attention_report

        return attention_report(result, context)
