"""What keys accept, in words."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from ioi_lab.cli.accepted import accepted
from ioi_lab.models.selectors import HeadSelector, IndexSelector, PositionSelector
from ioi_lab.registry import Registry, name_in

METHODS: Registry[object] = Registry("method")
METHODS.register("one")(object())
METHODS.register("other")(object())

KINDS = [
    (Literal["a", "b"], "a, b"),
    (bool, "true or false"),
    (str | None, "text or null"),
    (dict[str, Any], "keys and values"),
    (list[str], "list of text"),
    (tuple[int, int], "list of integer"),
    (Annotated[float, Field(gt=0, lt=1)], "number > 0 and < 1"),
    (Literal["all"] | Annotated[int, Field(ge=0)], "all or integer ≥ 0"),
    (IndexSelector, "all or integer ≥ 0 or a list"),
    (HeadSelector, "all or integer ≥ 0 or the name of a head, such as '9.9' or a list"),
    (PositionSelector, "text or integer or a list"),
    (name_in(METHODS), "one, other, or my_module.name"),
    (int | list[str], "integer or list of text"),
]


@pytest.mark.parametrize(("annotation", "words"), KINDS)
def test_annotations_in_words(annotation, words):
    assert accepted(annotation) == words


def test_a_list_of_one_length():
    assert accepted(list[str], Field(min_length=2, max_length=2).metadata) == "list of 2 × text"
