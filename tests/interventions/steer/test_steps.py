from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ioi_lab.engine.edits import Site
from ioi_lab.interventions.steer.steps import Step, VectorSource

SITE = Site("resid_pre", 2, None, "END")


def test_directions_in_residual_norms_are_as_long_as_the_activation():
    directions = np.array([[3.0, 4.0], [0.0, 0.0], [0.0, -0.5]])
    step = Step.of(SITE, directions, None, 10.0)
    assert step.norms.tolist() == [5.0, 0.0, 0.5]
    assert step.norm == pytest.approx(5.5 / 3)
    longer = step.in_residual_norms()
    assert longer.directions == pytest.approx(np.array([[6.0, 8.0], [0.0, 0.0], [0.0, -10.0]]))
    assert (longer.norms.tolist(), longer.site_norm) == ([10.0, 0.0, 10.0], 10.0)


def test_text_is_steered_at_all_positions_as_the_prompts_in_turn():
    directions = np.array([[1.0, 0.0], [0.0, 2.0]])
    ((edit,), (other,)) = Step.of(SITE, directions, None, 1.0).edits_on_text([0.5, 2.0], 3)
    assert edit.site == Site("resid_pre", 2, None, "all")
    assert torch.equal(edit.value, torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 0.0]]))
    assert (edit.operation, edit.scale, other.scale) == ("add", 0.5, 2.0)


def test_sites_have_seeds_of_their_own():
    source = VectorSource("random", "clean_corrupt", ("James", "Robert"), Path("x"), seed=7)
    sites = [Site("z", layer, head) for layer in (0, 1) for head in (None, 0, 1)]
    assert len({tuple(source.seeds(site)) for site in sites}) == len(sites)
    assert source.seeds(Site("z", 1, 2)) == [7, 1, 3]
