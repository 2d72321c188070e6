"""Maps between heads that are trained by stitching: with the image, the target is to predict what it does with its own.

A map starts as the one that `OutputMaps` fits, without the training prompts of a fold of answers, which shows when to
stop. Then AdamW minimizes KL(own ‖ stitched) of the next-token distributions at END over the training prompts of all
other answers: *own* is the corrupted pass with the head's own clean output, *stitched* the one with the image.
In training as afterwards, the image is as long as the own deviation. A map has no constant of its own: means of outputs
are mapped to means, so that the training cannot find a vector that is added whatever the source's head writes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from ioi_lab.alignment.stitching import NO_TOKEN, StitchBatch, kl_from_own, log_probs, texts_that_fit
from ioi_lab.alignment.trained_maps import STOPPING_FOLD
from ioi_lab.alignment.training import LossCurve, Objective, Parameters, TrainingSettings, train
from ioi_lab.engine.edits import Site
from ioi_lab.engine.memory import MemoryGb
from ioi_lab.models.heads import head_name
from ioi_lab.stats.metrics import Array
from ioi_lab.steering.vectors import activations_at
from ioi_lab.tasks.prompts import Position
from ioi_lab.transfer.head_images import head_outputs, mean_outputs
from ioi_lab.transfer.head_maps import Contrasts, Head, HeadMaps, MapTraining, OutputMaps, Outputs
from ioi_lab.transfer.shared_prompts import ModelOnPrompts


@dataclass(frozen=True)
class Place:
    """A head of the target in the corrupted pass of the training prompts."""

    site: Site
    """The output of the attention of its layer."""

    without: Float[Tensor, "prompt d_target"]
    """That output with the head's mean in the place of what it writes."""

    own: Float[Tensor, "prompt d_target"]
    """The deviation of the head's clean output from its mean, which images replace."""


@dataclass(frozen=True)
class StitchedMaps(HeadMaps):
    """Maps of each pair of heads, which are trained when they are first asked for."""

    target: ModelOnPrompts
    contrasts: tuple[Contrasts, Contrasts]
    deviations: Outputs
    """The deviations of the source heads' clean outputs from their means, on the training prompts."""

    start: OutputMaps
    position: Position
    settings: TrainingSettings
    memory_gb: MemoryGb
    curves: dict[tuple[Head, Head], LossCurve] = field(default_factory=dict)
    _trained: dict[tuple[Head, Head], Float[Array, "d_source d_target"]] = field(default_factory=dict)
    _places: dict[Head, Place] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        source: ModelOnPrompts,
        target: ModelOnPrompts,
        contrasts: tuple[Contrasts, Contrasts],
        position: Position,
        settings: TrainingSettings,
        memory_gb: MemoryGb,
    ) -> Self:
        """Return the maps; raises a `LabError` if the answers that are trained on are too few to fit a map to."""
        heads = list(contrasts[0].training)
        means, outputs = mean_outputs(source, heads, position), head_outputs(source.training, "clean", heads, position)
        deviations = {head: output - means[head] for head, output in outputs.items()}
        start = OutputMaps(contrasts[0].without_fold(STOPPING_FOLD), contrasts[1].without_fold(STOPPING_FOLD))
        return cls(target, contrasts, deviations, start, position, settings, memory_gb)

    @override
    def matrix(self, source: Head, target: Head) -> Float[Array, "d_source d_target"]:
        if (source, target) not in self._trained:
            self._trained[source, target] = self._train(source, target)
        return self._trained[source, target]

    @override
    def r2(self, source: Head, target: Head) -> float:
        """Return the share of the held-out prompts' contrast (not centred) that the map explains."""
        x, y = self.contrasts[0].held_out[source], self.contrasts[1].held_out[target]
        return 1 - float(np.square(y - x @ self.matrix(source, target)).sum() / np.square(y).sum())

    @property
    @override
    def unseen(self) -> list[int]:
        unseen: list[int] = np.flatnonzero(self.contrasts[0].fold == STOPPING_FOLD).tolist()
        return unseen

    @property
    @override
    def training(self) -> MapTraining | None:
        return MapTraining(self.curves) if self.curves else None

    def objective(self, source: Head, target: Head) -> Objective[StitchBatch]:
        """Return what is trained: `matrix` takes deviations in root mean squares to images in root mean squares."""
        model, place, x = self.target.model, self._place(target), self._standardized(source)
        start = torch.from_numpy(self.start.matrix(source, target)).to(x)
        start = start / (x @ start).square().mean().sqrt().clamp(min=torch.finfo(x.dtype).tiny)
        is_stopping = self.contrasts[0].fold == STOPPING_FOLD
        training, stopping = (np.flatnonzero(rows).tolist() for rows in (~is_stopping, is_stopping))

        def epoch(seed: int) -> list[StitchBatch]:
            generator = torch.Generator().manual_seed(seed)
            order = torch.randperm(len(training), generator=generator).tolist()
            batches = self._batches([training[index] for index in order], x)
            return [batches[index] for index in torch.randperm(len(batches), generator=generator).tolist()]

        def loss(parameters: Parameters, batch: StitchBatch) -> Tensor:
            without, prompts = place.without[batch.texts], batch.texts
            with torch.no_grad():
                own = log_probs(model, place.site, batch, without + place.own[prompts])
            image = batch.x @ parameters["matrix"] * _scale(x, parameters["matrix"], place.own)
            return kl_from_own(own, log_probs(model, place.site, batch, without + image)).mean()

        return Objective({"matrix": start}, epoch, loss, self._batches(training, x), self._batches(stopping, x), len)

    def _train(self, source: Head, target: Head) -> Float[Array, "d_source d_target"]:
        start = self.start.matrix(source, target)
        if not (self.deviations[source] @ start).any():
            return start
        what = f"map from head {head_name(source)} to head {head_name(target)} of {self.target.name}"
        parameters, self.curves[source, target] = train(self.objective(source, target), self.settings, what)
        x = self._standardized(source)
        scaled = parameters["matrix"] * _scale(x, parameters["matrix"], self._place(target).own)
        matrix: Array = scaled.double().cpu().numpy() / self._rms(source)
        return matrix

    def _rms(self, source: Head) -> float:
        return float(np.sqrt(np.square(self.deviations[source]).mean())) or 1.0

    def _standardized(self, source: Head) -> Float[Tensor, "prompt d_source"]:
        standardized = torch.from_numpy(self.deviations[source] / self._rms(source))
        return standardized.float().to(self.target.model.device)

    def _place(self, head: Head) -> Place:
        if head not in self._places:
            engine, site = self.target.training, Site("attn_out", head[0], None, self.position)
            mean = mean_outputs(self.target, [head], self.position)[head]
            clean, corrupted = (
                head_outputs(engine, which, [head], self.position)[head] for which in ("clean", "corrupted")
            )
            without = activations_at(engine, "corrupted", [site])[site] - corrupted + mean
            on_device = (torch.from_numpy(each).float().to(engine.model.device) for each in (without, clean - mean))
            self._places[head] = Place(site, *on_device)
        return self._places[head]

    def _batches(self, prompts: Sequence[int], x: Float[Tensor, "prompt d_source"]) -> list[StitchBatch]:
        """Return batches of corrupted training prompts of one length each, whose head's position is written."""
        pairs, model = self.target.training.prompts, self.target.model
        by_length: dict[int, list[int]] = defaultdict(list)
        for index in prompts:
            by_length[len(pairs[index].corrupted_tokens)].append(index)
        batches = []
        for length, of_length in sorted(by_length.items()):
            size = texts_that_fit(length, self.settings.batch, model, self.memory_gb)
            for first in range(0, len(of_length), size):
                rows = of_length[first : first + size]
                batches.append(self._batch(rows, x))
        return batches

    def _batch(self, prompts: Sequence[int], x: Float[Tensor, "prompt d_source"]) -> StitchBatch:
        pairs, device = [self.target.training.prompts[index] for index in prompts], self.target.model.device
        read, written = ([pair.index(place) for pair in pairs] for place in ("END", self.position))
        return StitchBatch(
            tokens=torch.tensor([pair.corrupted_tokens for pair in pairs], device=device),
            rows=torch.arange(len(pairs), device=device),
            places=torch.tensor(written, device=device),
            x=x[list(prompts)],
            next_tokens=torch.full((len(pairs),), NO_TOKEN, device=device),
            texts=torch.tensor(list(prompts), device=device),
            read_places=torch.tensor(read, device=device),
        )


def _scale(
    x: Float[Tensor, "prompt d_source"],
    matrix: Float[Tensor, "d_source d_target"],
    own: Float[Tensor, "prompt d_target"],
) -> Float[Tensor, ""]:
    """Return the factor by which all images together are as long as the own deviations, on the training prompts."""
    length: Tensor = (x @ matrix).norm().clamp(min=torch.finfo(x.dtype).tiny)
    return torch.div(own.norm(), length)
