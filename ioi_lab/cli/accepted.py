"""The values that a config key accepts, in words: from the annotation by which pydantic checks them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import AfterValidator, BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from ioi_lab.registry import Registry

_NAMES: Final[dict[object, str]] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "true or false",
    NoneType: "null",
    dict: "keys and values",
    Any: "any value",
}
_BOUNDS: Final = ((Ge, "≥", "ge"), (Gt, ">", "gt"), (Le, "≤", "le"), (Lt, "<", "lt"))


def accepted(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """Return what a key of this annotated type accepts, such as `all or integer ≥ 0 or a list`."""
    alternatives = list(_alternatives(annotation, metadata))
    lists = [each for each in alternatives if get_origin(each[0]) in (list, tuple)]
    single = dict.fromkeys(_kind(*each) for each in alternatives if each not in lists)
    items = [_kind(*each) for a_list, _ in lists for item in get_args(a_list) for each in _alternatives(item, ())]
    if single and lists and set(items) <= single.keys():
        return " or ".join([*single, "a list"])
    return " or ".join([*single, *(_list(*each) for each in lists)])


def _alternatives(annotation: Any, metadata: Sequence[Any]) -> Iterator[tuple[Any, Sequence[Any]]]:
    """Yield the types of a union with their constraints; any other type alone."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _alternatives(arguments[0], [*_flat(arguments[1:]), *metadata])
    elif origin in (Union, UnionType) and not _in_own_words(metadata):
        for each in arguments:
            yield from _alternatives(each, ())
    else:
        yield annotation, metadata


def _kind(annotation: Any, metadata: Sequence[Any]) -> str:
    if own := _in_own_words(metadata):
        return own
    if get_origin(annotation) is Literal:
        return ", ".join("null" if each is None else str(each) for each in get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "keys and values"
    return _NAMES.get(get_origin(annotation) or annotation, str(annotation)) + _bounds(metadata)


def _list(annotation: Any, metadata: Sequence[Any]) -> str:
    items = dict.fromkeys(accepted(each) for each in get_args(annotation) if each is not ...)
    return f"list of {_length(metadata)}{' and '.join(items)}"


def _flat(metadata: Sequence[Any]) -> list[Any]:
    """Return the constraints of an annotation, those of pydantic's `Field(…)` one by one."""
    return [part for each in metadata for part in (each.metadata if isinstance(each, FieldInfo) else [each])]


def _in_own_words(metadata: Sequence[Any]) -> str:
    """Return what a validator of the lab expects; its `ValueError` says so in the command line's errors too."""
    for each in metadata:
        if not isinstance(each, BeforeValidator | AfterValidator):
            continue
        registry = getattr(each.func, "__self__", None)
        if isinstance(registry, Registry):
            return f"{', '.join(registry.names)}, or my_module.name"
        validate: Any = each.func
        try:
            validate(object())
        except ValueError as error:
            return str(error)
    return ""


def _bounds(metadata: Sequence[Any]) -> str:
    found = [f"{sign} {getattr(each, name)}" for each in metadata for kind, sign, name in _BOUNDS if type(each) is kind]
    return f" {' and '.join(found)}" if found else ""


def _length(metadata: Sequence[Any]) -> str:
    least = next((each.min_length for each in metadata if isinstance(each, MinLen)), None)
    most = next((each.max_length for each in metadata if isinstance(each, MaxLen)), None)
    return f"{least} × " if least == most and least is not None else ""
