"""Definitions of the terms of reports."""

from __future__ import annotations

from ioi_lab.reports import definitions
from ioi_lab.reports.definitions import Method


def test_each_definition_is_made_of_sentences():
    methods = [value for value in vars(definitions).values() if isinstance(value, Method)]
    assert methods
    for method in methods:
        assert method.term[0].isupper()
        assert method.definition.endswith(".")
