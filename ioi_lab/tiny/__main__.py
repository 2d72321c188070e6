"""`python -m ioi_lab.tiny`: train a packaged model from scratch, score it, or print sentences of its corpus."""

from __future__ import annotations

import argparse
from pathlib import Path

from ioi_lab.errors import LabError
from ioi_lab.tiny import TINY_MODELS, tiny_folder
from ioi_lab.tiny.corpus import sentences


def main() -> None:
    """Parse the command line and run its command."""
    parser = argparse.ArgumentParser(prog="python -m ioi_lab.tiny", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train_command = commands.add_parser("train", help="train from scratch on a CPU, for some minutes")
    train_command.add_argument("name", choices=TINY_MODELS)
    train_command.add_argument("--seed", type=int, default=0)
    train_command.add_argument("--steps", type=int, help="optimizer steps (default: the recipe's); needs --out")
    train_command.add_argument("--out", type=Path, help="folder to write (default: the packaged model's own)")
    score_command = commands.add_parser("score", help="accuracy and P(answer) on unseen pairs of names")
    score_command.add_argument("name", choices=TINY_MODELS)
    corpus_command = commands.add_parser("corpus", help="print sentences like those in the training data")
    corpus_command.add_argument("count", type=int, help="how many")
    corpus_command.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.command == "corpus":
        print("\n".join(sentences(arguments.count, arguments.seed)))
        return
    if arguments.command == "train" and arguments.steps is not None:
        if arguments.out is None:
            parser.error("--steps needs --out: only a complete training replaces the packaged model")
        if arguments.steps < 1:
            parser.error(f"--steps: got {arguments.steps}, expected 1 or more")

    from ioi_lab.tiny import train

    if arguments.command == "train":
        folder = arguments.out or tiny_folder(arguments.name)
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            scores = train.train(arguments.name, folder, arguments.seed, arguments.steps)
        except LabError as error:
            parser.error(str(error))
        print(f"wrote {folder}")
    else:
        scores = train.score(*train.load(tiny_folder(arguments.name)))
    for score in scores:
        print(f"{score.order}: accuracy {score.accuracy:.4f}, P(answer) {score.p_answer:.4f}, {score.prompts} prompts")


if __name__ == "__main__":
    main()
