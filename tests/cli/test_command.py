"""What the command line makes of sentences; all else of it is tested through `tests/test_sweep.py`."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ioi_lab.cli.command import _quoted_text


def value_of(override):
    (parsed,) = OverridesParser.create().parse_overrides([override])
    return parsed.value()


@example("'Tis")
@example('a\\b\\\\"c\\')
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), min_size=1))
def test_a_sentence_reaches_hydra_as_it_is(text):
    assume(text != "null")
    assume(not (len(text) > 1 and text[0] in "'\"" and text[-1] == text[0]))
    assert value_of(_quoted_text(f"task.prompt={text}")) == text


@pytest.mark.parametrize("override", ["task.prompt=null", "task.prompt=", "task.prompt='a, b'", "task.n=3", "oops"])
def test_what_is_no_bare_sentence_stays(override):
    assert _quoted_text(override) == override
