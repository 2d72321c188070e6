"""Which packages a config may name."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from ioi_lab import plugins
from ioi_lab.plugins import import_trusted, why_untrusted


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch):
    monkeypatch.delenv("IOI_LAB_PLUGINS", raising=False)
    plugins._registered_packages.cache_clear()
    yield
    plugins._registered_packages.cache_clear()


@pytest.mark.parametrize("name", ["ioi_lab", "ioi_lab.tasks.ioi.IOITask"])
def test_the_package_itself_is_trusted(name):
    assert why_untrusted(name) is None


@pytest.mark.parametrize("name", ["os.system", "ioi_labs.X", "ioi_lab_2", "sweep.main", "json"])
def test_others_are_trusted_if_they_are_named(name, monkeypatch):
    root = name.partition(".")[0]
    assert why_untrusted(name) == (
        f"a name in ioi_lab, or in a package that you trust and name first (export IOI_LAB_PLUGINS={root})"
    )
    with pytest.raises(ImportError, match="expected a name in ioi_lab"):
        import_trusted(name)
    monkeypatch.setenv("IOI_LAB_PLUGINS", f"one, {root} ,other")
    assert why_untrusted(name) is None


@pytest.mark.parametrize("name", ["", ".", "ioi_lab.", ".ioi_lab", "ioi_lab..x", "ioi_lab:x", "ioi_lab.x()", "a b"])
def test_what_is_no_dotted_name_is_refused(name):
    assert why_untrusted(name) == "a dotted name, such as my_package.MyClass"


@pytest.mark.parametrize("name", ["ioi_lab.runs.__main__.X", "ioi_lab.config.__builtins__", "__main__.X"])
def test_special_names_are_refused(name):
    assert why_untrusted(name) == "a dotted name, such as my_package.MyClass"


def test_installed_packages_register_themselves(monkeypatch):
    points = [EntryPoint("parts", "their_lab.parts", plugins.ENTRY_POINTS)]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points if group == "ioi_lab.plugins" else [])
    assert why_untrusted("their_lab.parts.Halve") is None
    assert why_untrusted("their_lab.other.Halve") is not None
