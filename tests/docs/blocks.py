"""The code blocks of the documentation, and what HTML comments in front of them say about running them.

`<!-- not run: REASON -->`: the block is only read (`bash -n`). `<!-- run with: OLD → NEW; OLD → NEW -->`: it is run
with other words, so that it is quick. `<!-- exit code: 1 -->`: it shows a mistake.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SMALLER = {
    "model=smollm2-135m": "model=tiny-gpt2",
    "experiment=wang2022": "experiment=wang2022 task.n=16 intervention.random_sets=3 intervention.n_reference=8",
    "experiment=cross_model": "experiment=cross_model task.n=32 intervention.unrelated=39 "
    "intervention.corpus.task.n=300",
    "intervention=transfer": "intervention=transfer task.n=32 intervention.unrelated=39",
    "experiment=steering_scales": "experiment=steering_scales intervention.controls=5 intervention.side_effects=0",
    "experiment=steering_heads": "experiment=steering_heads intervention.controls=5 intervention.side_effects=0",
    "ioi-lab align": "ioi-lab align corpus.n=200 alignment.stitched_texts=20",
}
"""What takes long, and the same with less of everything: what is typed behind it in a block still counts."""

_COMMENT = re.compile(r"<!-- (?P<what>not run|run with|exit code): (?P<text>.+) -->")
_FENCE = re.compile(r"^```(?P<language>\w*)$")


@dataclass(frozen=True)
class Block:
    """A block of code of a page."""

    page: str
    line: int
    language: str
    text: str
    why_not_run: str | None = None
    run_with: str = ""
    exit_code: int = 0

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def to_run(self) -> str:
        """The text with the words that `run with` replaces, which must be there, and with smaller experiments."""
        text = self.text
        for pair in filter(None, self.run_with.split("; ")):
            old, arrow, new = pair.partition(" → ")
            assert arrow, f"{self.place}: {pair!r} in `run with` is no `OLD → NEW`"
            assert old in text, f"{self.place}: {old!r} in `run with` is not in the block"
            text = text.replace(old, new)
        for words, smaller in SMALLER.items():
            text = re.sub(rf"{re.escape(words)}(?=\s)", smaller, text)
        return text


def blocks_of(page: Path, language: str) -> list[Block]:
    """Return the blocks of a page in one language."""
    return [block for block in parsed(str(page.relative_to(ROOT)), page.read_text()) if block.language == language]


def parsed(page: str, markdown: str) -> list[Block]:
    """Return all blocks of a page with a language."""
    blocks, comments = [], {}
    lines = iter(enumerate(markdown.splitlines(), start=1))
    for number, line in lines:
        comment = _COMMENT.fullmatch(line)
        fence = _FENCE.match(line)
        if comment:
            comments[comment["what"]] = comment["text"]
        elif fence:
            text = []
            for _, inside in lines:
                if inside == "```":
                    break
                text.append(inside)
            if fence["language"]:
                blocks.append(
                    Block(
                        page,
                        number,
                        fence["language"],
                        "\n".join(text) + "\n",
                        comments.get("not run"),
                        comments.get("run with", ""),
                        int(comments.get("exit code", 0)),
                    )
                )
            comments = {}
        elif line.strip():
            assert not comments, f"{page}:{number}: a comment about running a block stands right before the block"
    return blocks
