"""`python -m benchmarks.circuits`: circuits, exact edges and estimates of edges next to their peers, in one process.

Peers take turns with the lab, so that a machine that changes its pace favours neither; times are medians of the turns.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final, TypeVar

import numpy as np
import torch
from jaxtyping import Bool

from benchmarks.__main__ import describe_machine
from benchmarks.models import model_config, prompt_pairs
from ioi_lab.circuits.edge_effects import edge_chunks, edge_edits
from ioi_lab.circuits.edge_gradients import gradient_scores
from ioi_lab.circuits.graph import Flags, Graph, Reader, ReaderInput
from ioi_lab.circuits.runner import CircuitRunner
from ioi_lab.circuits.selection import pruned, topn
from ioi_lab.engine.engine import Engine
from ioi_lab.models.loading import LabModel, ModelConfig, load_model
from ioi_lab.stats.metrics import Array
from ioi_lab.tasks.ioi import IOITask
from ioi_lab.tasks.prompts import PromptPairs

Result = TypeVar("Result")

PARTS: Final = ("joint", "exact", "tiny", "estimates", "smollm2")
SAMPLED_LAYERS: Final = (0, 3, 6, 9, 11)
SAMPLED_WRITERS: Final = 3
"""Writers per sampled layer, drawn at random, whose edges into all readers of the layer are ablated one by one."""

NEEDED_BY_HOOKS: Final[dict[ReaderInput, str | None]] = {
    **dict.fromkeys(("q", "k", "v"), "set_use_split_qkv_input"),
    "mlp": "set_use_hook_mlp_in",
    "logits": None,
}
"""What has to be turned on in TransformerLens to change what readers of a kind read."""


def main() -> None:
    """Parse the command line, run, and print one table per part."""
    options = _options()
    torch.set_num_threads(options.threads)
    print(describe_machine(options.device, options), flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if {"joint", "exact", "estimates"} & set(options.parts):
            model = load_model(model_config("gpt2-small-shape", folder, options.device, options.dtype))
            if "joint" in options.parts:
                time_joint(model, options)
            if "exact" in options.parts:
                print(
                    "\n| prompts | edges | sampled | their s | all, extrapolated | hooks | ratio | largest difference |"
                )
                print("|" + "---|" * 8)
                for name, prompts in both_corruptions(model, options.prompts).items():
                    time_exact(name, model, prompts, options)
            if "estimates" in options.parts:
                time_estimates(model, options)
    if "tiny" in options.parts:
        for name in ("tiny-gpt2", "tiny-pythia"):
            values = {"name": name, "source": "tiny", "path": name, "device": options.device, "dtype": options.dtype}
            config = ModelConfig.from_config(values | {"revision": None, "prepend_bos": True}, "model")
            time_whole(load_model(config), options)
    if "smollm2" in options.parts:
        time_smollm2(options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.circuits", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--memory-gb", type=float, default=2.0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--cpu-seconds", action="store_true", help="of one thread, on a machine that others use too")
    options = parser.parse_args()
    if options.cpu_seconds:
        options.threads = 1
    return options


def timed(work: Callable[[], Result], options: argparse.Namespace) -> tuple[float, Result]:
    """Return the seconds that some work takes, and its result."""
    clock = time.process_time if options.cpu_seconds else time.perf_counter
    start = clock()
    result = work()
    if options.device.startswith("cuda"):
        torch.cuda.synchronize()
    return clock() - start, result


def in_turns(works: dict[str, Callable[[], object]], options: argparse.Namespace) -> dict[str, list[float]]:
    """Return the seconds of each work in each turn, after one that does not count."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for turn in range(options.turns + 1):
        for name, work in works.items():
            if turn:
                seconds[name].append(timed(work, options)[0])
            else:
                work()
    return seconds


def time_joint(model: LabModel, options: argparse.Namespace) -> None:
    """Print how long one circuit takes, as a multiple of a plain forward pass of the Hugging Face model."""
    plain = plain_model(model, options)
    print("\n| prompts | circuit | edges | s | × plain forward |\n|" + "---|" * 5)
    for name, prompts in both_corruptions(model, options.prompts).items():
        runner = runner_of(model, prompts, options)
        tokens = torch.tensor([pair.clean_tokens for pair in prompts], device=options.device)
        circuits = circuits_of(runner)

        works: dict[str, Callable[[], object]] = {"plain": partial(torch.no_grad()(plain), tokens, use_cache=False)}
        works |= {kind: partial(runner.run, of_kind, progress=False) for kind, of_kind in circuits.items()}
        seconds = in_turns(works, options)
        for kind, of_kind in circuits.items():
            per_circuit = [each / len(of_kind) for each in seconds[kind]]
            ratio = median(a / b for a, b in zip(per_circuit, seconds["plain"], strict=True))
            print(f"| {name} | {kind} | {of_kind[0].sum():,} | {median(per_circuit):.2f} | {ratio:.2f} |", flush=True)
        print(f"| {name} | plain forward | | {median(seconds['plain']):.2f} | 1 |", flush=True)


def circuits_of(runner: CircuitRunner) -> dict[str, Bool[Flags, "circuit edge"]]:
    """Return four circuits of each kind."""
    graph, rng = runner.graph, np.random.default_rng(0)
    drawn = {f"random {share:.0%}": rng.random((4, graph.n_edges)) < share for share in (0.02, 0.1, 0.5)}
    scores = gradient_scores(runner, "eap")
    few = round(0.02 * graph.n_edges)
    best = [pruned(graph, topn(scores[row::4].mean(axis=0), "absolute").circuit(few)) for row in range(4)]
    one_off = np.arange(graph.n_edges) != rng.integers(graph.n_edges, size=4)[:, None]
    return {**drawn, "top 2% by EAP, pruned": np.stack(best), "one edge off": one_off}


def time_exact(name: str, model: LabModel, prompts: PromptPairs, options: argparse.Namespace) -> None:
    """Print the time of a sample of the exact effects of edges, and of all, next to TransformerLens' hooks."""
    runner = runner_of(model, prompts, options)
    graph, rng = runner.graph, np.random.default_rng(0)
    layers = np.array([reader.layer for reader in graph.readers])[graph.edge_reader]
    counts = np.bincount(layers)
    per_edge: dict[int, float] = {}
    found: dict[int, Array] = {}
    n_sampled, n_taken = 0, 0.0
    for layer in (*SAMPLED_LAYERS, graph.shape.n_layers):
        before = graph.n_writers_before(Reader("q", layer, 0))
        most = SAMPLED_WRITERS if layer < graph.shape.n_layers else before  # edges into the logits cost next to nothing
        writers = rng.choice(before, min(most, before), replace=False)
        edges = np.flatnonzero((layers == layer) & np.isin(graph.edge_writer, writers)).tolist()
        if not per_edge:
            exact(runner, edges[:2])  # warm up, and try the parts of passes
        taken, results = timed(partial(exact, runner, edges), options)
        found |= results
        per_edge[layer] = taken / len(edges)
        n_sampled, n_taken = n_sampled + len(edges), n_taken + taken
    every = np.interp(np.arange(len(counts)), list(per_edge), list(per_edge.values()))
    whole = float(every @ counts)
    of_lens, difference = time_transformer_lens(runner, found, options)
    kinds = np.array([reader.input for reader in graph.readers])[graph.edge_reader]
    lens = sum(of_lens[kind] * int((kinds == kind).sum()) for kind in of_lens)
    print(
        f"| {name} | {graph.n_edges:,} | {n_sampled:,} | {n_taken:.0f} | {whole / 60:.0f} min | {lens / 60:.0f} min | "
        f"{lens / whole:.1f} | {difference:.0e} |"
    )
    print("ms per edge by layer of the reader:", {layer: round(1000 * each) for layer, each in per_edge.items()})
    print("ms per edge with hooks:", {kind: round(1000 * each) for kind, each in of_lens.items()}, flush=True)


def exact(runner: CircuitRunner, edges: Sequence[int]) -> dict[int, Array]:
    """Return the logit differences `[prompt]` without each edge."""
    found: dict[int, Array] = {}
    for chunk in edge_chunks(runner, edges):
        readout = runner.engine.run(edge_edits(runner, chunk), "clean", progress=False)
        found |= dict(zip(chunk, readout.logit_diff, strict=True))
    return found


def time_transformer_lens(
    runner: CircuitRunner, found: dict[int, Array], options: argparse.Namespace
) -> tuple[dict[ReaderInput, float], float]:
    """Return the seconds per edge of one hooked pass each, by kind of reader, and the largest difference of results.

    What writers write is known before, and not counted.
    """
    model, graph, prompts = runner.engine.model, runner.graph, runner.engine.prompts
    bridge, rng = bridge_of(model, options), np.random.default_rng(1)
    tokens, *pair = (
        torch.tensor([getattr(pair, name) for pair in prompts], device=options.device)
        for name in ("clean_tokens", "answer_id", "distractor_id")
    )
    seconds: dict[ReaderInput, float] = {}
    largest = 0.0
    kinds = np.array([graph.readers[graph.edge_reader[edge]].input for edge in found])
    for kind, need in NEEDED_BY_HOOKS.items():
        if need:
            getattr(bridge, need)(True)
        of_kind = rng.choice(np.array(list(found))[kinds == kind], options.turns).tolist()
        taken = []
        for edge in (of_kind[0], *of_kind):  # the first does not count
            change = runner.changes([int(graph.edge_writer[edge])])[0].to(bridge.W_E.dtype)
            hook = reader_hook(graph.readers[graph.edge_reader[edge]], change, graph.shape.n_layers)
            run = partial(torch.no_grad()(bridge.run_with_hooks), tokens, fwd_hooks=[hook])
            spent, logits = timed(run, options)
            taken.append(spent)
            answer, distractor = (logits[:, -1].gather(1, each[:, None])[:, 0].float() for each in pair)
            logit_diff = (answer - distractor).cpu().numpy()
            largest = max(largest, float(np.abs(logit_diff - found[edge]).max()))
        seconds[kind] = median(taken[1:])
        if need:
            getattr(bridge, need)(False)
    return seconds, largest


def reader_hook(reader: Reader, change: torch.Tensor, n_layers: int) -> tuple[str, Callable[..., Any]]:
    """Return the hook that takes an edge out, as a TransformerLens user would write it."""
    if reader.input == "logits":
        return f"blocks.{n_layers - 1}.hook_resid_post", lambda stream, hook: stream - change
    if reader.input == "mlp":
        return f"blocks.{reader.layer}.hook_mlp_in", lambda stream, hook: stream - change

    def subtract(stream: torch.Tensor, hook: object) -> torch.Tensor:
        stream = stream.clone()
        stream[:, :, reader.head] -= change
        return stream

    return f"blocks.{reader.layer}.attn.hook_{reader.input}_input", subtract


def time_whole(model: LabModel, options: argparse.Namespace) -> None:
    """Print how long the exact effects of all edges of a small model take."""
    task = {"name": "ioi", "n": options.prompts, "seed": 0, "order": "mixed", "corruption": "s2", "template": "all"}
    runner = runner_of(model, IOITask.from_config(task, "task").prompt_pairs(model.tokens), options)
    edges = list(range(runner.graph.n_edges))
    exact(runner, edges[:2])
    seconds = [timed(lambda: exact(runner, edges), options)[0] for _ in range(3)]
    print(f"{model.shape.name}: all {len(edges)} exact edges on {options.prompts} prompts in {median(seconds):.1f} s")


def time_estimates(model: LabModel, options: argparse.Namespace) -> None:
    """Print the time per prompt pair of EAP and EAP-IG, next to TransformerLens' edge attribution."""
    from transformer_lens.tools.analysis.attribution_patching import EdgeAttributionConfig, attribution_patch

    prompts = prompt_pairs(model.tokens, options.prompts)
    bridge, first = bridge_of(model, options), prompts[0]
    clean, corrupted = (
        torch.tensor([tokens], device=options.device) for tokens in (first.clean_tokens, first.corrupted_tokens)
    )

    def peer() -> object:
        return attribution_patch(
            bridge,
            clean,
            corrupted,
            lambda logits: logits[0, -1, first.answer_id] - logits[0, -1, first.distractor_id],
            EdgeAttributionConfig(granularity="edge"),
        ).edge_scores

    by_position = with_a_label_per_position(prompts)
    runners = {
        "summed": runner_of(model, prompts, options),
        "by position": runner_of(model, by_position, options, list(by_position[0].labels)[:-1]),
    }
    works: dict[str, Callable[[], object]] = {"TransformerLens": peer}
    for at, runner in runners.items():
        works[f"EAP, {at}"] = partial(gradient_scores, runner, "eap")
        works[f"EAP-IG-inputs (5 points), {at}"] = partial(gradient_scores, runner, "eap_ig_inputs")
    seconds = in_turns(works, options)
    print("\n| estimate | scores per pair | s per prompt pair | × TransformerLens' edge attribution |\n|" + "---|" * 4)
    lens = seconds["TransformerLens"]
    for name, taken in seconds.items():
        per_pair = [each / (1 if taken is lens else len(prompts)) for each in taken]
        n_scores = runners["summed"].graph.n_edges * (1 if "summed" in name else len(first))
        ratio = median(a / b for a, b in zip(lens, per_pair, strict=True))
        print(f"| {name} | {n_scores:,} | {median(per_pair):.3f} | {ratio:.1f} |", flush=True)


def time_smollm2(options: argparse.Namespace) -> None:
    """Print how long EAP-IG takes for all edges of SmolLM2-135M."""
    model = load_model(model_config("smollm2-135m", Path(), options.device, options.dtype))
    runner = runner_of(model, prompt_pairs(model.tokens, options.prompts), options)
    seconds, _ = timed(lambda: gradient_scores(runner, "eap_ig_inputs"), options)
    print(
        f"\nsmollm2-135m: EAP-IG-inputs (5 points) of {runner.graph.n_edges:,} edges on {options.prompts} prompts in "
        f"{seconds:.0f} s",
        flush=True,
    )


def both_corruptions(model: LabModel, n: int) -> dict[str, PromptPairs]:
    """Return prompts whose corrupted ones differ from an early and from a late token on."""
    values = {"name": "ioi", "n": n, "seed": 0, "order": "mixed", "template": 0}
    late = IOITask.from_config(values | {"corruption": "s2"}, "task").prompt_pairs(model.tokens)
    return {f"differ from token {min(pair.first_difference for pair in each)} of {each.longest}": each
            for each in (prompt_pairs(model.tokens, n), late)}  # fmt: skip


def with_a_label_per_position(prompts: PromptPairs) -> PromptPairs:
    """Return prompts whose tokens all have labels, so that a graph has each edge once per position."""
    return PromptPairs([replace(pair, labels={f"t{at}": at for at in range(len(pair))}) for pair in prompts])


def runner_of(
    model: LabModel, prompts: PromptPairs, options: argparse.Namespace, labels: Sequence[str] = ()
) -> CircuitRunner:
    """Return a runner with full readouts on all edges of a model."""
    engine = Engine(model, prompts, options.memory_gb, "full")
    return CircuitRunner(engine, Graph.of(model.shape, labels))


def plain_model(model: LabModel, options: argparse.Namespace) -> Any:
    """Return the Hugging Face model."""
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(model.folder, dtype=getattr(torch, options.dtype))
    return plain.to(options.device).eval()


def bridge_of(model: LabModel, options: argparse.Namespace) -> Any:
    """Return the model in TransformerLens, as its users load it."""
    from transformer_lens.model_bridge import TransformerBridge

    dtype = getattr(torch, options.dtype)
    return TransformerBridge.boot_transformers(str(model.folder), device=options.device, dtype=dtype)


if __name__ == "__main__":
    main()
