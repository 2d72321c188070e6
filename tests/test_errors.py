"""Messages name the key under which a user has written something."""

from __future__ import annotations

import errno

import numpy as np
import pytest
import torch

from ioi_lab.errors import LabError, called, did_you_mean, explained, folded


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("model.path: 'x' is not a folder", "source.path: 'x' is not a folder"),
        ("model: too large", "source: too large"),
        ("a: use model=folder model.path=DIR", "a: use model@source=folder source.path=DIR"),
        ("a: 'model.txt' and /x/model.txt are no models", "a: 'model.txt' and /x/model.txt are no models"),
        ("intervention.model: no", "intervention.model: no"),
        ("model.path: no causal language model: x", "source.path: no causal language model: x"),
        ("a: of this model. Expected (model.name)", "a: of this model. Expected (source.name)"),
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


def allocation(allocate) -> BaseException:
    """The error of an allocation that no machine can serve."""
    with pytest.raises(Exception) as caught:  # noqa: PT011
        allocate()
    return caught.value


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (lambda: allocation(lambda: torch.empty(10**15)), " (for 4000000000000000 bytes more)"),
        (lambda: allocation(lambda: np.empty((10**6, 10**9))), " (for 7.11 PiB more)"),
        (MemoryError, ""),
        (lambda: OSError(errno.ENOMEM, "Cannot allocate memory"), ""),
        (lambda: RuntimeError("unable to mmap 5481 bytes from file <w>: Cannot allocate memory (12)"), ""),
        (
            lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0"),
            " (for 20.00 GiB more)",
        ),
    ],
)
def test_a_lack_of_memory_is_one_line(error, wanted):
    found = explained(error())
    assert isinstance(found, LabError)
    where = "GPU" if "20" in wanted else "machine"
    assert str(found).startswith(f"not enough memory on this {where}{wanted}; a lower engine.memory_gb")
    assert "\n" not in str(found)


@pytest.mark.parametrize("error", [RuntimeError("shape mismatch"), OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_other_errors_stay(error):
    assert explained(error) is error


def test_a_notebook_shows_the_line_alone():
    assert LabError("task.n: got 0")._render_traceback_() == ["error: task.n: got 0"]


def test_the_nearest_name_is_proposed():
    assert did_you_mean("layr", ("head", "layer")) == " (did you mean layer?)"
    assert did_you_mean("x", ("head", "layer")) == ""
