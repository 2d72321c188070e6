"""The libraries that models run on: torch, Transformers and TransformerLens."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def import_libraries() -> None:
    """Import the libraries that models run on: most of the time of a small run. A second call does nothing.

    Objects that are there before torch are exempt from garbage collection from then on; see `without_collection`.
    """
    if "transformer_lens.model_bridge" not in sys.modules:
        with without_collection(exempt="torch" not in sys.modules):  # with torch, models may be among the objects
            import torch  # noqa: F401
            import transformer_lens.model_bridge  # noqa: F401


@contextmanager
def without_collection(*, exempt: bool) -> Iterator[None]:
    """Make objects that will live until the end, without searching them for garbage again and again.

    The imports above make 800,000 such objects, which the garbage collector, if it were on, would search eight times.

    Args:
        exempt: Whether all objects that are there at the end are left out of later searches too, among them the one at
            the end of the process. Garbage among them is then never freed.

    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # no search of the young generations meets them
        if not exempt:
            gc.unfreeze()  # into the oldest generation
        if was_on:
            gc.enable()
