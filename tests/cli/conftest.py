"""A command line whose error line is returned."""

from __future__ import annotations

import pytest

from tests.cli.typed import TypedLine


@pytest.fixture
def typed_line(monkeypatch, capsys, tmp_path) -> TypedLine:
    return TypedLine(monkeypatch, capsys, tmp_path)
