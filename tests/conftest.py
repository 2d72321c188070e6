"""Models, prompts and a command line for the tests."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

os.environ["WANDB_MODE"] = "offline"  # no test talks to a server, whoever is logged in on this machine
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.pop("WANDB_API_KEY", None)
os.environ.pop("HYDRA_FULL_ERROR", None)  # whoever runs the tests may want tracebacks, the tests want lines

import torch
from hydra.core.global_hydra import GlobalHydra
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

from ioi_lab.cli.command import run_command
from ioi_lab.cli.sweep import main as sweep_entry_point
from ioi_lab.cli.train_align import main as train_align_entry_point
from ioi_lab.models.loading import LabModel, ModelConfig, load_model
from ioi_lab.tasks.ioi import IOITask
from ioi_lab.tiny import tiny_folder

ARCHITECTURES = ("tiny-gpt2", "tiny-pythia", "llama-gqa")


def model_config(folder: Path | str, **changes) -> ModelConfig:
    values = {
        "name": None,
        "source": "folder",
        "path": str(folder),
        "revision": None,
        "device": "cpu",
        "dtype": "float32",
        "prepend_bos": True,
    }
    return ModelConfig.from_config(values | changes, "model")


def ioi_task(**changes) -> IOITask:
    values = {"name": "ioi", "n": 8, "seed": 0, "order": "mixed", "corruption": "s2", "template": "all"}
    return IOITask.from_config(values | changes, "task")


def hugging_face(folder: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()


@pytest.fixture(scope="session")
def random_folders(tmp_path_factory) -> dict[str, Path]:
    """Random-weight models of three shapes with a real tokenizer, as a user's own folders would be."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder("tiny-gpt2"))
    sizes = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 0}
    torch.manual_seed(0)
    models = {
        "llama-gqa": LlamaForCausalLM(
            LlamaConfig(
                hidden_size=32,
                num_hidden_layers=3,
                num_attention_heads=4,
                num_key_value_heads=2,
                intermediate_size=48,
                max_position_embeddings=64,
                initializer_range=0.2,
                **sizes,
            )
        ),
        "neox": GPTNeoXForCausalLM(
            GPTNeoXConfig(
                hidden_size=32,
                num_hidden_layers=2,
                num_attention_heads=4,
                intermediate_size=48,
                max_position_embeddings=64,
                initializer_range=0.2,
                **sizes,
            )
        ),
        "gpt2": GPT2LMHeadModel(
            GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=64, initializer_range=0.2, **sizes)
        ),
    }
    folders = {}
    for name, model in models.items():
        folders[name] = tmp_path_factory.mktemp("models") / name
        model.save_pretrained(folders[name])
        tokenizer.save_pretrained(folders[name])
    return folders


@pytest.fixture(scope="session")
def folders(random_folders) -> dict[str, Path]:
    """The three architectures that every exactness test runs on."""
    return {name: random_folders.get(name, tiny_folder(name)) for name in ARCHITECTURES}


@pytest.fixture(params=ARCHITECTURES)
def folder(request, folders) -> Path:
    return folders[request.param]


@pytest.fixture
def model(folder) -> LabModel:
    return load_model(model_config(folder))


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def error_line(self) -> str:
        lines = [line for line in self.err.splitlines() if line.strip()]
        assert len(lines) == 1, f"expected one line, got {self.err!r}"
        assert lines[0].startswith("error: ")
        return lines[0]


def command_line(entry_point, config_name, tmp_path, monkeypatch, capfd) -> Callable[..., Outcome]:
    """An entry point's command line in this process, in an empty working folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Outcome:
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", [f"{config_name}.py", *arguments])
        capfd.readouterr()
        code = 0
        try:
            run_command(entry_point, config_name=config_name)
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            logging.getLogger().handlers.clear()  # Hydra's, whose stream is this test's
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture
def sweep(tmp_path, monkeypatch, capfd) -> Callable[..., Outcome]:
    """`sweep("model=tiny-gpt2", …)`."""
    return command_line(sweep_entry_point, "sweep", tmp_path, monkeypatch, capfd)


@pytest.fixture
def train_align(tmp_path, monkeypatch, capfd) -> Callable[..., Outcome]:
    """`train_align("alignment=ridge", …)`."""
    return command_line(train_align_entry_point, "train_align", tmp_path, monkeypatch, capfd)


def run_folders(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("runs/**/status.json"))


def only_run_folder(folder: Path) -> Path:
    (run,) = run_folders(folder)
    return run
