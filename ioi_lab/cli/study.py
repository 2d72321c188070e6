"""`ioi-lab study`: how does this model do this task? All steps as one run, or with `-m` studies of several models."""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from ioi_lab.cli.command import run_command, run_hydra_job
from ioi_lab.config import CONFIG_FOLDER
from ioi_lab.runs.folder import discard_unless_begun
from ioi_lab.runs.resume import choosing, earlier_sweep, record_typed
from ioi_lab.terminal import say

_TASK_OF_STEP = re.compile(r"steps\.\w+\.task\.")


class GoOn(Callback):
    """Hydra's callback that makes a study go on in the folder of the last one that was typed in the same way."""

    def on_run_start(self, config: DictConfig, **_: object) -> None:
        """Replace the folder of the study by that of an earlier one."""
        is_placed = any(line.startswith("hydra.run.dir=") for line in config.hydra.overrides.hydra)
        if config.get("resume") is not True or config.get("dry_run") is True or is_placed:
            return
        with choosing(config):
            earlier = earlier_sweep(config)  # single runs and multiruns have the same folders in conf/run_folder.yaml
            if earlier is None:
                with contextlib.suppress(OSError):  # Hydra reports a folder that cannot be written
                    record_typed(Path(config.hydra.run.dir), config)
                return
        say(f"going on in {earlier}, where steps that are done are kept (resume=false starts over)")
        OmegaConf.set_readonly(config.hydra, False)
        config.hydra.run.dir = str(earlier)


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="study")
def main(config: DictConfig) -> None:
    """Run the composed study into Hydra's output folder, or print its plan."""
    from ioi_lab.studies.plan import print_plan
    from ioi_lab.studies.study import Study, prepare_study

    prepared = prepare_study(config)
    if config.get("dry_run") is not True:
        run_hydra_job(prepared)
        return
    folder = Path(HydraConfig.get().runtime.output_dir)
    try:
        print_plan(Study.from_config(prepared.resolved, {}), folder)
    finally:
        discard_unless_begun(folder)


def run() -> None:
    """Run the command line."""
    sys.argv[1:] = [as_hydra_takes_it(argument) for argument in sys.argv[1:]]
    run_command(main, config_name="study")


def as_hydra_takes_it(argument: str) -> str:
    """Return an argument as Hydra takes it: `source=…` chooses a model, and a step may have keys of a task."""
    if argument.startswith("source="):
        return f"model@{argument}"
    return f"++{argument}" if _TASK_OF_STEP.match(argument) else argument
