from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from ioi_lab.cli.as_typed import as_typed

printable = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), min_size=1)


def value_of(override):
    (parsed,) = OverridesParser.create().parse_overrides([override])
    if parsed.is_sweep_override():
        return [getattr(value, "text", value) for value in parsed.value().list]
    return parsed.value()


def is_quoted(text):
    return len(text) > 1 and text[0] in "'\"" and text[-1] == text[0]


@settings(max_examples=50)
@example("'Tis")
@example('a\\b\\\\"c\\')
@given(printable)
def test_a_sentence_reaches_hydra_as_it_is(text):
    assume(text != "null")
    assume(not is_quoted(text))
    assert value_of(as_typed(f"task.prompt={text}")) == text


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example("a,b=c (1) [2] {3}.csv")
@example("Zoë's “prompts” 日本.csv")
@example("123")
@example("true")
@example(" blanks around ")
@given(printable.map(lambda text: text.replace("/", "").encode()[:100].decode(errors="ignore")))
def test_a_path_that_exists_reaches_hydra_as_it_is(tmp_path, monkeypatch, name):
    assume(name not in ("", ".", "..", "null"))
    assume(not is_quoted(name))
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).touch()
    for key in ("task.path", "intervention.vector", "+resume_from", "intervention.lens.translators"):
        assert value_of(as_typed(f"{key}={name}")) == name


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("~/mine.csv", "~/mine.csv"),
        ("C:\\data\\mine.csv", "C:\\data\\mine.csv"),
        ("my prompts (1).csv", "my prompts (1).csv"),
        ("a=b.csv", "a=b.csv"),
        ("données.csv", "données.csv"),
        ("it's.csv", "it's.csv"),
        ("a.csv,b.csv", ["a.csv", "b.csv"]),
        ("~/a.csv,it's (2).csv,c d.csv", ["~/a.csv", "it's (2).csv", "c d.csv"]),
        ("glob(*.csv)", []),
        ("${seed}", "${seed}"),
        ("[a,b]", ["a", "b"]),
    ],
)
def test_a_path_that_does_not_exist_is_a_path_or_the_values_of_a_multirun(typed, value):
    if typed.startswith("glob"):
        assert as_typed(f"task.path={typed}") == f"task.path={typed}"
    else:
        assert value_of(as_typed(f"task.path={typed}")) == value


@pytest.mark.parametrize(
    "override",
    [
        *("task.prompt=null", "task.prompt=", "task.prompt='a, b'", "task.path='~/a b.csv'", "task.path=null"),
        *("task.n=3", "task.n=(", "name=~", "oops", "~task.path"),
    ],
)
def test_what_is_no_bare_text_or_path_stays(override):
    assert as_typed(override) == override
