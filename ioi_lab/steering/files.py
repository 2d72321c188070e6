"""Files of steering vectors: what a run writes as `vectors.safetensors` and another run reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from pydantic import BaseModel, Field, FiniteFloat, Json

from ioi_lab.engine.edits import Site
from ioi_lab.steering.contrasts import CONTRASTS, ContrastPrompt
from ioi_lab.steering.methods import Vector
from ioi_lab.storage.tensors import Metadata, ModelOrigin, TensorFile, TensorKind

if TYPE_CHECKING:
    from ioi_lab.models.loading import LabModel
    from ioi_lab.models.shape import Component


class SavedSite(BaseModel):
    """What a file says about the site of a vector."""

    component: str
    layer: int
    head: int | None = None
    norm: FiniteFloat
    """The norm of the vector."""

    site_norm: FiniteFloat
    """The mean norm of the site's activations."""


class VectorMetadata(Metadata):
    """How the vectors of a file were made."""

    method: str
    contrast: str
    names: Json[list[str]] = Field([])
    training_names: Json[list[str]] = Field([])
    """The names in the prompts that the vectors were made from, if these are kept out of the steered prompts."""

    sites: Json[dict[str, SavedSite]]


VECTORS: Final = TensorKind("steering vectors", VectorMetadata)
_ROUNDING: Final = 1e-3
"""The largest relative difference between the norm of a vector and the one that its file records."""


def vector_name(site: Site) -> str:
    """Return the name of a site's vector in a file, such as `resid_pre.22.END` or `z.9.6.END`."""
    parts = (site.component, site.layer, site.head, site.position)
    return ".".join(str(part) for part in parts if part is not None)


def vector_file(
    vectors: Mapping[Site, Vector],
    site_norms: Mapping[Site, float],
    origin: ModelOrigin,
    *,
    task: str,
    method: str,
    contrast: str,
    names: Sequence[str],
    seed: int,
    training: Sequence[ContrastPrompt],
    names_differ: bool,
) -> bytes:
    """Return vectors as a safetensors file with their provenance.

    Args:
        vectors: The vector of each site.
        site_norms: The mean norm of the activations of each site.
        origin: The model that they belong to.
        task: The title of the task.
        method: The vector method.
        contrast: The contrast.
        names: The two names of `intervention.names`; they are written if the contrast uses them.
        seed: The seed of the split.
        training: The prompts that the vectors were made from.
        names_differ: Whether the names of these prompts were kept out of the steered prompts; they are written if so.

    """
    import torch

    sites = {
        vector_name(site): {
            "component": site.component,
            "layer": site.layer,
            "head": site.head,
            "norm": float(np.linalg.norm(vector)),
            "site_norm": site_norms[site],
        }
        for site, vector in vectors.items()
    }
    trained = [prompt.steered for prompt in training] if names_differ else []
    return VECTORS.content(
        {vector_name(site): torch.from_numpy(vector).float() for site, vector in vectors.items()},
        origin,
        task=task,
        method=method,
        contrast=contrast,
        names=json.dumps(list(names) if CONTRASTS[contrast].replaces_names else []),
        seed=str(seed),
        n_training=str(len(training)),
        training_names=json.dumps(sorted({name for pair in trained for name in (*pair.answers, *pair.distractors)})),
        sites=json.dumps(sites),
    )


def read_vectors(
    path: Path, model: LabModel, component: Component, *, method: str, contrast: str, names: Sequence[str], key: str
) -> tuple[dict[str, Vector], list[str]]:
    """Return the vectors of a file by `vector_name`, and the names in the prompts that they were made from.

    Raises a `LabError` that names the config key `key` for a file that is not one of steering vectors, for vectors of
    another model or width, and if they were made with another `method`, `contrast` or other `names`.
    """
    file = VECTORS.read(path, key, model.device)
    file.check_model(model.origin)
    _check_provenance(file, method, contrast, names)
    width = Site(component, 0, 0 if component == "z" else None).width(model.shape, 0)
    reason = f"the width of {component} in {model.shape.name}"
    file.check_shapes(dict.fromkeys(file.metadata.sites, (width,)), reason)
    vectors = {name: tensor.double().cpu().numpy() for name, tensor in file.tensors.items()}
    for name, site in file.metadata.sites.items():
        parts = [site.component, site.layer, *([] if site.head is None else [site.head])]
        if not f"{name}.".startswith("".join(f"{part}." for part in parts)):
            file.refuse(f"has {name} for {' '.join(map(str, parts))}; expected one site")
        if abs(np.linalg.norm(vectors[name]) - site.norm) > _ROUNDING * abs(site.norm):
            file.refuse(f"has {name} with another norm than it records ({site.norm:.4g}); it was changed")
    return vectors, file.metadata.training_names


def _check_provenance(file: TensorFile[VectorMetadata], method: str, contrast: str, names: Sequence[str]) -> None:
    """Raise a `LabError` if the config asks for other vectors than those of the file."""
    expected: dict[str, tuple[object, object]] = {
        "method": (method, file.metadata.method),
        "contrast": (contrast, file.metadata.contrast),
    }
    if CONTRASTS[contrast].replaces_names:
        expected["names"] = list(names), file.metadata.names
    for name, (value, written) in expected.items():
        if value != written:
            typed = f"[{','.join(written)}]" if isinstance(written, list) else written
            theirs = f"{name}={typed}"
            file.refuse(f"was made with {theirs}, but intervention.{name} is {value}; add intervention.{theirs}")
