"""Named tensors with their provenance, as safetensors: what one run leaves and another takes up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from ioi_lab.errors import LabError, folded

if TYPE_CHECKING:
    from ioi_lab.models import LabModel


def tensor_file(tensors: Mapping[str, Tensor], model: LabModel, kind: str, **provenance: str) -> bytes:
    """The tensors as a safetensors file that says what they are and of which model."""
    from safetensors.torch import save

    origin = {"kind": kind, "model": model.config.label, "weights_sha256": model.weights_sha256}
    return save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata=origin | provenance)


def read_tensor_file(path: Path, model: LabModel, kind: str, key: str) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Provenance and tensors of such a file, on the model's device.

    Raises a `LabError` that names `key` for a file that cannot be read, of another kind, or of another model.
    """
    provenance, tensors = read_any_tensor_file(path, kind, key, str(model.device))
    if provenance.get("weights_sha256") != model.weights_sha256:
        theirs = provenance.get("model", "no model of this lab")
        raise LabError(f"{key}: {str(path)!r} is of another model ({theirs}); expected one of {model.shape.name}")
    return provenance, tensors


def read_any_tensor_file(path: Path, kind: str, key: str, device: str) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The same, of whichever model."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt", device=device) as file:
            provenance = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no mapping)
    except (OSError, SafetensorError) as error:
        raise LabError(f"{key}: cannot read {str(path)!r} as safetensors: {folded(error)}") from error
    if provenance.get("kind") != kind:
        theirs = provenance.get("kind", "a file that no run of this lab has left")
        raise LabError(f"{key}: {str(path)!r} holds {theirs}; expected {kind}")
    return provenance, tensors
