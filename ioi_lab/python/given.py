"""Models as arguments: names of options, folders and repositories, and models that are loaded already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ioi_lab.errors import LabError
from ioi_lab.python.overrides import Grid

if TYPE_CHECKING:
    from ioi_lab.models.loading import LabModel, ModelConfig


def load_model(model: Any = "tiny-gpt2", tokenizer: Any = None, **keys: Any) -> LabModel:
    """Return a model for `Engine`, and for any number of runs: `run(model=load_model("gpt2-small"))`.

    Args:
        model: The name of an option of `conf/model/`; or a model that is loaded already, with its `tokenizer`: see
            `ioi_lab.models.given.given_model`.
        tokenizer: The tokenizer of a model that is loaded already.
        **keys: Keys of the config group, such as `device`, `dtype` or `path`; for a loaded model `name` and
            `prepend_bos`.

    Raises:
        LabError: There is no such model, or it cannot be loaded.

    """
    from ioi_lab.models import loading

    if not isinstance(model, str):
        from ioi_lab.models.given import given_model

        return given_model(model, tokenizer, **keys)
    if tokenizer is not None:
        raise LabError(f"tokenizer: got one, but the model {model!r} is loaded with its own")
    config = _composed({"name": model, **keys})
    config.check()
    return loading.load_model(config)


def separated(keywords: Mapping[str, Any], groups: Sequence[str]) -> tuple[dict[str, Any], dict[str, ModelConfig]]:
    """Return keywords that have a form in a config, and the models among them that are loaded already.

    Args:
        keywords: Those of a call.
        groups: The keywords that may be models.

    Raises:
        LabError: A model has no tokenizer, or is none.

    """
    words: dict[str, Any] = dict(keywords)
    given: dict[str, ModelConfig] = {}
    for key in groups:
        value = words.get(key)
        if value is None or isinstance(value, str | Mapping | Grid):
            continue
        config = _config_of(value)
        if config.source == "memory":
            given[key] = config
        names = ("source", "path", "revision", "device", "dtype", "prepend_bos")
        words[key] = {"name": "folder", **{name: getattr(config, name) for name in names}}
        words[f"{key}.name"] = config.name
    return words, given


def _config_of(value: Any) -> ModelConfig:
    from ioi_lab.models.given import as_given, given_model
    from ioi_lab.models.loading import LabModel

    if isinstance(value, LabModel):
        return as_given(value) if value.folder is None else value.config
    parts = value if isinstance(value, tuple | list) else (value,)
    if len(parts) > 2:
        raise LabError(f"model: got {len(parts)} objects, expected (model, tokenizer)")
    return as_given(given_model(*parts))


def _composed(keys: Mapping[str, Any]) -> ModelConfig:
    """Return the config of the option of `conf/model/` that `name` picks, with the other keys set."""
    from ioi_lab.jobs.resolving import resolve
    from ioi_lab.models.loading import ModelConfig
    from ioi_lab.python.overrides import overrides_of
    from ioi_lab.python.session import composed

    overrides = overrides_of((), {"model": keys}, "sweep")
    return ModelConfig.from_config(resolve(composed("sweep", overrides))["model"], "model")
