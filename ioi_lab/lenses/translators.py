"""Files of the tuned lens' translators, an affine map per layer: see `ioi_lab.lenses.training`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ioi_lab.engine.edits import Site
from ioi_lab.lenses.logit import Translators
from ioi_lab.lenses.training import Training
from ioi_lab.storage.files import sha256_of_files
from ioi_lab.storage.tensors import Metadata, TensorKind

if TYPE_CHECKING:
    from ioi_lab.models.loading import LabModel

TRANSLATORS: Final = TensorKind("a tuned lens", Metadata)
_NAME: Final = re.compile(r"([a-z_]+\.(?:0|[1-9]\d{0,5}))\.(?:matrix|bias)")


def save_translators(translators: Translators, model: LabModel, text: Path, training: Training) -> bytes:
    """Return the translators as a safetensors file with their provenance."""
    tensors = {}
    for site, (matrix, bias) in translators.items():
        tensors[f"{site.component}.{site.layer}.matrix"] = matrix
        tensors[f"{site.component}.{site.layer}.bias"] = bias
    settings = {name: str(value) for name, value in vars(training).items()}
    return TRANSLATORS.content(tensors, model.origin, text=text.name, text_sha256=sha256_of_files([text]), **settings)


def load_translators(path: Path, model: LabModel, sites: Sequence[Site]) -> Translators:
    """Return the translators of a saved file for each site but the last.

    Raises a `LabError` for a file that is not one of translators of this model, and for a site without one.
    """
    file = TRANSLATORS.read(path, "lens.translators", model.device)
    file.check_model(model.origin)
    names = {site: f"{site.component}.{site.layer}" for site in sites[:-1]}
    in_file = {match[1] for match in map(_NAME.fullmatch, file.tensors) if match}
    if missing := next((name for name in names.values() if name not in in_file), None):
        file.refuse(f"has no translator for {missing}; it was trained with other sublayers")
    width = model.shape.d_model
    sizes = {"matrix": (width, width), "bias": (width,)}
    file.check_shapes({f"{name}.{part}": size for name in in_file for part, size in sizes.items()})
    return {site: (file.tensors[f"{name}.matrix"], file.tensors[f"{name}.bias"]) for site, name in names.items()}
