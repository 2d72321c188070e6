"""Ablation edits: replace activations by zeros, by means over prompts, or by those of other prompts.

Methods: the mean, at each position, over reference prompts of the same sentence with three unrelated names (Wang et al.
2022, arXiv 2211.00593); means over the prompts themselves; resampling (Chan et al. 2022, causal scrubbing).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Final, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ioi_lab.engine.edits import Edit, EditSet, FromPass, Pass, Site
from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.models.shape import Component
from ioi_lab.tasks.ioi_references import ReferencePrompts, abc_references
from ioi_lab.tasks.positions import ALL_BUT
from ioi_lab.tasks.prompts import PromptPairs

AblationMethod = Literal["zero", "mean", "mean_by_position", "resample"]
Reference = Literal["clean", "corrupted", "random", "abc"]

N_REFERENCE: Final = 64
"""The number of reference prompts for each sentence and order of names."""


def ablation_edits(
    engine: Engine,
    site_sets: Sequence[Sequence[Site]],
    method: AblationMethod = "mean",
    reference: Reference = "corrupted",
    base: Pass = "clean",
    seed: int = 0,
    n_reference: int = N_REFERENCE,
) -> list[EditSet]:
    """Return, for each set of sites, the edits that replace their activations by zeros, means or those of others.

    Args:
        engine: The engine whose prompts the means are taken over.
        site_sets: The sites that each edit set ablates, all of one component. Layer by layer is fastest.
        method: `zero`; `mean` over all prompts and positions; `mean_by_position` over all prompts at each label, or, if
            sites are not labelled, over prompts of one length at each token index; `resample`, another prompt's
            activation.
        reference: The pass that means are taken over. For `resample`, the pass of the prompt's twin, or a `random`
            other prompt of the same pass, of the same length if positions are token indices. For `mean_by_position`
            also `abc`: at each token index, the mean over `n_reference` prompts of the same sentence and order of names
            with three unrelated names (see `ioi_lab.tasks.ioi_references`).
        base: The pass that is edited.
        seed: Draws the random other prompts and the reference prompts.
        n_reference: The number of reference prompts for each sentence and order of names.

    Raises:
        LabError: `mean_by_position` or `random` needs a second prompt of some length, or `abc` prompts of `task=ioi`.

    """
    if method == "zero":
        return [[Edit(site, "zero") for site in sites] for sites in site_sets]
    if reference == "abc":
        return _reference_edits(engine, site_sets, seed, n_reference)
    source: Pass = base if reference == "random" else reference
    if method == "resample" and reference != "random":
        return [[Edit(site, "replace", FromPass(source)) for site in sites] for sites in site_sets]

    @lru_cache(maxsize=1)  # sites come layer by layer
    def recorded(component: Component, layer: int) -> Float[Tensor, "prompt pos heads_width"]:
        whole = Site(component, layer)
        return engine.record(source, [whole])[whole]

    @cache  # sites at several positions share what is written
    def value(component: Component, layer: int, head: int | None, label: str | None) -> Float[Tensor, "..."]:
        activation = recorded(component, layer)
        if head is not None:
            activation = activation.unflatten(-1, (engine.shape.heads(component), -1))[:, :, head]
        return _replacement(activation, label, engine.prompts, method, seed)

    def edit(site: Site) -> Edit:
        return Edit(site, "replace", value(site.component, site.layer, site.head, _label(site, method)))

    return [[edit(site) for site in sites] for sites in site_sets]


def _reference_edits(engine: Engine, site_sets: Sequence[Sequence[Site]], seed: int, n_reference: int) -> list[EditSet]:
    """Return the edits that write the means over the reference prompts of each prompt's sentence and order."""
    references = abc_references(engine.prompts, engine.model.tokens, n_reference, seed)
    means = _means_by_cell(engine, references, {site.whole for sites in site_sets for site in sites})

    @cache  # sites at several positions share what is written
    def value(component: Component, layer: int, head: int | None) -> Float[Tensor, "prompt pos width"]:
        mean = means[Site(component, layer)]
        if head is not None:
            mean = mean.unflatten(-1, (engine.shape.heads(component), -1))[:, :, head]
        return mean

    return [
        [Edit(site, "replace", value(site.component, site.layer, site.head)) for site in sites] for sites in site_sets
    ]


def _means_by_cell(
    engine: Engine, references: ReferencePrompts, sites: set[Site]
) -> dict[Site, Float[Tensor, "prompt pos heads_width"]]:
    """Return the mean activation over each prompt's reference prompts, which have its length."""
    longest, device = engine.prompts.longest, engine.model.device
    weights = torch.zeros(len(engine.prompts), len(references.prompts), device=device)
    for prompt, indices in enumerate(references.of_prompt):
        weights[prompt, indices] = 1 / len(indices)
    ordered = sorted(sites, key=lambda site: (site.layer, site.stage))
    means = {
        site: torch.zeros(len(engine.prompts), longest, site.width(engine.shape, longest), device=device)
        for site in ordered
    }
    for rows, activations in engine.on(references.prompts).stream("clean", ordered):
        for site, activation in activations.items():
            n_positions, width = activation.shape[1:]
            of_prompts = torch.einsum("nr,rpw->npw", weights[:, list(rows)], activation)
            means[site][:, :n_positions, :width] += of_prompts
    return means


def _label(site: Site, method: AblationMethod) -> str | None:
    """Return the label at which prompts are compared; None to compare them by token index.

    Several positions are compared by index, and so are patterns, whose keys line up in no other way.
    """
    is_label = isinstance(site.position, str) and site.position != "all" and not site.position.startswith(ALL_BUT)
    return str(site.position) if is_label and method != "mean" and site.component != "pattern" else None


def _replacement(
    activation: Float[Tensor, "prompt pos width"],
    label: str | None,
    prompts: PromptPairs,
    method: AblationMethod,
    seed: int,
) -> Float[Tensor, "..."]:
    """Return what is written, given the activation in the reference prompts."""
    rows = list(range(len(prompts)))
    places = [prompt.index(label) for prompt in prompts] if label else []
    if method == "mean":
        return _mean_over_positions(activation, prompts)
    if method == "mean_by_position":
        return activation[rows, places].mean(dim=0) if label else _mean_by_index(activation, prompts)
    others = _other_prompts(prompts, seed, same_length=label is None)
    return activation[others, [places[other] for other in others]] if label else activation[others]


def _mean_over_positions(activation: Float[Tensor, "prompt pos width"], prompts: PromptPairs) -> Float[Tensor, "width"]:
    n_positions = sum(len(prompt) for prompt in prompts)
    return activation.sum(dim=(0, 1)) / n_positions  # shorter prompts are filled with zeros


def _mean_by_index(
    activation: Float[Tensor, "prompt pos width"], prompts: PromptPairs
) -> Float[Tensor, "prompt pos width"]:
    """Return, at each token index, the mean over the prompts of the same length."""
    means = activation.clone()
    for length, rows in prompts.buckets().items():
        _check_two_prompts(length, rows, "mean_by_position")
        means[rows] = activation[rows].mean(dim=0, keepdim=True)
    return means


def _other_prompts(prompts: PromptPairs, seed: int, *, same_length: bool) -> list[int]:
    """Return another prompt for each, of the same length if positions are token indices; each is used once."""
    rng = np.random.default_rng(seed)
    others = list(range(len(prompts)))
    groups = prompts.buckets() if same_length else {None: list(range(len(prompts)))}
    for length, rows in groups.items():
        _check_two_prompts(length, rows, "resample from random prompts")
        shuffled = rng.permutation(rows).tolist()
        for row, successor in zip(shuffled, shuffled[1:] + shuffled[:1], strict=True):
            others[row] = successor
    return others


def _check_two_prompts(length: int | None, rows: list[int], method: str) -> None:
    if len(rows) < 2 and length is None:
        raise LabError(f"intervention.method: {method} needs two prompts, but there is one")
    if len(rows) < 2:
        raise LabError(
            f"intervention.method: {method} needs two prompts of each length, but only one has {length} tokens; take "
            "more prompts or one template"
        )
