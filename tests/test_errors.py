"""Messages name the key under which a user has written something."""

from __future__ import annotations

import pytest

from ioi_lab.errors import LabError, called


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("model.path: 'x' is no folder", "source.path: 'x' is no folder"),
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
