"""What is tried on blocks: their kinds, the stream within them, and passes that end after one."""

from __future__ import annotations

import pytest

from ioi_lab.engine.blocks import captures_are_exact, check_what_is_written, kind_of_block, stream_is_sum
from ioi_lab.engine.edits import Edit, FromPass, Site
from ioi_lab.engine.engine import Engine
from ioi_lab.engine.exactness import proofs_of
from ioi_lab.engine.forward import Forward
from ioi_lab.errors import LabError
from ioi_lab.models.loading import load_model
from tests.conftest import ARCHITECTURES, hugging_face, ioi_task, model_config
from tests.engine.helpers import components
from tests.engine.test_exactness import passes_and_prompt
from tests.odd_models import write_odd_model
from tests.oracle import changed, tokens


def odd(name, folder):
    model = load_model(model_config(write_odd_model(name, folder)))
    return model, hugging_face(folder / name), ioi_task(n=2).prompt_pairs(model.tokens)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_usual_blocks(setups, architecture):
    arguments = passes_and_prompt(setups[architecture])
    shape = setups[architecture][0].shape
    assert stream_is_sum(*arguments)
    assert all(captures_are_exact(*arguments, component) for component in components(shape))
    for component in components(shape):
        check_what_is_written(*arguments, component)
    assert len({kind_of_block(arguments[0], layer) for layer in range(shape.n_layers)}) == 1


def test_blocks_whose_norms_follow_the_sums(tmp_path):
    arguments = passes_and_prompt(odd("opt-post", tmp_path))
    assert not stream_is_sum(*arguments)
    check_what_is_written(*arguments, "attn_out")
    with pytest.raises(LabError, match="got 'resid_mid', which cannot be distinguished in the blocks of opt-post"):
        check_what_is_written(*arguments, "resid_mid")


def test_attention_that_puts_out_the_stream(tmp_path):
    with pytest.raises(LabError, match="got 'attn_out', which is not a component of bert-decoder: the output of its"):
        check_what_is_written(*passes_and_prompt(odd("bert-decoder", tmp_path)), "attn_out")


def test_kinds_of_blocks(tmp_path):
    passes, _ = passes_and_prompt(odd("jamba", tmp_path))
    kinds = [kind_of_block(passes, layer) for layer in range(4)]
    assert kinds[0] != kinds[1]
    assert len(set(kinds)) == 2 if kinds[0] == kinds[2] else len(set(kinds)) > 2


def captured(model, prompts):
    """What a receiver computes from a change of the stream before it, and the same by plain hooks."""
    sites = [Site("z", 1), Site("resid_mid", 1)]
    edits = [[Edit(Site("resid_pre", 1), "replace", FromPass("corrupted"))]]
    return Engine(model, prompts).capture(edits, "clean", sites), sites


@pytest.mark.parametrize("broken", [False, True])
def test_captures_in_passes_that_end_early(tmp_path, monkeypatch, caplog, broken):
    """GPT-Neo's blocks return tuples. If a part goes wrong, whole passes are used, with the same numbers."""
    model, plain, prompts = odd("gptneo", tmp_path)
    if broken:
        right = Forward.part

        def early_parts_fail(forward, base, part, *arguments, **keywords):
            if part.last < model.shape.n_layers - 1:
                raise RuntimeError("no early end here")
            return right(forward, base, part, *arguments, **keywords)

        monkeypatch.setattr(Forward, "part", early_parts_fail)
    got, sites = captured(model, prompts)
    assert proofs_of(model).proved_captures == {"z": not broken, "resid_mid": not broken}
    assert ("whole passes to capture z" in caplog.text) == broken
    for row, pair in enumerate(prompts):
        stream = []
        with changed(plain, Site("resid_pre", 1), lambda x, stream=stream: stream.append(x) or x):
            plain(tokens(pair, "corrupted"))
        for site in sites:
            kept = []
            with (
                changed(plain, Site("resid_pre", 1), lambda x, stream=stream: stream[0]),
                changed(plain, site, lambda x, kept=kept: kept.append(x) or x),
            ):
                plain(tokens(pair, "clean"))
            assert (got[site][0, row, : len(pair)] - kept[0]).abs().max() < 1e-4
