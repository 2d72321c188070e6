"""Devices are found by name."""

from __future__ import annotations

import pytest
import torch

from ioi_lab.errors import LabError
from ioi_lab.models.devices import find_device


def test_devices():
    assert find_device("cpu") == torch.device("cpu")
    assert find_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(LabError, match=r"model\.device: got 'cuda:99', expected one of auto, "):
        find_device("cuda:99")
