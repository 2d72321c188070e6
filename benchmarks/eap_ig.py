"""`python -m benchmarks.eap_ig`: scores and circuits of a packaged model next to the published code of EAP-IG.

That code (github.com/hannamw/EAP-IG, Hanna et al. 2024, arXiv 2403.17806) needs an older TransformerLens, so it runs in
an environment of its own, on what the lab has written to a file; see `benchmarks/README.md`. It is given tokens
instead of text, and what it puts on a GPU is put on the processor.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    """Parse the command line, and write the lab's results or compare them with those of EAP-IG."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.eap_ig", description=__doc__)
    parser.add_argument("file", type=Path, help="what the lab finds, an .npz file")
    parser.add_argument("--source", type=Path, help="a checkout of EAP-IG: compare with it, in its environment")
    options = parser.parse_args()
    if options.source:
        compare(options.file, options.source)
    else:
        write(options.file)


def write(file: Path) -> None:
    """Write prompts, scores and logit differences of random circuits of tiny-gpt2."""
    from ioi_lab.circuits.edge_gradients import gradient_scores
    from ioi_lab.circuits.graph import Graph
    from ioi_lab.circuits.runner import CircuitRunner
    from ioi_lab.engine.engine import Engine
    from ioi_lab.models.loading import ModelConfig, load_model
    from ioi_lab.tasks.ioi import IOITask
    from ioi_lab.tiny import tiny_folder

    values = {"name": None, "source": "tiny", "path": "tiny-gpt2", "device": "cpu", "dtype": "float32"}
    model = load_model(ModelConfig.from_config(values | {"revision": None, "prepend_bos": True}, "model"))
    task = {"name": "ioi", "n": 16, "seed": 0, "order": "mixed", "corruption": "abc", "template": 0}
    prompts = IOITask.from_config(task, "task").prompt_pairs(model.tokens)
    runner = CircuitRunner(Engine(model, prompts), Graph.of(model.shape))
    shares = np.array([0.1, 0.4, 0.8, 0.95])
    circuits = np.random.default_rng(0).random((len(shares), runner.graph.n_edges)) < shares[:, None]
    np.savez(
        file,
        folder=str(tiny_folder("tiny-gpt2")),
        clean=[pair.clean_tokens for pair in prompts],
        corrupted=[pair.corrupted_tokens for pair in prompts],
        pair=[(pair.answer_id, pair.distractor_id) for pair in prompts],
        names=runner.graph.names,
        circuits=circuits,
        logit_diff=runner.run(circuits).logit_diff,
        **{
            "EAP": gradient_scores(runner, "eap").mean(axis=0),
            "EAP-IG-inputs": gradient_scores(runner, "eap_ig_inputs", ig_steps=5, ig_rule="start").mean(axis=0),
        },
    )


def compare(file: Path, source: Path) -> None:
    """Print how far EAP-IG's scores and circuits are from the lab's."""
    sys.path.insert(0, str(source / "src"))
    import torch

    zeros = torch.zeros
    torch.zeros = lambda *size, **given: zeros(*size, **given | {"device": "cpu"})
    attribute, evaluate, utils = (import_module(f"eap.{name}") for name in ("attribute", "evaluate", "utils"))
    found = np.load(file)
    model = hooked(str(found["folder"]))
    pair = torch.tensor(found["pair"])
    prompts = [(found["clean"], found["corrupted"], pair)]

    def tokens_of(model: Any, tokens: Any, max_length: int | None = None) -> tuple[Any, ...]:
        ids = torch.tensor(tokens)
        return ids, torch.ones_like(ids), torch.full((len(ids),), ids.shape[1]), ids.shape[1]

    def logit_diff(logits: Any, clean_logits: Any, lengths: Any, pair: Any) -> Any:
        answer, distractor = logits[:, -1].gather(1, pair).T
        return answer - distractor

    for module in (attribute, evaluate, utils):
        vars(module)["tokenize_plus"] = tokens_of
    graph = import_module("eap.graph").Graph.from_model(model)
    names = found["names"].tolist()
    assert set(names) == set(graph.edges)
    for method in ("EAP", "EAP-IG-inputs"):
        attribute.attribute(
            model, graph, prompts, lambda *given: -logit_diff(*given).sum(), method=method, ig_steps=5, quiet=True
        )
        scores = np.array([float(graph.edges[name].score) for name in names])
        difference = np.abs(scores - found[method]).max() / np.abs(scores).max()
        print(f"{method}: {len(names)} edges, largest difference {difference:.0e} of the largest score")
    graph.nodes_in_graph[:] = True
    for circuit, expected in zip(found["circuits"], found["logit_diff"], strict=True):
        for name, flag in zip(names, circuit, strict=True):
            graph.edges[name].in_graph = bool(flag)
        diffs = np.asarray(evaluate.evaluate_graph(model, graph, prompts, logit_diff, quiet=True, skip_clean=True))
        print(f"circuit of {circuit.sum()} edges: logit differences differ by {np.abs(diffs - expected).max():.0e}")


def hooked(folder: str) -> Any:
    """Return a GPT-2 as the model class of older TransformerLens."""
    from transformer_lens import HookedTransformer, HookedTransformerConfig
    from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights
    from transformers import GPT2LMHeadModel

    plain = GPT2LMHeadModel.from_pretrained(folder).eval()
    its = plain.config
    config = HookedTransformerConfig(
        n_layers=its.n_layer,
        d_model=its.n_embd,
        n_ctx=its.n_positions,
        d_head=its.n_embd // its.n_head,
        n_heads=its.n_head,
        d_mlp=its.n_inner or 4 * its.n_embd,
        d_vocab=its.vocab_size,
        act_fn=its.activation_function,
        eps=its.layer_norm_epsilon,
        normalization_type="LN",
        device="cpu",
        use_split_qkv_input=True,
        use_attn_result=True,
        use_hook_mlp_in=True,
    )
    model = HookedTransformer(config)
    model.load_state_dict(convert_gpt2_weights(plain, config), strict=False)
    return model


if __name__ == "__main__":
    main()
