"""Keywords of `lab.run` and the like as the overrides of the command line.

| keyword | override |
|---|---|
| `model="tiny-gpt2"` | `model=tiny-gpt2`: a text picks the option of a config group |
| `task={"n": 32}` | `task.n=32`: a dictionary sets keys of a group |
| `intervention={"name": "steer", "layer": 3}` | `intervention=steer intervention.layer=3`: `name` picks the option |
| `seed=1`, `stats={"over": "sentences"}` | `seed=1 stats.over=sentences` |
| `**{"model@intervention.source": "tiny-gpt2"}` | as it is written |

Values are Python's: lists are lists, `None` is `null`, texts are taken as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ioi_lab.cli.as_typed import as_typed, quoted
from ioi_lab.cli.messages import check_override
from ioi_lab.cli.places import groups_of
from ioi_lab.errors import LabError

_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_WITH_MEANING: Final = frozenset({"null", "true", "false", "inf", "nan"})
"""Words that stand for other values in Hydra's grammar, in any case."""


class Grid(tuple[Any, ...]):
    """Values of a key, each of which gets runs of its own in `lab.sweep`."""

    __slots__ = ()


def grid(*values: Any) -> Grid:
    """Return values for `lab.sweep` to try one by one: `grid(0, 1, 2)` or `grid(range(3))`.

    Raises a `LabError` if there are none.
    """
    each = values[0] if len(values) == 1 and isinstance(values[0], range | list | tuple) else values
    if not each:
        raise LabError("grid: got no values, so there is nothing to run")
    return Grid(each)


def overrides_of(words: tuple[str, ...], keywords: Mapping[str, Any], root: str, *, sweeps: bool = False) -> list[str]:
    """Return the overrides that a call stands for, in the order of its arguments.

    Args:
        words: Overrides as they are typed on the command line.
        keywords: The keywords of the call: see the top of this module.
        root: The name of the root config, `sweep` or `train_align`.
        sweeps: Whether a `grid` of values may be given.

    Raises:
        LabError: An override is not one, a key is given twice, or a value has no form in a config.

    """
    for word in words:
        if not isinstance(word, str):
            raise LabError(
                f"got {word!r}, expected an override such as 'task.n=32', or a keyword such as task={{'n': 32}}"
            )
        if word.startswith("-"):
            raise LabError(f"{word}: a flag of the command line; expected an override such as 'task.n=32'")
        check_override(word)
    made = list(_of_keywords(keywords, groups_of(root), sweeps))
    typed = [as_typed(word) for word in words] + made
    _check_given_once(typed)
    return typed


def _of_keywords(keywords: Mapping[str, Any], groups: Mapping[str, str], sweeps: bool) -> Iterator[str]:
    for key, value in keywords.items():
        group = groups.get(key, key if "@" in key or "/" in key else None)
        if group is None:
            yield from _of_key(key, value, sweeps)
        elif isinstance(value, Mapping):
            if "name" in value:
                yield _choice(group, value["name"], sweeps)
            yield from _of_key(key, {name: part for name, part in value.items() if name != "name"}, sweeps)
        else:
            yield _choice(group, value, sweeps)


def _choice(group: str, option: object, sweeps: bool) -> str:
    """Return the override that picks an option of a config group."""
    options = option if isinstance(option, Grid) else (option,)
    _check_may_sweep(group, option, sweeps)
    if not all(isinstance(each, str | None) for each in options):
        raise LabError(
            f"{group}: got {option!r}, expected the name of an option, or a dictionary of keys with their values"
        )
    return f"{group}={','.join('null' if each is None else str(each) for each in options)}"


def _of_key(key: str, value: object, sweeps: bool) -> Iterator[str]:
    """Yield the overrides that set a key, or the keys of a dictionary."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _of_key(f"{key}.{name}", part, sweeps)
        return
    _check_may_sweep(key, value, sweeps)
    values = value if isinstance(value, Grid) else (value,)
    yield f"{key}={','.join(_written(each, key) for each in values)}"


def _written(value: Any, key: str) -> str:
    """Return a value in Hydra's grammar; raises a `LabError` for one that has no form there."""
    if hasattr(value, "tolist") and hasattr(value, "dtype"):  # numbers and arrays of NumPy
        value = value.tolist()
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case str() | Path():
            text = str(value)
            return text if _PLAIN.fullmatch(text) and text.lower() not in _WITH_MEANING else quoted(text)
        case list() | tuple() | range() if not isinstance(value, Grid):
            return f"[{','.join(_written(each, key) for each in value)}]"
        case Mapping():
            pairs = (f"{_written(str(name), key)}:{_written(part, key)}" for name, part in value.items())
            return f"{{{','.join(pairs)}}}"
    raise LabError(
        f"{key}: got {_shown(value)}, expected a number, a text, True, False, None, or a list or a dictionary of them"
    )


def _check_may_sweep(key: str, value: object, sweeps: bool) -> None:
    if isinstance(value, Grid) and not sweeps:
        raise LabError(f"{key}: got a grid of {len(value)} values, but lab.run makes one run; use lab.sweep")


def _check_given_once(overrides: list[str]) -> None:
    seen: set[str] = set()
    for override in overrides:
        key = override.partition("=")[0]
        if key in seen and key != "experiment":
            raise LabError(f"{key}: is given twice")
        seen.add(key)


def _shown(value: object) -> str:
    return f"an object of {type(value).__name__}"
