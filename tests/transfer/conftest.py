"""Two models on the same prompts, and maps between them."""

from __future__ import annotations

import torch

from ioi_lab.alignment.maps import AffineMap
from ioi_lab.transfer.shared_prompts import on_shared_prompts
from tests.alignment.conftest import both as both
from tests.conftest import ioi_task


def on_prompts(models, n=24, contrast="clean_corrupt", names=("James", "Robert")):
    return on_shared_prompts(models, ioi_task(n=n).prompt_pairs(models[1].tokens), contrast, names, 0, "auto")


def random_maps(models, layers=(1, 2)):
    generator = torch.Generator().manual_seed(0)
    widths = [model.shape.d_model for model in models]
    return {
        (i, j): AffineMap(
            torch.randn(*widths, generator=generator, dtype=torch.float64) / widths[0] ** 0.5,
            torch.randn(widths[1], generator=generator, dtype=torch.float64),
        )
        for i in layers
        for j in layers
    }
