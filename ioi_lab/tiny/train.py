"""Train a tiny model on the corpus, from the tokenizer up, on CPU."""

from __future__ import annotations

import platform
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from tqdm import tqdm
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    get_cosine_schedule_with_warmup,
)

from ioi_lab.errors import LabError
from ioi_lab.tasks.ioi import IOITask
from ioi_lab.tasks.ioi_text import NAMES, OBJECTS, PLACES
from ioi_lab.tasks.prompts import PromptPairs
from ioi_lab.tasks.tokens import Tokens
from ioi_lab.tiny.corpus import IOI_SHARE, is_held_out, sentence, sentences

BOS: Final = "<|endoftext|>"
IGNORED: Final = -100
"""Target of padding in the loss, as in Hugging Face."""

MAX_POSITIONS: Final = 64
_FILES: Final = {
    "README.md",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}
MAX_TOKENS: Final = 4000
"""More than the corpus gives: merging ends when every word is one token."""


def tiny_gpt2(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A fresh `GPT2LMHeadModel`: 4 layers, 4 heads, d_model 128."""
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_positions=MAX_POSITIONS,
            n_embd=128,
            n_inner=256,
            n_layer=4,
            n_head=4,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def tiny_pythia(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A fresh `GPTNeoXForCausalLM`: 4 layers, 4 heads, d_model 96."""
    return GPTNeoXForCausalLM(
        GPTNeoXConfig(
            vocab_size=len(tokenizer),
            max_position_embeddings=MAX_POSITIONS,
            hidden_size=96,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=384,
            rotary_pct=1.0,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


@dataclass(frozen=True)
class Recipe:
    """How one tiny model is trained; `model` makes a fresh one for a tokenizer.

    `bare_words`: the tokenizer also learns each name, place and object without a space in front. It makes the two
    vocabularies differ in size and order, as those of real models do.
    """

    description: str
    model: Callable[[PreTrainedTokenizerBase], PreTrainedModel]
    bare_words: bool
    steps: int
    learning_rate: float
    tokenizer_seed: int
    batch_size: int = 128
    tokenizer_sentences: int = 20_000


RECIPES: Final[dict[str, Recipe]] = {
    "tiny-gpt2": Recipe(
        "GPT2LMHeadModel (absolute positions, LayerNorm)",
        tiny_gpt2,
        bare_words=False,
        steps=3000,
        learning_rate=2e-3,
        tokenizer_seed=1,
    ),
    "tiny-pythia": Recipe(
        "GPTNeoXForCausalLM (rotary positions, parallel blocks)",
        tiny_pythia,
        bare_words=True,
        steps=2500,
        learning_rate=2e-3,
        tokenizer_seed=2,
    ),
}


@dataclass(frozen=True)
class Score:
    """How well a model does IOI on pairs of names that it never saw together."""

    order: str
    prompts: int
    accuracy: float
    p_answer: float


def train_tokenizer(recipe: Recipe) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of the corpus, in which every word after a space is one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=MAX_TOKENS,
        special_tokens=[BOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    text = sentences(recipe.tokenizer_sentences, recipe.tokenizer_seed)
    if recipe.bare_words:
        text += 2 * [*NAMES, *PLACES, *OBJECTS]
    tokenizer.train_from_iterator(text, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=BOS,
        model_max_length=MAX_POSITIONS,
        clean_up_tokenization_spaces=False,
    )


def train(name: str, folder: Path, seed: int, steps: int | None = None) -> list[Score]:
    """Train the model `name` and write it to `folder`, which is replaced only when everything has been written.

    The same seed on the same machine gives the same weights. Raises a `LabError` for a folder that holds anything but
    a model.
    """
    folder = folder.resolve()
    others = {path.name for path in folder.glob("*")} - _FILES
    if others:
        raise LabError(f"--out: {str(folder)!r} holds {min(others)!r}; expected a new folder or that of a tiny model")
    recipe = RECIPES[name]
    steps = recipe.steps if steps is None else steps
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)  # sums in one order, however many cores there are; the models gain little from a second
    started = time.perf_counter()
    tokenizer = train_tokenizer(recipe)
    model = recipe.model(tokenizer)
    _fit(model, tokenizer, recipe, seed, steps)
    seconds = time.perf_counter() - started
    scores = score(model, tokenizer)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        new = Path(temporary) / folder.name
        model.save_pretrained(new)
        tokenizer.save_pretrained(new)
        (new / "README.md").write_text(
            _card(name, recipe, model, tokenizer, scores, seed=seed, steps=steps, seconds=seconds)
        )
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
    return scores


def load(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A trained model and its tokenizer."""
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


@torch.no_grad()
def score(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, candidates: int = 10_000) -> list[Score]:
    """Accuracy (answer above distractor) and mean P(answer) on held-out name pairs, in ABBA and in BABA order.

    Of `candidates` prompts an order about one in five has a held-out pair of names, and only those count.
    """
    model.eval()
    scores = []
    for order in ("abba", "baba"):
        config = {"name": "ioi", "n": candidates, "seed": 1, "order": order, "corruption": "s2", "template": "all"}
        candidate_pairs = IOITask.from_config(config, "task").prompt_pairs(Tokens(tokenizer, prepend_bos=True))
        prompts = PromptPairs([p for p in candidate_pairs if is_held_out(p.answer.strip(), p.distractor.strip())])
        answer, distractor = _end_probabilities(model, prompts)
        accuracy = (answer > distractor).float().mean().item()
        scores.append(Score(order, len(prompts), accuracy, answer.mean().item()))
    return scores


def _end_probabilities(model: PreTrainedModel, prompts: PromptPairs) -> tuple[Tensor, Tensor]:
    """P(answer) and P(distractor) at END of the clean prompts, each `[prompt]` (in order of length)."""
    answers, distractors = [], []
    for rows in prompts.buckets().values():
        pairs = [prompts[row] for row in rows]
        logits = model(torch.tensor([pair.clean_tokens for pair in pairs])).logits[:, -1]
        probabilities = logits.softmax(dim=-1)
        each = torch.arange(len(pairs))
        answers.append(probabilities[each, [pair.answer_id for pair in pairs]])
        distractors.append(probabilities[each, [pair.distractor_id for pair in pairs]])
    return torch.cat(answers), torch.cat(distractors)


def _fit(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, recipe: Recipe, seed: int, steps: int) -> None:
    """Next-token training with AdamW and one cosine cycle of the learning rate after a short warm-up."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=0.01)
    schedule = get_cosine_schedule_with_warmup(optimizer, num_warmup_steps=steps // 20, num_training_steps=steps)
    batches = _batches(tokenizer, recipe.batch_size, random.Random(seed))
    progress = tqdm(range(steps), desc="training", unit="step", disable=None)
    for _ in progress:
        tokens, targets = next(batches)
        loss = model(tokens, labels=targets).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        progress.set_postfix(loss=f"{loss.item():.3f}", refresh=False)


def _batches(
    tokenizer: PreTrainedTokenizerBase, batch_size: int, rng: random.Random
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches of fresh sentences: tokens and targets `[batch, pos]`, each sentence framed by BOS."""
    bos = tokenizer.bos_token_id
    while True:
        texts = [sentence(rng) for _ in range(batch_size)]
        rows = [torch.tensor([bos, *ids, bos]) for ids in tokenizer(texts, add_special_tokens=False).input_ids]
        yield (
            torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=bos),
            torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=IGNORED),
        )


def _card(
    name: str,
    recipe: Recipe,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    scores: list[Score],
    *,
    seed: int,
    steps: int,
    seconds: float,
) -> str:
    """The model card."""
    config = model.config
    rows = "\n".join(f"| {s.order.upper()} | {s.prompts} | {s.accuracy:.4f} | {s.p_answer:.4f} |" for s in scores)
    return f"""# {name}

{recipe.description}: {config.num_hidden_layers} layers, {config.num_attention_heads} heads, d_model
{config.hidden_size}, {model.num_parameters():,} parameters, vocabulary {len(tokenizer)}. Made to do indirect object
identification on a laptop without a network; it knows nothing else.

Retrain it with `python -m ioi_lab.tiny train {name} --seed {seed}`.

| | |
|---|---|
| data | sentences made by `ioi_lab/tiny/corpus.py`: {IOI_SHARE:.0%} IOI, the rest with one, two and three names |
| held out | one pair of names in five never stands in one sentence |
| steps | {steps} of {recipe.batch_size} sentences, AdamW, learning rate {recipe.learning_rate} |
| seconds | {seconds:.0f}, on one CPU thread ({platform.machine()}), torch {torch.__version__} |
| tokenizer | byte-level BPE trained on {recipe.tokenizer_sentences:,} sentences of the same corpus |

Scores on name pairs that training never saw together (`python -m ioi_lab.tiny score {name}`); accuracy is the share
of prompts with logit(answer) > logit(distractor):

| order | prompts | accuracy | mean P(answer) |
|---|---|---|---|
{rows}
"""
