"""What steering adds at each site: the directions of one unit of the scale, and the vectors that they are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from jaxtyping import Float

from ioi_lab.engine.edits import EditSet, Site
from ioi_lab.errors import LabError
from ioi_lab.stats.metrics import Array
from ioi_lab.steering.contrasts import Contrast, contrast_of, without_names
from ioi_lab.steering.files import read_vectors, vector_name
from ioi_lab.steering.methods import VECTOR_METHODS, Activations, Probe, Vector
from ioi_lab.steering.vectors import activations_at, add_direction

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine
    from ioi_lab.models.shape import Component

Unit = Literal["vector", "residual"]


@dataclass(frozen=True)
class VectorSource:
    """Where the vectors come from: a method and a contrast, or a file of vectors that were made with them."""

    method: str
    contrast: str
    names: tuple[str, str]
    """The two names of a contrast that replaces those of the prompts."""

    file: Path | None
    seed: int

    def seeds(self, site: Site) -> list[int]:
        """Return the seed of a site's random directions, which are the same in a grid and for the site alone."""
        return [self.seed, site.layer, 0 if site.head is None else site.head + 1]


@dataclass(frozen=True)
class Step:
    """What one unit of the scale adds at a site."""

    site: Site

    directions: Float[Array, "prompt d"]
    """For each steered prompt, the direction towards its answer."""

    norms: Float[Array, "prompt"]
    """The length of each direction."""

    norm: float
    """The mean length."""

    vector: Vector | None
    """The vector that all directions are made of; None if each prompt has its own."""

    site_norm: float
    """The mean norm of the site's activations in the steered prompts; for a residual site, the residual norm."""

    probed: Float[Array, "activation"] | None
    """If the vector is that of a probe: 1 for each held-out activation whose side the probe recognises, else 0."""

    @classmethod
    def of(
        cls,
        site: Site,
        directions: Float[Array, "prompt d"],
        vector: Vector | None,
        site_norm: float,
        probed: Float[Array, "activation"] | None = None,
    ) -> Self:
        """Return the step that adds `directions`."""
        norms = np.linalg.norm(directions, axis=1)
        return cls(site, directions, norms, float(norms.mean()), vector, site_norm, probed)

    def in_residual_norms(self) -> Step:
        """Return the step with directions as long as the site's mean activation; those without length stay so."""
        lengths = self.norms[:, None]
        factors = np.divide(self.site_norm, lengths, out=np.zeros_like(lengths), where=lengths > 0)
        return self.of(self.site, self.directions * factors, self.vector, self.site_norm, self.probed)

    def edits(self, scales: Sequence[float]) -> list[EditSet]:
        """Return one edit set per scale."""
        return add_direction(self.site, self.directions, scales)

    def edits_on_text(self, scales: Sequence[float], n_passages: int) -> list[EditSet]:
        """Return one edit set per scale, at all positions of passages that are steered as the prompts are, in turn."""
        in_turn = self.directions[np.arange(n_passages) % len(self.directions)]
        return add_direction(replace(self.site, position="all"), in_turn, scales)


def contrast_and_saved(
    engine: Engine, component: Component, source: VectorSource
) -> tuple[Contrast, dict[str, Vector] | None]:
    """Return the contrast of the engine's prompts, and the vectors of the file, by their names, if there is one.

    All prompts that have no name of those that the saved vectors were made from are steered.
    """
    contrast = contrast_of(source.contrast, engine.prompts, engine.model.tokens, source.names, source.seed)
    if source.file is None:
        return contrast, None
    saved, used = read_vectors(
        source.file,
        engine.model,
        component,
        method=source.method,
        contrast=source.contrast,
        names=source.names,
        key="intervention.vector",
    )
    return (without_names(contrast, used) if used else contrast), saved


def steps_of(
    held_out: Engine,
    contrast: Contrast,
    sites: Sequence[Site],
    source: VectorSource,
    saved: Mapping[str, Vector] | None,
    unit: Unit,
) -> list[Step]:
    """Return what is added at each site.

    Args:
        held_out: The engine on the steered prompts.
        contrast: The contrast, whose training prompts new vectors are made from.
        sites: The steered sites.
        source: The method and the contrast of the vectors.
        saved: The vectors of a file, by name, if there is one.
        unit: A scale of 1 adds the vector as it is, or a direction as long as the site's activation (`residual`).

    Raises:
        LabError: The file has no vector of a site, or the contrast has too few prompts for the method.

    """
    activations = activations_at(held_out, "clean", sites)
    norms = {site: float(np.linalg.norm(activations[site], axis=1).mean()) for site in sites}
    signs = np.array(contrast.signs, dtype=np.float64)[:, None]
    if saved is not None:
        vectors = {site: _saved_vector(saved, site, source) for site in sites}
        steps = [Step.of(site, signs * vector, vector, norms[site]) for site, vector in vectors.items()]
    elif VECTOR_METHODS[source.method].needs == "unembedding":
        steps = _unembedding_steps(held_out, source, signs, norms)
    else:
        steps = _new_steps(held_out, contrast, source, signs, norms)
    return [step.in_residual_norms() for step in steps] if unit == "residual" else steps


def _saved_vector(saved: Mapping[str, Vector], site: Site, source: VectorSource) -> Vector:
    name = vector_name(site)
    if name not in saved:
        raise LabError(f"intervention.vector: {str(source.file)!r} has no vector for {name}; it has {', '.join(saved)}")
    return saved[name]


def _unembedding_steps(
    held_out: Engine, source: VectorSource, signs: Float[Array, "prompt 1"], norms: Mapping[Site, float]
) -> list[Step]:
    if any(len(ids) > 1 for pair in held_out.prompts for ids in (pair.answer_ids, pair.distractor_ids)):
        raise LabError(
            f"intervention.method: got {source.method!r}, which needs prompts with one answer and one distractor; "
            "these have sets of them, whose logit is not linear in the unembedding; choose another method"
        )
    weights = held_out.model.bridge.unembed.W_U.detach()  # [d_model, vocab]
    ids = [pair.answer_id for pair in held_out.prompts], [pair.distractor_id for pair in held_out.prompts]
    columns = (weights[:, chosen].T.double().cpu().numpy() for chosen in ids)
    directions: Array = VECTOR_METHODS[source.method].function(*columns)
    all_from_one = bool(np.allclose(signs * directions, signs[0] * directions[0]))
    vector = signs[0] * directions[0] if all_from_one else None
    return [Step.of(site, directions, vector, norm) for site, norm in norms.items()]


def _new_steps(
    held_out: Engine,
    contrast: Contrast,
    source: VectorSource,
    signs: Float[Array, "prompt 1"],
    norms: Mapping[Site, float],
) -> list[Step]:
    """Return the steps of vectors that are made from the training prompts."""
    method, sites = VECTOR_METHODS[source.method], list(norms)
    positive, negative = _sides(held_out.on(contrast.training_sides), sites)
    made = {site: method.make(positive[site], negative[site], source.seeds(site)) for site in sites}
    if method.is_probe:
        held_positive, held_negative = _sides(held_out.on(contrast.held_out_sides), sites)
    steps = []
    for site, part in made.items():
        if isinstance(part, Probe):
            probed = part.correct(held_positive[site], held_negative[site])
            steps.append(Step.of(site, signs * part.vector, part.vector, norms[site], probed))
        else:
            steps.append(Step.of(site, signs * part, part, norms[site]))
    return steps


def _sides(engine: Engine, sites: Sequence[Site]) -> tuple[dict[Site, Activations], dict[Site, Activations]]:
    return activations_at(engine, "clean", sites), activations_at(engine, "corrupted", sites)
