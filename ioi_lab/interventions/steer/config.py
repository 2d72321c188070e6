"""Activation steering: add a direction at a layer or a head, sweep its scale, and see what it moves.

Methods: Turner et al. 2023 (arXiv 2308.10248), Rimsky et al. 2023 (arXiv 2312.06681). The direction comes from one half
of the prompts and is tried on the others. A positive scale pushes each prompt towards its answer, a negative one away
from it: along the vector where the answer lies on the contrast's positive side, against it where it lies on the other.
Random directions of the same norm are steered along beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field, model_validator

from ioi_lab.engine.edits import Edit, EditSet, Site
from ioi_lab.errors import LabError
from ioi_lab.interventions.base import Intervention, Measurement, Report
from ioi_lab.interventions.self_checks import check_gap, checked_run
from ioi_lab.models.selectors import (
    HeadSelector,
    IndexSelector,
    PositionSelector,
    cells_of,
    check_selectors,
    positions_of,
)
from ioi_lab.models.shape import ModelShape
from ioi_lab.stats.metrics import Array, Readout
from ioi_lab.stats.responses import Response
from ioi_lab.steering.contrasts import Contrast, ContrastName, contrast_of, without_names
from ioi_lab.steering.methods import (
    METHODS,
    Activations,
    Method,
    Vector,
    check_sides,
    fit_probe,
    mean_difference,
    probe_accuracy,
    random_direction,
    unembedding,
)
from ioi_lab.steering.vectors import activations_at
from ioi_lab.tasks.prompts import PromptPairs

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine
    from ioi_lab.models.loading import LabModel
    from ioi_lab.steering.side_effects import SideEffects

SCALES: Final = (-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0)
"""What `scale=all` stands for."""

KIND: Final = "steering vectors"
MIN_CONTROLS: Final = 5
TEXT_TOKENS: Final = 1024
"""So much ordinary text is read for side effects."""


@dataclass(frozen=True)
class Step:
    """What one unit of the scale adds at a site: `directions` by steered prompt, each towards that prompt's answer."""

    site: Site
    directions: Float[Array, "prompt d"]
    vector: Vector | None
    """The vector that they are made of; None where each prompt has its own."""

    site_norm: float
    """The mean norm of what the site holds in the steered prompts; of a residual site, the residual norm."""

    probed: Float[Array, "activation"] | None = None
    """Of a probe: 1 where it tells the side of a held-out activation."""

    @property
    def norms(self) -> Float[Array, "prompt"]:
        """How long each prompt's direction is."""
        norms: Array = np.linalg.norm(self.directions, axis=1)
        return norms

    @property
    def norm(self) -> float:
        """How long they are on average."""
        return float(self.norms.mean())

    @property
    def name(self) -> str:
        """The site in a file of vectors, such as `resid_pre.22.END` or `z.9.6.END`."""
        parts = (self.site.component, self.site.layer, self.site.head, self.site.position)
        return ".".join(str(part) for part in parts if part is not None)

    def edits(self, scales: Sequence[float]) -> list[EditSet]:
        """An edit set a scale."""
        return added(self.site, self.directions, scales)


@dataclass(frozen=True)
class Steering:
    """What was steered, and what came of it. Readouts `[edit_set, prompt]` go site by site, then scale by scale."""

    model: LabModel
    contrast: Contrast
    steps: list[Step]
    scales: list[float]
    clean: Readout
    corrupted: Readout
    steered: Readout
    checks: dict[str, float]
    responses: list[Response]
    """The logit difference of each site."""

    best: int
    """The site whose response is steepest."""

    controls: Readout | None
    """There, random directions of the same norm: direction by direction, then scale by scale."""

    text: str
    """The name of the text that side effects were measured on."""

    text_sites: list[int]
    """On which sites."""

    side_effects: SideEffects | None


class Steer(Intervention):
    """Steer at each selected layer × head × position, at each `scale`.

    `unit`: a scale of 1 adds the `vector` as it is, or a direction as long as what the site holds (`residual`).
    `position`: a label, a token index, a list, or `all`; the vector is read there (for `all`, at END). `vector`: a file
    that such a run has left, instead of a new one. `side_effects`: on how many sites, steepest first, ordinary `text`
    is steered too, at all its positions. `controls`: how many random directions.
    """

    pools_edits = True

    site: Literal["resid_pre", "resid_post", "z"]
    layer: IndexSelector
    head: HeadSelector
    position: PositionSelector
    scale: Literal["all"] | float | Annotated[list[float], Field(min_length=1)]
    unit: Literal["vector", "residual"]
    method: Method
    contrast: ContrastName
    names: Annotated[list[str], Field(min_length=2, max_length=2)]
    vector: str | None
    controls: Annotated[int, Field(ge=MIN_CONTROLS)]
    text: str | None
    side_effects: Literal["all"] | Annotated[int, Field(ge=0)]
    seed: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _selectors_fit(self) -> Steer:
        check_selectors(self.site, self.layer, self.head)
        if self.method == "unembedding" and self.site == "z":
            raise LabError(
                "intervention.method: got 'unembedding', a direction of the residual stream, but the site is z; "
                "expected site=resid_pre or resid_post"
            )
        return self

    @property
    def title(self) -> str:
        """Such as `steer resid_pre (mean difference, answer position)`."""
        method, contrast = (name.replace("_", " ") for name in (self.method, self.contrast))
        return f"steer {self.site} ({method}, {contrast})"

    @property
    def scales(self) -> list[float]:
        """Each scale once, in the order in which they are given."""
        chosen = SCALES if self.scale == "all" else [self.scale] if isinstance(self.scale, float) else self.scale
        return list(dict.fromkeys(float(scale) for scale in chosen))

    def check(self) -> None:
        """Tell a missing file before any model is loaded."""
        for name in ("text", "vector"):
            path = getattr(self, name)
            if path is not None and not Path(path).is_file():
                raise LabError(f"intervention.{name}: {path!r} is no file")

    def sites(self, shape: ModelShape, prompts: PromptPairs) -> list[Site]:
        """What is steered: layer, then head, then position."""
        cells = cells_of(self.site, self.layer, self.head, shape)
        positions = positions_of(self.position, prompts)
        return [Site(self.site, *cell, position) for cell in cells for position in positions]

    def observe(self, engine: Engine) -> Steering:
        """Make the vectors from one half of the prompts; steer the other half, at random too, and ordinary text."""
        sites = self.sites(engine.shape, engine.prompts)
        tokens, names = engine.model.tokens, (self.names[0], self.names[1])
        contrast = contrast_of(self.contrast, engine.prompts, tokens, names, self.seed)
        saved: dict[str, Vector] | None = None
        if self.vector is not None:
            saved, used = load_vectors(self, Path(self.vector), engine.model)
            contrast = without_names(contrast, used) if used else contrast
        held_out = engine.on(contrast.steered)
        clean, corrupted = held_out.baseline("clean"), held_out.baseline("corrupted")
        check_gap(clean, corrupted)

        steps = self._steps(held_out, contrast, sites, saved)
        plan = [edits for step in steps for edits in step.edits(self.scales)]
        steered, checks = checked_run(held_out, plan, "clean")
        moved = np.split(steered.logit_diff, len(steps))
        responses = [Response.of(self.scales, by_scale, clean.logit_diff[0]) for by_scale in moved]
        steepest = sorted(
            range(len(steps)), key=lambda index: (steps[index].norm == 0, -abs(responses[index].slopes.mean()))
        )
        text, text_sites, effects = self._side_effects(held_out, steps, steepest)
        return Steering(
            model=engine.model,
            contrast=contrast,
            steps=steps,
            scales=self.scales,
            clean=clean,
            corrupted=corrupted,
            steered=steered,
            checks=checks,
            responses=responses,
            best=steepest[0],
            controls=self._controls(held_out, contrast, steps[steepest[0]]),
            text=text,
            text_sites=text_sites,
            side_effects=effects,
        )

    def report(self, measurement: Measurement) -> Report:
        """A row a site and scale, and those of the random directions; curves, maps, slopes, the vectors as a file."""
        from ioi_lab.interventions.steer.report import SteeringReport

        return SteeringReport(self, measurement).report()

    def _steps(
        self, held_out: Engine, contrast: Contrast, sites: Sequence[Site], saved: Mapping[str, Vector] | None
    ) -> list[Step]:
        """What is added at each site."""
        own = activations_at(held_out, "clean", sites)
        norms = {site: float(np.linalg.norm(own[site], axis=1).mean()) for site in sites}
        signs = np.array(contrast.signs, dtype=np.float64)[:, None]
        if saved is None and self.method == "unembedding":
            toward = self._unembedding(held_out)
            one_for_all = bool(np.allclose(signs * toward, signs[0] * toward[0]))
            vector = signs[0] * toward[0] if one_for_all else None
            steps = [Step(site, toward, vector, norms[site]) for site in sites]
        elif saved is not None:
            steps = [Step(site, signs * self._of(saved, site), self._of(saved, site), norms[site]) for site in sites]
        else:
            steps = self._new_vectors(held_out, contrast, sites, norms, signs)
        return [_in_residual_norms(step) for step in steps] if self.unit == "residual" else steps

    def _new_vectors(
        self,
        held_out: Engine,
        contrast: Contrast,
        sites: Sequence[Site],
        norms: Mapping[Site, float],
        signs: Float[Array, "prompt 1"],
    ) -> list[Step]:
        positive, negative = _sides(held_out.on(contrast.training_sides), sites)
        if self.method == "logistic":
            held_positive, held_negative = _sides(held_out.on(contrast.held_out_sides), sites)
        steps = []
        for site in sites:
            vector, probed = self._vector(site, positive[site], negative[site]), None
            if self.method == "logistic":
                probe = fit_probe(positive[site], negative[site])
                probed = probe_accuracy(probe, held_positive[site], held_negative[site])
            steps.append(Step(site, signs * vector, vector, norms[site], probed))
        return steps

    def _vector(self, site: Site, positive: Activations, negative: Activations) -> Vector:
        if self.method == "random":
            check_sides(positive, negative, "random")
            norm = float(np.linalg.norm(mean_difference(positive, negative)))
            return random_direction(norm, positive.shape[1], self._seeds(site))
        return METHODS[self.method](positive, negative)

    def _unembedding(self, held_out: Engine) -> Float[Array, "prompt d_model"]:
        """Each prompt's own direction towards its answer."""
        weights = held_out.model.bridge.unembed.W_U.detach()  # [d_model, vocab]
        answers = [pair.answer_id for pair in held_out.prompts]
        distractors = [pair.distractor_id for pair in held_out.prompts]
        return unembedding(*(weights[:, ids].T.double().cpu().numpy() for ids in (answers, distractors)))

    def _of(self, saved: Mapping[str, Vector], site: Site) -> Vector:
        """The saved vector of a site."""
        name = Step(site, np.empty((0, 0)), None, 0.0).name
        if name not in saved:
            raise LabError(f"intervention.vector: {self.vector!r} has no vector for {name}; it has {', '.join(saved)}")
        return saved[name]

    def _controls(self, held_out: Engine, contrast: Contrast, step: Step) -> Readout | None:
        """Random directions of the step's norm, which push as it does."""
        if step.norm == 0:
            return None
        lengths = np.array(contrast.signs) * step.norms
        plan: list[EditSet] = []
        for index in range(self.controls):
            unit = random_direction(1.0, step.directions.shape[1], [*self._seeds(step.site), index])
            plan += added(step.site, np.outer(lengths, unit), self.scales)
        return held_out.run(plan, "clean")

    def _seeds(self, site: Site) -> list[int]:
        """So that a site has the same random directions in a grid and alone."""
        return [self.seed, site.layer, 0 if site.head is None else site.head + 1]

    def _side_effects(
        self, held_out: Engine, steps: Sequence[Step], steepest: Sequence[int]
    ) -> tuple[str, list[int], SideEffects | None]:
        """Each passage is steered as one of the prompts is, in turn."""
        from ioi_lab.lenses.logit import check_readout
        from ioi_lab.steering.side_effects import side_effects
        from ioi_lab.tasks.text import default_text, passages

        chosen = list(steepest if self.side_effects == "all" else steepest[: self.side_effects])
        path = Path(self.text) if self.text is not None else default_text(held_out.model)
        if not chosen:
            return path.name, [], None
        check_readout(held_out, "clean", Site("resid_post", held_out.shape.n_layers - 1))
        text = passages(held_out.model, path, "intervention.text", TEXT_TOKENS)
        plan: list[EditSet] = []
        for index in chosen:
            step = steps[index]
            in_turn = step.directions[np.arange(len(text)) % len(step.directions)]
            plan += added(replace(step.site, position="all"), in_turn, self.scales)
        return path.name, chosen, side_effects(held_out.on(text), plan)


def added(site: Site, directions: Float[Array, "prompt d"], scales: Sequence[float]) -> list[EditSet]:
    """An edit set a scale, which adds the scaled directions."""
    import torch

    value = torch.from_numpy(directions).float()
    return [(Edit(site, "add", value, scale),) for scale in scales]


def save_vectors(steer: Steer, steering: Steering, task: str) -> bytes | None:
    """The vectors as safetensors with what they are; None where each prompt has its own."""
    import torch

    from ioi_lab.storage.tensors import tensor_file

    vectors = {step.name: torch.from_numpy(step.vector).float() for step in steering.steps if step.vector is not None}
    if not vectors:
        return None
    sites = {
        step.name: {
            "component": step.site.component,
            "layer": step.site.layer,
            "head": step.site.head,
            "norm": float(np.linalg.norm(step.vector)),
            "site_norm": step.site_norm,
        }
        for step in steering.steps
        if step.vector is not None
    }
    training = [prompt.steered for prompt in steering.contrast.training] if steering.contrast.names_differ else []
    return tensor_file(
        vectors,
        steering.model,
        KIND,
        task=task,
        method=steer.method,
        contrast=steer.contrast,
        names=json.dumps(steer.names if steer.contrast == "name_pair" else []),
        seed=str(steer.seed),
        n_training=str(len(steering.contrast.training)),
        training_names=json.dumps(sorted({name for pair in training for name in (pair.answer, pair.distractor)})),
        sites=json.dumps(sites),
    )


def load_vectors(steer: Steer, path: Path, model: LabModel) -> tuple[dict[str, Vector], list[str]]:
    """The vectors of a file by site, and the names in the prompts that they were made from.

    A `LabError` for those of another model or width, and for a config that says they are something else.
    """
    from ioi_lab.storage.tensors import read_tensor_file

    key = "intervention.vector"
    provenance, tensors = read_tensor_file(path, model.origin, KIND, key, model.device)
    said: dict[str, str] = {"method": steer.method, "contrast": steer.contrast}
    if steer.contrast == "name_pair":
        said["names"] = json.dumps(steer.names)
    for name, value in said.items():
        if provenance.get(name) != value:
            theirs = str(provenance.get(name)).replace('"', "").replace(" ", "")
            raise LabError(
                f"{key}: {str(path)!r} was made with {name}={theirs}, but intervention.{name} is "
                f"{getattr(steer, name)}; add intervention.{name}={theirs}"
            )
    width = model.shape.d_head if steer.site == "z" else model.shape.d_model
    for name, tensor in tensors.items():
        if tuple(tensor.shape) != (width,):
            raise LabError(
                f"{key}: {str(path)!r} holds {name} of shape {list(tensor.shape)}; expected [{width}], the width of "
                f"{steer.site} in {model.shape.name}"
            )
    vectors = {name: tensor.double().cpu().numpy() for name, tensor in tensors.items()}
    return vectors, list(json.loads(provenance.get("training_names", "[]")))


def _sides(engine: Engine, sites: Sequence[Site]) -> tuple[dict[Site, Activations], dict[Site, Activations]]:
    return activations_at(engine, "clean", sites), activations_at(engine, "corrupted", sites)


def _in_residual_norms(step: Step) -> Step:
    """Directions as long as what the site holds; those without length stay so."""
    lengths = step.norms[:, None]
    factors = np.divide(step.site_norm, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return replace(step, directions=step.directions * factors)
