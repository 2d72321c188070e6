"""Every shell block of README.md and docs/ can be pasted into bash and zsh, and does what it shows."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from ioi_lab.config import CONFIG_FOLDER
from ioi_lab.errors import LabError
from ioi_lab.jobs.alignment import prepare_alignment
from ioi_lab.jobs.experiment import prepare_experiment
from ioi_lab.tiny import tiny_folder
from tests.docs.blocks import PAGES, ROOT, Block, blocks_of, parsed
from tests.docs.lab_server import write_shims

ALSO_IN_THE_SITE = [ROOT / file for file in ("CONTRIBUTING.md", "benchmarks/README.md", "runs/README.md")]
SHELL = [block for page in [*PAGES, *ALSO_IN_THE_SITE] for block in blocks_of(page, "sh")]


def pages_to_run(language: str) -> list[Path]:
    """Return the pages with a block in this language that is run."""
    return [page for page in PAGES if any(block.why_not_run is None for block in blocks_of(page, language))]


RUN, PYTHON = pages_to_run("sh"), pages_to_run("python")


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_shell_blocks_can_be_read(shell):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed (`make zsh`)")
    assert len(SHELL) > 30
    for block in SHELL:
        read = subprocess.run([shell, "-n"], input=block.text, capture_output=True, text=True, check=False)
        assert (read.returncode, read.stderr) == (0, ""), block.place


def test_shell_blocks_can_be_pasted():
    """An interactive zsh takes a comment behind a command for arguments, and both shells take <time> for a file."""
    for block in SHELL:
        for line in block.text.splitlines():
            assert not re.search(r"\S\s+#", line), f"{block.place}: {line!r}: a comment has a line of its own"
            assert not re.search(r"<\w+>", line), f"{block.place}: {line!r}: a placeholder is no word of a shell"


def test_words_of_comments_are_found():
    block = parsed("page.md", "<!-- run with: n=64 → n=8; z → q -->\n```sh\nioi-lab n=64 z\n```\n")[0]
    assert block.to_run == "ioi-lab n=8 q\n"
    with pytest.raises(AssertionError, match="not in the block"):
        _ = Block("page.md", 1, "sh", "ioi-lab\n", run_with="n=64 → n=8").to_run
    with pytest.raises(AssertionError, match="right before the block"):
        parsed("page.md", "<!-- not run: why -->\ntext\n```sh\nls\n```\n")


def run_by_earlier_pages(page: Path) -> set[str]:
    """Return the commands of one line that pages before this one run too and whose runs have no name to be read by."""
    earlier = RUN[: RUN.index(page)]
    blocks = [block for other in earlier for block in blocks_of(other, "sh") if block.why_not_run is None]
    lines = {line for block in blocks for line in block.to_run.splitlines()}
    return {line for line in lines if line.startswith("ioi-lab ") and " name=" not in line and line[-1] != "\\"}


def test_commands_of_several_pages_are_run_once():
    shared = "ioi-lab sweep experiment=wang2022"
    showing = [page for page in RUN if any(shared in block.text for block in blocks_of(page, "sh"))]
    running = [page for page in showing if not any(line.startswith(shared) for line in run_by_earlier_pages(page))]
    assert len(showing) > len(running) == 1


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    """A folder for `PATH` in which commands are run by a process that has imported the lab already."""
    folder = tmp_path_factory.mktemp("bin")
    path = folder.parent / f"{os.getpid()}.socket"
    server = subprocess.Popen([sys.executable, "-m", "tests.docs.lab_server", str(path)], cwd=ROOT, env=environment())
    while not path.exists():
        assert server.poll() is None, "the server ended"
        time.sleep(0.1)
    write_shims(folder, path)
    yield folder
    server.terminate()
    server.wait()


def environment() -> dict[str, str]:
    """The environment of the commands: without a login, a network, or another thread."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "IOI_LAB_", "HYDRA_"))}
    return own | {
        "WANDB_MODE": "disabled",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        "TINY_MODEL": str(tiny_folder("tiny-gpt2")),
        "TEXT_FILE": str(next((ROOT / "ioi_lab" / "tasks" / "texts").glob("*.txt"))),
    }


@pytest.mark.docs
@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_shell_blocks_run(page, commands, tmp_path):
    """The blocks of a page, one after another in one folder, in bash; zsh reads the same words."""
    repeated = run_by_earlier_pages(page)
    for block in blocks_of(page, "sh"):
        if block.why_not_run is not None:
            continue
        text = "\n".join(line for line in block.to_run.splitlines() if line not in repeated)
        done, words = run(["bash", "-euo", "pipefail", "-c", text], commands, tmp_path)
        assert done.returncode == block.exit_code, f"{block.place}:\n{text}\n{done.stdout}{done.stderr}"
        read, words_of_zsh = run(["zsh", "-fe", "-c", text], commands, tmp_path, ONLY_TYPED="1")
        assert (read.returncode, read.stderr) == (0, ""), block.place
        assert words_of_zsh == words, block.place


PREPARE = {"sweep": ("sweep", prepare_experiment), "align": ("train_align", prepare_alignment)}


def typed_in(block: Block) -> Iterator[list[str]]:
    """Yield the words of each command of the lab in a block, from the second one on."""
    for line in block.text.replace("\\\n", " ").splitlines():
        if line.startswith("ioi-lab "):
            yield shlex.split(line)[1:]


def one_job_of(overrides: list[str]) -> Iterator[str]:
    """Yield the overrides of the first job of a grid, without those of Hydra itself."""
    for override in OverridesParser.create().parse_overrides(overrides):
        if override.is_sweep_override():
            yield f"{override.get_key_element()}={next(override.sweep_string_iterator())}"
        elif not override.get_key_element().startswith("hydra"):
            yield str(override.input_line)


@pytest.mark.docs
def test_commands_that_are_not_run_ask_for_what_there_is():
    """Their keys and values are those of the configs, and each job could begin."""
    blocks = [block for block in SHELL if block.why_not_run is not None]
    typed = [(block, words) for block in blocks for words in typed_in(block) if words[0] in PREPARE]
    assert len(typed) > 20
    refused = {}
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        for block, (command, *words) in typed:
            root, prepare = PREPARE[command]
            overrides = list(one_job_of([word for word in words if not word.startswith("-")]))
            try:
                _ = prepare(compose(root, overrides)).job
            except LabError as error:
                refused[f"{block.place}: {' '.join(words)}"] = str(error)
    files_of_readers = "is not a file"
    assert {command: line for command, line in refused.items() if files_of_readers not in line} == {}


@pytest.mark.docs
@pytest.mark.parametrize("page", PYTHON, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_blocks_run(page, commands, tmp_path):
    """The blocks of a page, one after another, as one script."""
    blocks = [block.to_run for block in blocks_of(page, "python") if block.why_not_run is None]
    (tmp_path / "blocks.py").write_text("\n".join(blocks))
    done, _ = run(["python", "blocks.py"], commands, tmp_path)
    assert done.returncode == 0, f"{page}:\n{done.stdout}{done.stderr}"


def run(command, commands, folder, **variables):
    """Run a command; return it with the commands of the lab that were typed."""
    typed = folder / ".typed"
    typed.write_text("")
    path = f"{commands}:{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment() | {"PATH": path, "TYPED": str(typed)} | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    return done, [json.loads(line) for line in typed.read_text().splitlines()]
