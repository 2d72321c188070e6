"""Messages name the key under which a user has written something."""

from __future__ import annotations

import pytest

from ioi_lab.errors import LabError, called, folded


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("model.path: 'x' is not a folder", "source.path: 'x' is not a folder"),
        ("model: too large", "source: too large"),
        ("a: use model=folder model.path=DIR", "a: use model@source=folder source.path=DIR"),
        ("a: 'model.txt' and /x/model.txt are no models", "a: 'model.txt' and /x/model.txt are no models"),
        ("intervention.model: no", "intervention.model: no"),
    ],
)
def test_a_group_under_another_name(line, expected):
    with pytest.raises(LabError) as caught, called("model", "source"):
        raise LabError(line)
    assert str(caught.value) == expected


def test_a_group_under_its_own_name_keeps_its_error():
    error = LabError("model.path: no")
    with pytest.raises(LabError) as caught, called("model", "model"):
        raise error
    assert caught.value is error


def test_errors_that_are_not_mistakes_of_the_user_pass():
    with pytest.raises(KeyError, match="model"), called("model", "source"):
        raise KeyError("model.path")


def test_a_message_is_one_line():
    assert folded(ValueError("first\n  second\t\tthird ")) == "first second third"
    assert folded(ValueError()) == ""
