"""Parts that users register under a name."""

from __future__ import annotations

import sys

import pytest

from ioi_lab.config import LabConfig
from ioi_lab.errors import LabError
from ioi_lab.registry import Registry, name_in

MODULE = """
from tests.test_registry import GREETINGS

@GREETINGS.register("ahoy")
def ahoy():
    return "ahoy"
"""

GREETINGS: Registry = Registry("greeting")


@GREETINGS.register("hello")
def hello() -> str:
    return "hello"


@GREETINGS.register("good_day")
class GoodDay:
    pass


class Greeter(LabConfig):
    greeting: name_in(GREETINGS) = "hello"


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A user's file that registers a part, not yet imported."""
    (tmp_path / "my_greetings.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("IOI_LAB_PLUGINS", "my_greetings")
    yield
    sys.modules.pop("my_greetings", None)
    GREETINGS._parts.pop("ahoy", None)


def test_parts_are_found_by_name_and_stay_what_they_are():
    assert GREETINGS.names == ["hello", "good_day"]
    assert GREETINGS["hello"] is hello
    assert GREETINGS["good_day"] is GoodDay
    assert hello() == "hello"
    assert "hello" in GREETINGS
    assert "ahoy" not in GREETINGS


def test_an_unknown_name_is_reported_with_the_choices():
    with pytest.raises(LabError, match=r"^greeting: got 'bye', expected 'hello' or 'good_day'$"):
        GREETINGS["bye"]


def test_a_dotted_name_imports_the_file(own_module):
    assert GREETINGS["my_greetings.ahoy"]() == "ahoy"
    assert GREETINGS["ahoy"]() == "ahoy"
    assert GREETINGS.names == ["hello", "good_day", "ahoy"]


def test_a_file_that_is_not_trusted_is_not_imported(own_module, monkeypatch):
    monkeypatch.delenv("IOI_LAB_PLUGINS")
    line = r"expected .*, or a name in ioi_lab, or in a package that .* \(export IOI_LAB_PLUGINS=my_greetings\)$"
    with pytest.raises(LabError, match=line):
        GREETINGS["my_greetings.ahoy"]
    assert "my_greetings" not in sys.modules


@pytest.fixture
def missing(monkeypatch):
    monkeypatch.setenv("IOI_LAB_PLUGINS", "no_such_file")


def test_a_file_that_cannot_be_imported_is_reported(missing):
    line = r"^greeting: got 'no_such_file.ahoy', expected .* \(cannot import 'no_such_file': No module named"
    with pytest.raises(LabError, match=line):
        GREETINGS["no_such_file.ahoy"]


def test_a_file_without_the_part_is_reported(own_module):
    with pytest.raises(LabError, match=r"^greeting: got 'my_greetings\.bye', expected 'hello', 'good_day' or 'ahoy'$"):
        GREETINGS["my_greetings.bye"]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("bye", r"^speaker\.greeting: got 'bye', expected 'hello' or 'good_day'$"),
        (
            "no_such_file.ahoy",
            r"^speaker\.greeting: got 'no_such_file.ahoy', expected .* \(cannot import 'no_such_file': No module named",
        ),
    ],
)
def test_a_config_key_takes_the_name_of_a_part(missing, name, line):
    assert Greeter.from_config({"greeting": "good_day"}, "speaker").greeting == "good_day"
    with pytest.raises(LabError, match=line):
        Greeter.from_config({"greeting": name}, "speaker")


def test_a_config_key_takes_a_dotted_name(own_module):
    assert Greeter.from_config({"greeting": "my_greetings.ahoy"}, "speaker").greeting == "my_greetings.ahoy"
