"""Files of steering vectors: what a run writes as `vectors.safetensors` and another run reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from ioi_lab.engine.edits import Site
from ioi_lab.errors import LabError
from ioi_lab.steering.contrasts import CONTRASTS, ContrastPrompt
from ioi_lab.steering.methods import Vector
from ioi_lab.storage.tensors import ModelOrigin, read_tensor_file, tensor_file

if TYPE_CHECKING:
    from ioi_lab.models.loading import LabModel
    from ioi_lab.models.shape import Component

KIND: Final = "steering vectors"


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
    return tensor_file(
        {vector_name(site): torch.from_numpy(vector).float() for site, vector in vectors.items()},
        origin,
        KIND,
        task=task,
        method=method,
        contrast=contrast,
        names=json.dumps(list(names) if CONTRASTS[contrast].replaces_names else []),
        seed=str(seed),
        n_training=str(len(training)),
        training_names=json.dumps(sorted({name for pair in trained for name in (pair.answer, pair.distractor)})),
        sites=json.dumps(sites),
    )


def read_vectors(
    path: Path, model: LabModel, component: Component, *, method: str, contrast: str, names: Sequence[str], key: str
) -> tuple[dict[str, Vector], list[str]]:
    """Return the vectors of a file by `vector_name`, and the names in the prompts that they were made from.

    Raises a `LabError` that names the config key `key` for a file that is not one of steering vectors, for vectors of
    another model or width, and if they were made with another `method`, `contrast` or other `names`.
    """
    provenance, tensors = read_tensor_file(path, model.origin, KIND, key, model.device)
    _check_provenance(provenance, path, method, contrast, names, key)
    width = Site(component, 0, 0 if component == "z" else None).width(model.shape, 0)
    for name, tensor in tensors.items():
        if tuple(tensor.shape) != (width,):
            raise LabError(
                f"{key}: {str(path)!r} has {name} of shape {list(tensor.shape)}; expected [{width}], the width of "
                f"{component} in {model.shape.name}"
            )
    vectors = {name: tensor.double().cpu().numpy() for name, tensor in tensors.items()}
    return vectors, list(json.loads(provenance.get("training_names", "[]")))


def _check_provenance(
    provenance: Mapping[str, str], path: Path, method: str, contrast: str, names: Sequence[str], key: str
) -> None:
    """Raise a `LabError` if the config asks for other vectors than those of the file."""
    expected: dict[str, tuple[object, str]] = {"method": (method, method), "contrast": (contrast, contrast)}
    if CONTRASTS[contrast].replaces_names:
        expected["names"] = list(names), json.dumps(list(names))
    for name, (value, written) in expected.items():
        if provenance.get(name) != written:
            theirs = str(provenance.get(name)).replace('"', "").replace(" ", "")
            raise LabError(
                f"{key}: {str(path)!r} was made with {name}={theirs}, but intervention.{name} is {value}; add "
                f"intervention.{name}={theirs}"
            )
