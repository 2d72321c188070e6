"""The options of `conf/alignment/`: which layers are mapped, and how."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, Field

from ioi_lab.alignment.maps import MAP_METHODS
from ioi_lab.config import LabConfig, Renamed
from ioi_lab.models.selectors import IndexSelector

MIN_TRAINED_TEXTS: Final = 20
"""The least number of texts that maps are trained on."""

MAX_ANCHORS: Final = 1000
"""The greatest number of anchors: as many texts as have activations that are kept in memory."""

PairOfLayers = tuple[int, int]
"""A layer of the model that is mapped from, and one of the model that is mapped to."""

Stream = Literal["resid_pre", "resid_post"]
"""The residual stream before or after a layer."""


LayerRule = Literal["all", "depth", "best"]
"""Which pairs of layers get maps: see `layer_pairs`."""


class AlignmentConfig(LabConfig):
    """One option of `conf/alignment/`.

    `method`: the name of a map method. `component`: which residual stream. `source_layers`, `target_layers` and
    `layers`: which layers are mapped, and to which (see `layer_pairs`). `positions`: all positions that both models
    have, only the last one of each text, or those with labels in the prompts of a task. `held_out`: the share of the
    texts that maps are tried on. `folds`: the number of parts of the other texts, for choosing the ridge penalty by
    cross-validation. `rank`: the rank of the maps of `lowrank`. `anchors`: the number of texts whose activations are
    the anchors of `anchors`. `hidden`: the width of the hidden layer of `mlp`.

    `affine_trained` and `mlp` are trained by AdamW on at most `train_texts` texts, for at most `steps` steps of `batch`
    texts with `learning_rate` and `weight_decay`. They stop after `patience` evaluations, one every `evaluate_every`
    steps, without an improvement on texts that are not trained on. `stitched_texts`: the number of held-out texts on
    which the models run with mapped activations. `options`: the keys of a map method of your own.
    """

    renamed_keys: ClassVar = {"site": Renamed("component")}

    method: Annotated[str, AfterValidator(MAP_METHODS.check)] = "ridge"
    component: Stream = "resid_post"
    source_layers: IndexSelector = "all"
    target_layers: IndexSelector = "all"
    layers: LayerRule = "all"
    positions: Literal["all", "last", "labels"] = "all"
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.2
    folds: Annotated[int, Field(ge=2)] = 5
    rank: Annotated[int, Field(ge=1)] = 16
    anchors: Annotated[int, Field(ge=1, le=MAX_ANCHORS)] = 500
    hidden: Annotated[int, Field(ge=1)] = 512
    steps: Annotated[int, Field(ge=1)] = 500
    batch: Annotated[int, Field(ge=1)] = 32
    learning_rate: Annotated[float, Field(gt=0)] = 0.001
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    evaluate_every: Annotated[int, Field(ge=1)] = 25
    patience: Annotated[int, Field(ge=1)] = 4
    train_texts: Annotated[int, Field(ge=MIN_TRAINED_TEXTS)] = 2000
    stitched_texts: Annotated[int, Field(ge=0)] = 100
    options: dict[str, Any] = Field({})

    @property
    def title(self) -> str:
        """The kind of map in figures, such as `ridge map`."""
        return MAP_METHODS[self.method].title_form.format(rank=self.rank)
