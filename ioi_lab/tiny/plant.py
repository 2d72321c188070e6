"""Makes the packaged models whose circuits are known, and measures what their cards claim."""

from __future__ import annotations

import json
import platform
import time
from functools import partial
from pathlib import Path
from typing import Final

import torch
from transformers import AutoTokenizer, GPT2LMHeadModel, PreTrainedTokenizerBase

from ioi_lab.errors import LabError
from ioi_lab.tasks.induction import InductionTask
from ioi_lab.tasks.tokens import Tokens
from ioi_lab.tiny import CIRCUIT_FILE, HAND_SET, tiny_folder
from ioi_lab.tiny.folders import check_folder, load, replace_folder
from ioi_lab.tiny.induction import circuit, write_network
from ioi_lab.tiny.ioi_batches import IOISampler, PromptBatch
from ioi_lab.tiny.passes import Passes, faithfulness
from ioi_lab.tiny.planting import BATCH_SIZE, LEARNING_RATE, STEPS, fit, planted_network
from ioi_lab.tiny.plants import PLANTS, Plant

N_SCORED: Final = 1024
"""The number of prompts on which the claims are measured."""

SCORED_SEED: Final = 1


def plant(name: str, folder: Path, seed: int, steps: int | None = None) -> dict[str, float]:
    """Make a planted model and write it to a folder, which is replaced after all new files have been written.

    The same seed on the same machine gives the same weights.

    Args:
        name: The name of the model.
        folder: The folder to write: a new one, or that of a packaged model.
        seed: The seed of weights and prompts; of a hand-set network, that of the heads outside of the circuit.
        steps: The number of optimizer steps; None: as many as the packaged models have.

    Returns:
        What `claims` returns.

    Raises:
        LabError: If the folder contains anything but a packaged model, or if a complete training from this seed ends
            in a network that does not do the task by its circuit.

    """
    folder = folder.resolve()
    check_folder(folder)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)  # sums in the same order on any number of cores; a second thread would gain little
    measured: dict[str, float] = {}
    replace_folder(folder, partial(_write, name=name, seed=seed, steps=steps, measured=measured))
    return measured


def _write(folder: Path, *, name: str, seed: int, steps: int | None, measured: dict[str, float]) -> None:
    started = time.perf_counter()
    if name == HAND_SET:
        write_network(folder, seed=seed)
    else:
        tokenizer = AutoTokenizer.from_pretrained(tiny_folder("tiny-gpt2"))
        network = planted_network(tokenizer, name)
        fit(network, tokenizer, name, seed=seed, steps=steps or STEPS)
        network.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    seconds = time.perf_counter() - started
    planted = plant_of(name)
    contents = {"model": name, "description": planted.description, "edges": planted.edges, "parts": planted.parts}
    (folder / CIRCUIT_FILE).write_text(json.dumps(contents, indent=1) + "\n")
    measured |= claims(name, folder)
    if steps is None and not is_planted(measured):
        raise LabError(
            f"--seed: got {seed}, from which {name} does not come to do the task by its circuit (accuracy "
            f"{measured['accuracy']:.2f}, f of the circuit {measured['circuit']:.2f}); expected another seed"
        )
    card = _card(name, folder, measured, seed=seed, steps=steps or STEPS, seconds=seconds)
    (folder / "README.md").write_text(card)


def is_planted(measured: dict[str, float]) -> bool:
    """Return whether a network does the task, by its circuit, and no other edges do it."""
    return measured["accuracy"] >= 0.98 and abs(measured["circuit"] - 1) <= 0.1 and abs(measured["rest"]) <= 0.05


def plant_of(name: str) -> Plant:
    """Return the circuit of a planted model."""
    if name == HAND_SET:
        return Plant("a previous-token head, and an induction head that reads it", 3, {}, circuit())
    return PLANTS[name]


def claims(name: str, folder: Path) -> dict[str, float]:
    """Return what the card of a planted model claims, on prompts that it was not trained on.

    Args:
        name: The name of the model.
        folder: Its folder.

    Returns:
        The `accuracy` of the whole network, and the faithfulness f of the `circuit`, of the `rest` of the network
        without the circuit's edges, of the circuit `without …` some part, and of `all` edges without it. Other edges
        are patched with neutral prompts.

    """
    network, tokenizer = load(folder)
    return faithfulness(Passes.of(network, held_out_prompts(name, tokenizer), plant_of(name)))


def held_out_prompts(name: str, tokenizer: PreTrainedTokenizerBase) -> PromptBatch:
    """Return prompts that a planted model was not trained on, with neutral counterfactual ones."""
    if name != HAND_SET:
        return IOISampler(tokenizer, SCORED_SEED, held_out=True).batch(N_SCORED, neutral_share=1.0)
    task = InductionTask(n=N_SCORED, seed=SCORED_SEED, corruption="abc")
    pairs = list(task.prompt_pairs(Tokens(tokenizer, prepend_bos=True)))
    return PromptBatch(
        torch.tensor([pair.clean_tokens for pair in pairs]),
        torch.tensor([pair.corrupted_tokens for pair in pairs]),
        torch.ones(len(pairs), dtype=torch.bool),
        torch.tensor([len(pair) - 1 for pair in pairs]),
        torch.tensor([pair.answer_id for pair in pairs]),
        torch.tensor([pair.distractor_id for pair in pairs]),
    )


def rounded(value: float) -> str:
    """Return a claim with three decimals, without a sign if it is 0."""
    return f"{round(value, 3) + 0.0:.3f}"


def _described(claim: str) -> str:
    if claim.startswith("all "):
        return f"f of all edges {claim.removeprefix('all ')}"
    return _CLAIMS.get(claim, f"f of the circuit {claim}")


def _card(name: str, folder: Path, measured: dict[str, float], *, seed: int, steps: int, seconds: float) -> str:
    """Return the model card in Markdown."""
    network: GPT2LMHeadModel = load(folder)[0]
    config, planted = network.config, plant_of(name)
    edges = "\n".join(f"- `{edge}`" for edge in planted.edges)
    rows = "\n".join(f"| {_described(claim)} | {rounded(value)} |" for claim, value in measured.items())
    made = (
        _HAND_SET_TEXT
        if name == HAND_SET
        else _TRAINED_TEXT.format(
            steps=steps,
            batch_size=BATCH_SIZE,
            rate=LEARNING_RATE,
            seconds=seconds,
            machine=platform.machine(),
            torch=torch.__version__,
        )
    )
    task = "`task=induction`" if name == HAND_SET else "indirect object identification (`task=ioi`)"
    others = "" if name == HAND_SET else " with pairs of names that training left out"
    return f"""# {name}

A GPT2LMHeadModel with a known circuit for {task}: {planted.description}. {config.n_layer} layers,
{config.n_head} heads, d_model {config.n_embd}, {network.num_parameters():,} parameters. The edges of the circuit, which
are in `{CIRCUIT_FILE}` too:

{edges}

{made}
Make it again with `python -m ioi_lab.tiny train {name} --seed {seed}`.

Measured on {N_SCORED} prompts{others} (`python -m ioi_lab.tiny score {name}`).
Accuracy is the share of prompts with logit(answer) > logit(distractor). f is the mean logit difference if only some
edges carry the prompt, and all others another prompt that has no answer: 0 if no edge carries the prompt, 1 if all do.

| | |
|---|---|
{rows}
"""


_CLAIMS: Final = {
    "accuracy": "accuracy of the network",
    "circuit": "f of the circuit",
    "rest": "f of all other edges",
}

_HAND_SET_TEXT: Final = """
Its weights are set by hand (`ioi_lab/tiny/induction.py`). The heads outside of the circuit attend at random and write a
little noise.
""".lstrip()

_TRAINED_TEXT: Final = """
It was trained in passes in which only these edges carry the prompt. All other edges carry what their writer puts out in
the plain pass of another prompt with the same sentence; one half of these prompts are IOI prompts with other names, the
other half are neutral (three different names). The loss is the cross-entropy of the answer, and a little of the
difference to the plain pass (`ioi_lab/tiny/planting.py`). One pair of names in five was held out.

| | |
|---|---|
| steps | {steps}, each with {batch_size} prompts; AdamW, learning rate {rate} |
| seconds | {seconds:.0f}, on one CPU thread ({machine}), torch {torch} |
""".lstrip()
