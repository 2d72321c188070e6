"""Files of the tuned lens' translators, an affine map per layer: see `ioi_lab.lenses.training`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch

from ioi_lab.engine.edits import Site
from ioi_lab.errors import LabError
from ioi_lab.lenses.logit import Translators
from ioi_lab.lenses.training import Training
from ioi_lab.storage.files import sha256_of_files
from ioi_lab.storage.tensors import read_tensor_file, tensor_file

if TYPE_CHECKING:
    from ioi_lab.models.loading import LabModel

KIND: Final = "a tuned lens"


def save_translators(translators: Translators, model: LabModel, text: Path, training: Training) -> bytes:
    """Return the translators as a safetensors file with their provenance."""
    tensors = {}
    for site, (matrix, bias) in translators.items():
        tensors[f"{site.component}.{site.layer}.matrix"] = matrix
        tensors[f"{site.component}.{site.layer}.bias"] = bias
    settings = {name: str(value) for name, value in vars(training).items()}
    return tensor_file(tensors, model.origin, KIND, text=text.name, text_sha256=sha256_of_files([text]), **settings)


def load_translators(path: Path, model: LabModel, sites: Sequence[Site]) -> Translators:
    """Return the translators of a saved file for each site but the last.

    Raises a `LabError` for translators of another model, and for a site without one.
    """
    key = "lens.translators"
    _, tensors = read_tensor_file(path, model.origin, KIND, key, model.device)
    names = {site: f"{site.component}.{site.layer}" for site in sites[:-1]}
    width = model.shape.d_model
    sizes = {"matrix": (width, width), "bias": (width,)}
    for name in names.values():
        if any(tuple(tensors.get(f"{name}.{part}", torch.empty(0)).shape) != size for part, size in sizes.items()):
            raise LabError(f"{key}: {str(path)!r} has no translator for {name}; it was trained with other sublayers")
    return {site: (tensors[f"{name}.matrix"], tensors[f"{name}.bias"]) for site, name in names.items()}
