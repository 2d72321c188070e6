from __future__ import annotations

import gc
import sys
import weakref

import pytest

from ioi_lab.models.libraries import import_libraries, without_collection


class Node:
    """One that refers to itself, so that only the garbage collector frees it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def _unfrozen():
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("_unfrozen")
@pytest.mark.parametrize("exempt", [False, True])
def test_garbage_is_collected_later_unless_it_is_exempt(exempt):
    frozen = gc.get_freeze_count()  # Python 3.12 starts with some
    with without_collection(exempt=exempt):
        assert not gc.isenabled()
        node = weakref.ref(Node())
    assert gc.isenabled()
    gc.collect()
    assert (node() is not None) == exempt == (gc.get_freeze_count() > frozen)


def test_a_collector_that_is_off_stays_off():
    gc.disable()
    try:
        with without_collection(exempt=False):
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_an_error_leaves_the_collector_on():
    with pytest.raises(ImportError), without_collection(exempt=False):
        import no_such_module  # noqa: F401
    assert gc.isenabled()


def test_models_of_the_process_stay_collectable(monkeypatch):
    monkeypatch.delitem(sys.modules, "transformer_lens.model_bridge", raising=False)  # torch has been imported
    node = weakref.ref(Node())
    import_libraries()
    gc.collect()
    assert node() is None
    assert "transformer_lens.model_bridge" in sys.modules
