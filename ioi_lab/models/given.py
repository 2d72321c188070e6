"""Models that the user has loaded: a Hugging Face model with its tokenizer, or a TransformerBridge."""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from ioi_lab.errors import LabError, folded
from ioi_lab.models.bridges import bridge_of
from ioi_lab.models.loading import Given, LabModel, ModelConfig, surveyed
from ioi_lab.tasks.tokens import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def given_model(
    model: Any,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    name: str | None = None,
    prepend_bos: bool | None = None,
) -> LabModel:
    """Return a model that is loaded already as a `LabModel`.

    Args:
        model: A causal language model of Transformers, of which a copy is made, or a TransformerBridge, whose
            parameters are frozen.
        tokenizer: The tokenizer of the model; a bridge has its own.
        name: The name in titles and figures; None: that of its folder or repository, or of its class.
        prepend_bos: Whether prompts begin with the BOS token; None: if the tokenizer has one.

    Raises:
        LabError: There is no tokenizer, the model is neither of these, or its architecture is not supported.

    """
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedModel

    is_bridge = isinstance(model, TransformerBridge)
    if not is_bridge and not isinstance(model, PreTrainedModel):
        raise LabError(
            f"model: got {_kind(model)}, expected a causal language model of Transformers with its tokenizer, "
            "or a TransformerBridge"
        )
    plain = model.original_model if is_bridge else model
    tokenizer = model.tokenizer if is_bridge and tokenizer is None else tokenizer
    if tokenizer is None:
        raise LabError(f"model: got {type(plain).__name__} without a tokenizer; expected (model, tokenizer)")
    _check_tokenizer(tokenizer)
    path = str(getattr(plain.config, "_name_or_path", "") or type(plain).__name__)
    config = ModelConfig(
        name=name or Path(path).name,
        source="memory",
        path=path,
        device=str(plain.device),
        dtype=_dtype_of(plain),
        prepend_bos=tokenizer.bos_token_id is not None if prepend_bos is None else prepend_bos,
    )
    if is_bridge:
        return _checked_bridge(model, Tokens(tokenizer, config.prepend_bos), config)
    return _copied(model, tokenizer, config)


def as_given(model: LabModel) -> ModelConfig:
    """Return the config of a model that is in memory, by which a run gets this very model."""
    from transformers import PretrainedConfig

    config: PretrainedConfig = model.bridge.original_model.config
    fast = getattr(model.tokens.tokenizer, "backend_tokenizer", None)
    vocabulary = fast.to_str() if fast is not None else json.dumps(model.tokens.tokenizer.get_vocab(), sort_keys=True)
    checksum = hashlib.sha256(f"{config.to_json_string()}{vocabulary}".encode()).hexdigest()
    return model.config.with_model(Given(model, checksum))


def sha256_of_weights(model: Any) -> str:
    """Return one checksum of the names, types, shapes and values of all parameters and buffers of a torch module."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().reshape(-1).cpu().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()


def _copied(model: Any, tokenizer: PreTrainedTokenizerBase, config: ModelConfig) -> LabModel:
    from ioi_lab.models.hugging_face import prepare

    try:
        own = copy.deepcopy(model)
        prepare(own)
        bridge = bridge_of(own, copy.deepcopy(tokenizer), config.path)
        return surveyed(bridge, Tokens(tokenizer, config.prepend_bos), config, None, sha256_of_weights(model))
    except (LabError, MemoryError):
        raise
    except Exception as error:  # TransformerLens raises errors of many types for models that it does not support
        raise LabError(f"model: cannot use {type(model).__name__}: {folded(error)[:300]}") from error


def _checked_bridge(bridge: Any, tokens: Tokens, config: ModelConfig) -> LabModel:
    if bridge.compatibility_mode:
        raise LabError(
            "model: got a TransformerBridge in compatibility mode, whose weights are not those of the model; expected "
            "one without enable_compatibility_mode()"
        )
    return surveyed(bridge, tokens, config, None, sha256_of_weights(bridge.original_model))


def _check_tokenizer(tokenizer: object) -> None:
    from transformers import PreTrainedTokenizerBase

    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise LabError(f"model: got {_kind(tokenizer)} as its tokenizer, expected a tokenizer of Transformers")


def _dtype_of(model: Any) -> Any:
    name = str(model.dtype).removeprefix("torch.")
    known = get_args(ModelConfig.model_fields["dtype"].annotation)
    if name not in known:
        raise LabError(f"model: got a model in {name}, expected one in {', '.join(known)}")
    return name


def _kind(value: object) -> str:
    return f"{value!r}"[:80] if isinstance(value, str | int | float | None) else f"an object of {type(value).__name__}"
