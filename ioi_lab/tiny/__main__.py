"""`ioi-lab tiny`: train a packaged model from scratch, score it, or print sentences of its corpus."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ioi_lab.errors import LabError
from ioi_lab.programs import CommandParser, typed_command
from ioi_lab.tiny import PACKAGED_MODELS, PLANTED_MODELS, TINY_MODELS, corpus, tasks_corpus, tiny_folder

if TYPE_CHECKING:
    from ioi_lab.tiny.scoring import Score

CORPORA: Final = dict.fromkeys(TINY_MODELS, corpus.sentence) | {"tiny-llama": tasks_corpus.text}
"""What draws a text of the training data, by the name of the model."""


def main() -> None:
    """Parse the command line and run its command."""
    parser = CommandParser(prog=typed_command("tiny"), description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train_command = commands.add_parser("train", help="train from scratch on a CPU, for some minutes")
    train_command.add_argument("name", choices=PACKAGED_MODELS)
    train_command.add_argument("--seed", type=int, default=0)
    train_command.add_argument("--steps", type=int, help="optimizer steps (default: the recipe's); needs --out")
    train_command.add_argument("--out", type=Path, help="folder to write (default: the packaged model's own)")
    score_command = commands.add_parser(
        "score", help="its performance on unseen pairs of words, or what its circuit does"
    )
    score_command.add_argument("name", choices=PACKAGED_MODELS)
    corpus_command = commands.add_parser("corpus", help="print sentences like those in the training data")
    corpus_command.add_argument("count", type=int, help="how many")
    corpus_command.add_argument("--model", choices=CORPORA, default="tiny-gpt2", help="the model that they train")
    corpus_command.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.command == "corpus":
        print("\n".join(corpus.sentences(arguments.count, arguments.seed, CORPORA[arguments.model])))
        return
    if arguments.command == "train" and arguments.steps is not None:
        if arguments.out is None:
            parser.error("--steps needs --out: only a complete training replaces the packaged model")
        if arguments.steps < 1:
            parser.error(f"--steps: got {arguments.steps}, expected 1 or more")

    print("\n".join(_made_or_scored(arguments, parser)))


def _made_or_scored(arguments: argparse.Namespace, parser: CommandParser) -> list[str]:
    """Train or score a model, and return what to print."""
    from ioi_lab.tiny import folders, plant, train  # these import PyTorch
    from ioi_lab.tiny.recipes import RECIPES
    from ioi_lab.tiny.scoring import score

    name, is_planted = arguments.name, arguments.name in PLANTED_MODELS
    if arguments.command == "score":
        folder = tiny_folder(name)
        if is_planted:
            return _facts(plant.claims(name, folder))
        return _lines(score(*folders.load(folder), RECIPES[name].held_out))
    folder = arguments.out or tiny_folder(name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    settings = (name, folder, arguments.seed, arguments.steps)
    try:
        lines = _facts(plant.plant(*settings)) if is_planted else _lines(train.train(*settings))
    except LabError as error:
        parser.error(str(error))
    return [f"wrote {folder}", *lines]


def _facts(claims: dict[str, float]) -> list[str]:
    from ioi_lab.tiny.plant import rounded

    return [f"{what if what == 'accuracy' else f'f of {what}'}: {rounded(value)}" for what, value in claims.items()]


def _lines(scores: list[Score]) -> list[str]:
    return [f"{s.name}: accuracy {s.accuracy:.4f}, P(answer) {s.p_answer:.4f}, {s.prompts} prompts" for s in scores]


if __name__ == "__main__":
    main()
