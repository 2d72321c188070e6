"""Across models: a steering vector or a head of one language model put to work in another.

Sources: linear maps between residual streams (arXiv 2506.00653, 2506.06609), transferred activation interventions
(arXiv 2503.04429). Everything is compared with the target's own vectors or heads and with controls, on prompts that
neither vectors nor choices were made from, in both directions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import Field, field_validator, model_validator
from typing_extensions import override

from ioi_lab.alignment.config import AlignmentConfig
from ioi_lab.alignment.corpora import Corpus
from ioi_lab.config import Renamed, instantiate
from ioi_lab.errors import LabError, called
from ioi_lab.interventions.base import Intervention
from ioi_lab.models.heads import HeadName
from ioi_lab.models.loading import ModelConfig
from ioi_lab.registry import name_in
from ioi_lab.steering.contrasts import ContrastName
from ioi_lab.steering.methods import VECTOR_METHODS
from ioi_lab.steering.vectors import MIN_CONTROLS, SCALES
from ioi_lab.storage.files import check_user_file
from ioi_lab.transfer.unrelated import MIN_UNRELATED

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine
    from ioi_lab.interventions.transfer.map_source import MapSource
    from ioi_lab.interventions.transfer.measure import TransferResult
    from ioi_lab.reports.report import Report, ReportContext

_TINY_GPT2: Final = ModelConfig(
    name="tiny-gpt2",
    source="tiny",
    path="tiny-gpt2",
    revision=None,
    device="auto",
    dtype="float32",
    prepend_bos=True,
)
_TINY_ENGLISH: Final = {
    "_target_": "ioi_lab.alignment.corpora.TinyEnglish",
    "name": "tiny_english",
    "n": 4000,
    "seed": 0,
}


class Transfer(Intervention["TransferResult"]):
    """Transfer a steering vector or a head of `source` to the run's model.

    `through`: a vector goes through the fitted `maps` or through the `vocabulary` that both models share; with `head`,
    the output of a head goes through the fitted maps. `alignment` says which residual stream and which layers are
    mapped, and how maps are fitted on `corpus`, unless `maps` is a file of them. A second map of the pair of layers
    that is looked at is fitted on `other_corpus`, if one is named, at `other_positions`, and compared with the first.
    Through the vocabulary, `translation` moves the logits of each vector, or sends it through one map of unembeddings.
    Vectors are made by `vector_method` as `intervention=steer` makes them. `head` and `source_head` are names or
    `best`: the best of all heads by patching or, with `head_pairs` roles, of those with a role that both models have.
    With `head_map` outputs, heads go through maps that are fitted to their outputs on the training prompts; with
    stitched, these are then trained by stitching, with `steps`, `learning_rate` and so on of `alignment`.
    `idle_heads` heads of either model, those whose own clean output recovers least in absolute value on the training
    prompts, are controls: their images, and the places of one of them in each of several other layers.
    """

    renamed_keys: ClassVar = {
        "method": Renamed("through", {"linear": "maps", "logit": "vocabulary", "functional": "head"}),
        "vector": Renamed("vector_method"),
    }

    name: str = "transfer"
    source: ModelConfig = _TINY_GPT2
    corpus: dict[str, Any] = _TINY_ENGLISH
    alignment: AlignmentConfig = AlignmentConfig()
    other_corpus: dict[str, Any] | None = None
    other_positions: Literal["all", "last"] = "all"
    through: Literal["maps", "vocabulary", "head"] = "maps"
    translation: Literal["logits", "rows"] = "logits"
    maps: str | None = None
    position: str = "END"
    scale: Literal["all"] | float | Annotated[list[float], Field(min_length=1)] = "all"
    vector_method: name_in(VECTOR_METHODS) = "mean_difference"
    contrast: ContrastName = "name_pair"
    names: list[str] = Field(["James", "Robert"], min_length=2, max_length=2)
    controls: Annotated[int, Field(ge=MIN_CONTROLS)] = 10
    unrelated: int = 100
    head: Literal["best"] | HeadName = "best"
    source_head: Literal["best"] | HeadName = "best"
    head_pairs: Literal["patching", "roles"] = "patching"
    head_map: Literal["stream", "outputs", "stitched"] = "stream"
    idle_heads: Annotated[int, Field(ge=1)] = 4
    both: bool = True
    seed: Annotated[int, Field(ge=0)] = 0

    @field_validator("alignment", mode="before")
    @classmethod
    def _alignment_has_new_keys(cls, value: Any) -> Any:
        return AlignmentConfig.from_config(value, "intervention.alignment") if isinstance(value, Mapping) else value

    @field_validator("unrelated")
    @classmethod
    def _unrelated_have_a_quantile(cls, value: int) -> int:
        if value < MIN_UNRELATED:
            raise LabError(
                f"intervention.unrelated: got {value}, expected {MIN_UNRELATED} or more: of fewer directions, the "
                "97.5 % quantile is not known"
            )
        return value

    @model_validator(mode="after")
    def _vectors_need_activations_alone(self) -> Self:
        if VECTOR_METHODS[self.vector_method].needs != "activations":
            usable = [name for name in VECTOR_METHODS.names if VECTOR_METHODS[name].needs == "activations"]
            raise LabError(f"intervention.vector_method: got {self.vector_method!r}, expected {' or '.join(usable)}")
        return self

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.through == "head" and self.alignment.component != "resid_post":
            raise LabError(
                f"intervention.alignment.component: got {self.alignment.component!r}, but heads write into the "
                "residual stream after their layer; expected 'resid_post' for head"
            )
        if self.through == "head" and self.position == "all":
            raise LabError("intervention.position: got 'all'; head replaces a head at one position, such as 'END'")
        return self

    @property
    @override
    def title(self) -> str:
        return f"transfer ({self.through}) from {self.source.label}"

    @property
    def scales(self) -> list[float]:
        """Each scale once, in ascending order."""
        chosen = SCALES if self.scale == "all" else [self.scale] if isinstance(self.scale, float) else self.scale
        return sorted({float(scale) for scale in chosen})

    @override
    def check(self) -> None:
        if self.maps is not None:
            check_user_file(Path(self.maps), "intervention.maps")
        with called("model", "intervention.source"):
            self.source.check()
        with called("corpus", "intervention.corpus"):
            self._corpus.check()
        if self._other_corpus is not None:
            with called("corpus", "intervention.other_corpus"):
                self._other_corpus.check()

    @property
    @override
    def models(self) -> dict[str, ModelConfig]:
        return {"source": self.source}

    @property
    def _corpus(self) -> Corpus:
        return instantiate(self.corpus, "corpus", Corpus)

    @property
    def _other_corpus(self) -> Corpus | None:
        return None if self.other_corpus is None else instantiate(self.other_corpus, "corpus", Corpus)

    @property
    def _other_map_source(self) -> MapSource | None:
        from ioi_lab.interventions.transfer.map_source import MapSource

        if (corpus := self._other_corpus) is None:
            return None
        alignment = self.alignment.model_copy(update={"positions": self.other_positions})
        return MapSource(alignment, corpus, None, "intervention.other_corpus")

    @override
    def measure(self, engine: Engine) -> TransferResult:
        from ioi_lab.interventions.transfer.head_options import HeadOptions
        from ioi_lab.interventions.transfer.map_source import MapSource
        from ioi_lab.interventions.transfer.measure import measure_transfer
        from ioi_lab.interventions.transfer.vector_measure import VectorOptions

        if engine.over != "prompts":
            raise LabError(
                f"stats.over: got {engine.over!r}, but transfer takes intervals over prompts; expected prompts"
            )
        vectors = None
        if self.through != "head":
            names = self.names[0], self.names[1]
            vectors = VectorOptions(
                through=self.through,
                method=self.vector_method,
                contrast=self.contrast,
                names=names,
                scales=self.scales,
                n_controls=self.controls,
                n_unrelated=self.unrelated,
                seed=self.seed,
                translation=self.translation,
            )
        return measure_transfer(
            engine,
            source=self.source,
            map_source=MapSource(self.alignment, self._corpus, None if self.maps is None else Path(self.maps)),
            other_map_source=self._other_map_source,
            position=self.position,
            vectors=vectors,
            heads=HeadOptions(
                self.source_head, self.head, self.head_pairs, self.head_map, self.idle_heads, engine.memory_gb
            ),
            both=self.both,
            seed=self.seed,
        )

    @override
    def report(self, result: TransferResult, context: ReportContext) -> Report:
        from ioi_lab.interventions.transfer.report import transfer_report

        return transfer_report(result, context)
