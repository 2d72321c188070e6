"""Across models: a direction or a head of one language model put to work in another.

Sources: linear maps between residual streams (arXiv 2506.00653, 2506.06609), transferred activation interventions
(arXiv 2503.04429). Everything is set against what is native to the target and against controls, on prompts that
neither vectors nor choices were made from, in both directions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from ioi_lab.alignment.config import AlignmentConfig
from ioi_lab.alignment.corpora import Corpus
from ioi_lab.alignment.pairing import Pairing
from ioi_lab.config import instantiate
from ioi_lab.errors import LabError, called
from ioi_lab.interventions.base import Intervention, Measurement, Report
from ioi_lab.interventions.self_checks import check_gap
from ioi_lab.models.heads import HeadName, head_of
from ioi_lab.models.loading import ModelConfig
from ioi_lab.steering.contrasts import ContrastName
from ioi_lab.steering.vectors import MIN_CONTROLS, SCALES

if TYPE_CHECKING:
    from ioi_lab.alignment.align import Maps
    from ioi_lab.engine.engine import Engine
    from ioi_lab.models.loading import LabModel
    from ioi_lab.transfer.heads import Head, Swap
    from ioi_lab.transfer.sides import Side
    from ioi_lab.transfer.vectors import Carrier, Crossing


@dataclass(frozen=True)
class Transferred:
    """What came of it: from the source into the run's own model, then the other way round."""

    models: tuple[LabModel, LabModel]
    """Source and target."""

    results: list[Crossing | Swap]
    maps: Maps | None
    """Of `linear` and `functional`."""


class Transfer(Intervention):
    """Carry a steering vector (`linear`, `logit`) or a head (`functional`) of `source` over to the run's model.

    `alignment` says which residual stream, which layers of either model, and how maps are fitted on `corpus`, unless
    `maps` names a file of them. Vectors are made as `intervention=steer` makes them; `head` and `source_head` are names
    or `best`.
    """

    source: ModelConfig
    corpus: dict[str, Any]
    alignment: AlignmentConfig
    method: Literal["linear", "logit", "functional"]
    maps: str | None
    position: str
    scale: Literal["all"] | float | Annotated[list[float], Field(min_length=1)]
    vector: Literal["mean_difference", "pca", "logistic"]
    contrast: ContrastName
    names: Annotated[list[str], Field(min_length=2, max_length=2)]
    controls: Annotated[int, Field(ge=MIN_CONTROLS)]
    head: Literal["best"] | HeadName
    source_head: Literal["best"] | HeadName
    both: bool
    seed: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _heads_have_a_place(self) -> Transfer:
        if self.method == "functional" and self.alignment.site != "resid_post":
            raise LabError(
                f"intervention.alignment.site: got {self.alignment.site!r}, but heads write into the stream behind "
                "their layer; expected 'resid_post' for functional"
            )
        if self.method == "functional" and self.position == "all":
            raise LabError(
                "intervention.position: got 'all'; functional replaces a head at one position, such as 'END'"
            )
        return self

    @property
    def title(self) -> str:
        """Such as `transfer (linear) from tiny-gpt2`."""
        return f"transfer ({self.method}) from {self.source.label}"

    @property
    def scales(self) -> list[float]:
        """Each scale once, in ascending order."""
        chosen = SCALES if self.scale == "all" else [self.scale] if isinstance(self.scale, float) else self.scale
        return sorted({float(scale) for scale in chosen})

    def check(self) -> None:
        """Tell a missing file before any model is loaded."""
        if self.maps is not None and not Path(self.maps).is_file():
            raise LabError(f"intervention.maps: {self.maps!r} is no file")
        with called("model", "intervention.source"):
            self.source.check()
        with called("corpus", "intervention.corpus"):
            self._texts.check()

    @property
    def models(self) -> dict[str, ModelConfig]:
        """The source."""
        return {"source": self.source}

    @property
    def _texts(self) -> Corpus:
        return instantiate(self.corpus, "corpus", Corpus)

    def observe(self, engine: Engine) -> Transferred:
        """Load the source, fit or read maps, and carry things over, in one or both directions."""
        from ioi_lab.models.loading import load_model
        from ioi_lab.transfer.sides import sides_of

        engine.prompts.check_position(self.position, "intervention.position")
        with called("model", "intervention.source"):
            source_model = load_model(self.source)
        models = source_model, engine.model
        with called("alignment", "intervention.alignment"):
            pairing = Pairing.of(self.alignment, models, engine.memory_gb)
        contrast: ContrastName = "clean_corrupt" if self.method == "functional" else self.contrast
        names = self.names[0], self.names[1]
        source, target = sides_of(models, engine.prompts, contrast, names, self.seed, engine.memory_gb)
        for side in (source, target):
            check_gap(side.held_out.baseline("clean"), side.held_out.baseline("corrupted"))
        heads = (
            self._head("source_head", source_model, pairing.layers[0]),
            self._head("head", engine.model, pairing.layers[1]),
        )
        maps = None if self.method == "logit" else self._maps(pairing)
        results = [self._result(source, target, pairing.layers, maps, heads)]
        if self.both:
            turned = None if maps is None else maps.turned
            results.append(self._result(target, source, pairing.layers[::-1], turned, heads[::-1]))
        return Transferred(models, results, maps)

    def report(self, measurement: Measurement) -> Report:
        """A row a vector and scale, or a head; how much of the native effect comes over, and whether controls do."""
        from ioi_lab.interventions.transfer.report import transfer_report

        return transfer_report(self, measurement)

    def _maps(self, pairing: Pairing) -> Maps:
        """Those of the file, or new ones."""
        from ioi_lab.alignment.align import Maps, align, load_maps
        from ioi_lab.alignment.reading import Reader

        if self.maps is not None:
            return load_maps(Path(self.maps), pairing.models, "intervention.maps").of_layers(
                pairing.site, pairing.layers, "intervention.alignment"
            )
        corpus = self._texts
        with called("corpus", "intervention.corpus"), called("alignment", "intervention.alignment"):
            alignment = align(Reader(pairing, corpus, self.alignment, self.seed), pairing, self.alignment)
        return Maps.of(alignment, self.alignment, corpus.title)

    def _head(self, key: str, model: LabModel, layers: list[int]) -> Head | None:
        """The head that a key names, if it names one; a `LabError` for one in a layer without maps."""
        name = getattr(self, key)
        if name == "best":
            return None
        head = head_of(name, model.shape, "z", f"intervention.{key}")
        if head[0] not in layers:
            raise LabError(
                f"intervention.{key}: got {name}, but its layer is not among those that are mapped, {layers}"
            )
        return head

    def _result(
        self,
        source: Side,
        target: Side,
        layers: tuple[list[int], list[int]],
        maps: Maps | None,
        heads: tuple[Head | None, Head | None],
    ) -> Crossing | Swap:
        """In one direction."""
        from ioi_lab.transfer.heads import swap
        from ioi_lab.transfer.vectors import Native, ThroughMaps, ThroughVocabulary, cross

        if self.method == "functional":
            assert maps is not None
            return swap(source, target, maps.forward, heads, self.position)
        one, other = (
            Native.of(side, self.alignment.site, self.position, own, self.vector)
            for side, own in zip((source, target), layers, strict=True)
        )
        carrier: Carrier
        if maps is not None:
            carrier = ThroughMaps(one, maps.forward, self.controls, self.seed)
        else:
            carrier = ThroughVocabulary.of(one, other, self.controls, self.seed)
        return cross(one, other, carrier, self.scales)
