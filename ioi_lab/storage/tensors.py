"""Files of named tensors with their provenance (safetensors), which one run writes and another reads.

A file may be anybody's, so each kind of file has a schema: its metadata are a pydantic model, and its tensors have a
type and known names and shapes, and are finite. Anything else is a `LabError` in one line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Generic, Literal, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ioi_lab.errors import LabError, folded
from ioi_lab.storage.files import check_user_file

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_MAX_QUOTED: Final = 400
MetadataT = TypeVar("MetadataT", bound="Metadata")


@dataclass(frozen=True)
class ModelOrigin:
    """The model that tensors belong to."""

    name: str
    weights_sha256: str


class Metadata(BaseModel):
    """The metadata that every file of tensors has; a kind of file adds its own, as texts or as JSON."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    model: str
    weights_sha256: str


@dataclass(frozen=True)
class TensorFile(Generic[MetadataT]):
    """A file that has been read."""

    path: Path
    key: str
    """The config key that names the file, for errors."""

    metadata: MetadataT
    tensors: Mapping[str, Tensor]

    def check_model(self, origin: ModelOrigin) -> None:
        """Raise a `LabError` unless the tensors belong to the model: the name alone does not make a model."""
        if self.metadata.weights_sha256 != origin.weights_sha256:
            self.refuse(f"belongs to another model ({self.metadata.model}); expected {origin.name}")

    def check_shapes(self, expected: Mapping[str, Sequence[int]], reason: str = "") -> None:
        """Raise a `LabError` unless the file has exactly these tensors with these shapes; `reason` explains them."""
        for name, tensor in self.tensors.items():
            if name not in expected:
                self.refuse(f"has {name!r}, which is none of its kind's tensors")
            if tuple(tensor.shape) != tuple(expected[name]):
                shape = f"{list(expected[name])}{reason and ', '}{reason}"
                self.refuse(f"has {name} of shape {list(tensor.shape)}; expected {shape}")
        if missing := next((name for name in expected if name not in self.tensors), None):
            self.refuse(f"lacks {missing!r}")

    def refuse(self, why: str) -> NoReturn:
        """Raise a `LabError` that names the key and the file."""
        raise LabError(_line(self.path, self.key, why))


@dataclass(frozen=True)
class TensorKind(Generic[MetadataT]):
    """A kind of file, with what makes a file one of its kind."""

    name: str
    """What is in it, such as `steering vectors`; it is in the metadata of each file."""

    metadata: type[MetadataT]
    dtype: Literal["F32", "F64"] = "F32"

    def content(self, tensors: Mapping[str, Tensor], origin: ModelOrigin, **provenance: str) -> bytes:
        """Return the content of a file with the tensors, which belong to the model `origin`."""
        from safetensors.torch import save

        metadata = {"kind": self.name, "model": origin.name, "weights_sha256": origin.weights_sha256}
        return save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata=metadata | provenance)

    def read(self, path: Path, key: str, device: torch.device | str = "cpu") -> TensorFile[MetadataT]:
        """Return a file of this kind, its tensors on a device.

        Raises a `LabError` that names `key` for a file that cannot be read, is of another kind, lacks metadata, or has
        tensors of another type, or values that are not finite. The reader checks their names and shapes.
        """
        import torch
        from safetensors import SafetensorError, safe_open

        check_user_file(path, key)
        try:
            with safe_open(path, "pt", device=str(device)) as file:
                metadata = self._checked(file.metadata() or {}, path, key)
                names = list(file.keys())
                types = {name: file.get_slice(name).get_dtype() for name in names}
                if wrong := next((name for name in names if types[name] != self.dtype), None):
                    raise LabError(_line(path, key, f"has {wrong} of type {types[wrong]}; expected {self.dtype}"))
                # Copies: what is mapped from a file ends the process if the file is cut off meanwhile.
                tensors = {name: file.get_tensor(name).clone() for name in names}
        except (OSError, SafetensorError) as error:
            raise LabError(f"{key}: cannot read {str(path)!r} as safetensors: {_short(folded(error))}") from error
        found = TensorFile(path, key, metadata, tensors)
        for name, tensor in tensors.items():
            if not bool(torch.isfinite(tensor).all()):
                found.refuse(f"has {name} with values that are not finite; expected numbers")
        return found

    def _checked(self, metadata: Mapping[str, str], path: Path, key: str) -> MetadataT:
        if metadata.get("kind") != self.name:
            other = metadata.get("kind")
            content = f"contains {other}" if other else "was not written by a run of this lab"
            raise LabError(_line(path, key, f"{content}; expected {self.name}"))
        try:
            return self.metadata.model_validate(metadata)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = ".".join(str(part) for part in first["loc"])
            raise LabError(_line(path, key, f"has no usable {name!r} in its metadata: {first['msg']}")) from error


def _line(path: Path, key: str, why: str) -> str:
    return f"{key}: {str(path)!r} {_short(' '.join(why.split()))}"


def _short(text: str) -> str:
    """Return a text, which may quote a file, with its middle left out if it is long."""
    return text if len(text) <= _MAX_QUOTED else f"{text[: _MAX_QUOTED // 2]} … {text[-_MAX_QUOTED // 2 :]}"
