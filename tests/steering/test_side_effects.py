from __future__ import annotations

import numpy as np
import pytest
import torch

from ioi_lab.engine.edits import Edit, Site
from ioi_lab.engine.engine import Engine
from ioi_lab.steering.side_effects import side_effects
from ioi_lab.tasks.prompts import PromptPair, PromptPairs
from ioi_lab.tasks.text import TEXTS, passages
from tests.conftest import hugging_face
from tests.oracle import change_of, changed


@pytest.fixture
def text(model) -> PromptPairs:
    """Passages of several lengths."""
    return PromptPairs(list(passages(model, TEXTS / "tiny_english.txt", "text", 400)))


def plain_loss_and_top(plain, piece: PromptPair, row: int, edit: Edit | None):
    """Hugging Face's own loss of one passage, and the likeliest next tokens."""
    ids = torch.tensor([piece.clean_tokens])
    with torch.no_grad():
        if edit is None:
            output = plain(ids, labels=ids)
        else:
            with changed(plain, edit.site, change_of(plain, edit, piece, row, None)):
                output = plain(ids, labels=ids)
    return float(output.loss), output.logits[0, :-1].argmax(-1)


@pytest.mark.parametrize(("component", "head"), [("resid_pre", None), ("resid_post", None), ("z", 1)])
def test_loss_and_top_tokens_are_those_of_the_plain_model(model, folder, text, component, head):
    site = Site(component, 1, head)
    vectors = 3 * torch.randn(
        len(text), site.width(model.shape, text.longest), generator=torch.Generator().manual_seed(0)
    )
    edits = [Edit(site, "add", vectors, scale) for scale in (-1.0, 0.0, 2.0)]
    effects = side_effects(Engine(model, text), [(edit,) for edit in edits])
    plain = hugging_face(folder)
    for row, piece in enumerate(text):
        loss, top = plain_loss_and_top(plain, piece, row, None)
        assert effects.loss[row] == pytest.approx(loss, abs=1e-4)
        for index, edit in enumerate(edits):
            edited_loss, edited_top = plain_loss_and_top(plain, piece, row, edit)
            assert effects.loss_change[index, row] == pytest.approx(edited_loss - loss, abs=1e-4)
            assert effects.agreement[index, row] == pytest.approx(float((edited_top == top).double().mean()))
    assert np.abs(effects.loss_change[[0, 2]]).max() > 0.05
    assert effects.agreement[[0, 2]].min() < 1
    assert np.abs(effects.loss_change[1]).max() < 1e-5
    assert (effects.agreement[1] == 1).all()


def test_the_memory_bound_changes_nothing(model, text):
    edits = [(Edit(Site("resid_pre", 1), "add", torch.ones(model.shape.d_model), 1.0),)]
    roomy, tight = (side_effects(Engine(model, text, memory_gb), edits) for memory_gb in (2.0, 0.003))
    assert tight.loss_change == pytest.approx(roomy.loss_change, abs=1e-5)
