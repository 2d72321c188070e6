"""What all entry points share: a Hydra command whose errors are one readable line."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import env_override
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from tqdm import tqdm

from ioi_lab.errors import LabError, folded
from ioi_lab.identity import sha256_of_code
from ioi_lab.runs import TRACEBACK, RunFolder, done_identity, is_done
from ioi_lab.runs.folder import run_folders
from ioi_lab.runs.table import is_bound

if TYPE_CHECKING:
    from ioi_lab.runs.progress import Progress

CONFIG_FOLDER: Final = Path(__file__).resolve().parent.parent / "conf"
FLAGS_WITH_VALUE: Final = tuple(
    "--config-dir -cd --config-name -cn --config-path -cp --package -p --cfg -c --info -i --experimental-rerun".split()
)
FLAGS: Final = tuple("--multirun -m --run -r --help -h --hydra-help --version --resolve --shell-completion -sc".split())
"""Hydra's own, as `--hydra-help` lists them."""

EXTRAS: Final = {
    "hydra/launcher/joblib": "joblib",
    "hydra/launcher/submitit_local": "slurm",
    "hydra/launcher/submitit_slurm": "slurm",
    "hydra/launcher/ray": "ray",
    "hydra/sweeper/optuna": "optuna",
}
"""Options that come with an extra of this package, and which."""

TEXT_KEYS: Final = ("task.prompt", "task.corrupt", "task.answer", "task.distractor")
USER_ERRORS: Final = (LabError, HydraException, OmegaConfBaseException, OSError)
_show_traceback = False


def run_command(entry_point: Callable[[], Any], config_name: str) -> None:
    """Run the `hydra.main` function of the root config `config_name`.

    A user's mistake ends with one line and exit code 1; `HYDRA_FULL_ERROR=1` brings the traceback back. Ctrl-C ends
    with code 130. A multirun in which jobs failed ends with code 1 after all jobs have run.
    """
    global _show_traceback
    logging.raiseExceptions = False  # `| head` closes the pipe that the log writes to, which is no error of the run
    _show_traceback = os.environ.get("HYDRA_FULL_ERROR", "0") not in ("", "0")
    JobResults.forget()
    try:
        sys.argv[1:] = _flags_first(sys.argv[1:])
        with env_override({"HYDRA_FULL_ERROR": "1"}):  # Hydra prints no pages of its own: the error comes here
            entry_point()
    except KeyboardInterrupt:
        JobResults.say_how_to_go_on("interrupted")
        sys.exit(130)
    except MissingConfigException as error:
        _end(error, _unknown_option(error))
    except ConfigCompositionException as error:
        _end(error, _unknown_key(error, config_name))
    except USER_ERRORS as error:
        _end(error)
    except Exception as error:
        if not _raised_by_hydra(error):
            raise
        _end(error)
    finally:
        JobResults.close_progress()
    if JobResults.empty:
        _end(JobResults.empty_grid())
    if JobResults.failed or JobResults.errors:
        sys.exit(1)


def run_job(job: Callable[[Path, Path | None], Mapping[str, float]], optimize: str | None = None) -> float | None:
    """Run one Hydra job: `job(folder, sweep)`, where `sweep` is the folder of the sweep that it belongs to, if any.

    Returns the metric `optimize`, by which some sweepers choose the next jobs; None of a job that has failed. A user's
    mistake ends a single run. In a multirun any error is told with the job's number and overrides, the job's folder
    says `failed`, and the other jobs go on; a bug leaves its traceback there.
    """
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    is_multirun = hydra.mode == RunMode.MULTIRUN
    try:
        metrics = job(folder, Path(hydra.runtime.cwd) / hydra.sweep.dir if is_multirun else None)
        return None if optimize is None else _metric(metrics, optimize)
    except Exception as error:
        is_mistake = isinstance(error, USER_ERRORS)
        if is_mistake and not is_multirun:
            _end(error)  # before Hydra says something of its own
        if not is_multirun or _show_traceback:
            raise
        line = one_line(error) if is_mistake else f"{type(error).__name__}: {one_line(error)}"
        JobResults.errors += 1
        tqdm.write(f"error: job {hydra.job.num} ({hydra.job.override_dirname}): {line}", file=sys.stderr)
        if not is_mistake:
            with contextlib.suppress(OSError):
                (folder / TRACEBACK).write_text(traceback.format_exc())
        return None


def _metric(metrics: Mapping[str, float], name: str) -> float:
    if name not in metrics:
        close = get_close_matches(name, metrics, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        choices = ", ".join(key for key in metrics if not is_bound(key, list(metrics)))
        raise LabError(f"optimize: the run has no {name!r}{hint}; it has {choices}")
    return metrics[name]


class JobResults(Callback):
    """Lets a multirun go on where an earlier one was, shows how far it is, sums it up and counts what is not done.

    All by reading folders, which works for every launcher.
    """

    failed: ClassVar[int] = 0
    """Jobs that are not done at the end."""

    errors: ClassVar[int] = 0
    """Errors of jobs in this process, whose runs may be done all the same."""

    folder: ClassVar[Path | None] = None
    """Of the multirun, until it has ended."""

    resumes: ClassVar[bool] = False
    """Whether it skips what is done."""

    progress: ClassVar[Progress | None] = None
    empty: ClassVar[Sequence[str]] = ()
    """Overrides of the multirun that stand for no value at all."""

    def on_multirun_start(self, config: DictConfig, **_: object) -> None:
        """Find the sweep that was typed in the same way before."""
        from ioi_lab.runs.progress import Progress
        from ioi_lab.runs.resume import earlier_sweep, is_placed, land_in, say_what_is_done, say_what_was_typed

        JobResults.resumes = config.get("resume") is True
        placed = is_placed(config)
        looks_back = JobResults.resumes and not placed
        earlier = earlier_sweep(config) if looks_back else None
        if earlier is not None:
            print(f"going on in {earlier}, where {_what_is_done(earlier)} (resume=false starts over)")
        JobResults.folder = earlier or Path(config.hydra.sweep.dir)
        if not placed:
            land_in(JobResults.folder, config)
        with contextlib.suppress(OSError):  # Hydra tells a folder that cannot be written
            say_what_was_typed(JobResults.folder, config)
            if looks_back:
                say_what_is_done(JobResults.folder, sha256_of_code())
        JobResults.empty = [typed for typed, count in _numbers_of_values(config).items() if count == 0]
        JobResults.progress = Progress(JobResults.folder, _number_of_jobs(config))

    def on_multirun_end(self, config: DictConfig, **_: object) -> None:
        """Read the status of every job in the sweep's folder."""
        jobs = [Path(path) for path, below, _ in os.walk(config.hydra.sweep.dir) if ".hydra" in below]
        JobResults.failed = sum(_has_failed(job, config.get("optimize")) for job in jobs)
        JobResults.sum_up()
        JobResults.folder = None

    @classmethod
    def sum_up(cls) -> None:
        """Write and tell what the jobs have come to; nothing where none has begun."""
        from ioi_lab.runs.summary import sum_up

        cls.close_progress()
        if cls.folder is not None and any(run_folders(cls.folder)):
            sum_up(cls.folder)

    @classmethod
    def say_how_to_go_on(cls, reason: str) -> None:
        """Of a multirun that has begun and not ended."""
        cls.close_progress()
        if cls.folder is not None and any(run_folders(cls.folder)):
            command = "the same command" if cls.resumes else "the same command with resume=true"
            print(f"{reason}; {command} goes on in {cls.folder}", file=sys.stderr)

    @classmethod
    def empty_grid(cls) -> LabError:
        """Why there is nothing to run."""
        return LabError(f"{cls.empty[0]}: stands for no value, so there is nothing to run")

    @classmethod
    def close_progress(cls) -> None:
        """Before anything else is printed."""
        if cls.progress is not None:
            cls.progress.close()

    @classmethod
    def forget(cls) -> None:
        """Before another command in the same process."""
        cls.failed, cls.errors, cls.folder, cls.resumes, cls.progress, cls.empty = 0, 0, None, False, None, ()


def _has_failed(job: Path, optimize: str | None) -> bool:
    """Whether it is not done, or lacks the metric that a search asks for."""
    if not is_done(job):
        return True
    try:
        return optimize is not None and optimize not in RunFolder(job).metrics()
    except (OSError, ValueError):
        return True


def _what_is_done(sweep: Path) -> str:
    """How many jobs of an earlier sweep are done, and how many of them by other code."""
    done = [same for run in run_folders(sweep) if is_done(run) and (same := done_identity(run)) is not None]
    other = sum(same.get("code") != sha256_of_code() for same in done)
    return f"{len(done)} jobs are done" + (f", {other} of them with other code, which are run again" if other else "")


def _number_of_jobs(config: DictConfig) -> int:
    """How many jobs a multirun has, as far as its config tells."""
    sweeper = config.hydra.sweeper
    return int(sweeper.n_trials) if "n_trials" in sweeper else math.prod(_numbers_of_values(config).values())


def _numbers_of_values(config: DictConfig) -> dict[str, int]:
    """How many values each swept override stands for."""
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    overrides = parser.parse_overrides(list(config.hydra.overrides.task))
    return {
        str(override.input_line): len(list(override.sweep_iterator()))
        for override in overrides
        if override.is_discrete_sweep()
    }


def _end(error: BaseException, line: str | None = None) -> NoReturn:
    """End the program with the error in one line, or as it is where the user wants tracebacks.

    A multirun that ends so is summed up as far as it came.
    """
    if JobResults.empty:  # some launchers do not take that well
        error, line = JobResults.empty_grid(), None
    JobResults.sum_up()
    JobResults.say_how_to_go_on("stopped")
    if _show_traceback:
        raise error
    print(f"error: {line or one_line(error)}", file=sys.stderr)
    sys.exit(1)


def _flags_first(arguments: list[str]) -> list[str]:
    """Flags before overrides, in whichever order they were typed: Hydra's parser takes no flag after an override.

    Raises a `LabError` for a flag that Hydra does not have.
    """
    flags, overrides = [], []
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("-"):
            overrides.append(_quoted_text(argument))
            continue
        if argument.split("=")[0] not in FLAGS + FLAGS_WITH_VALUE:
            raise LabError(
                f"{argument}: no such flag; a config key is set with key=value, --hydra-help lists the flags"
            )
        flags.append(argument)
        if argument in FLAGS_WITH_VALUE:
            flags.extend(value for value in [next(rest, None)] if value is not None)
    return flags + overrides


def _quoted_text(override: str) -> str:
    """The override with quotes around a sentence, which the shell has taken away and without which commas split it."""
    key, _, value = override.partition("=")
    is_quoted = len(value) > 1 and value[0] in "'\"" and value[-1] == value[0]
    if key not in TEXT_KEYS or value in ("", "null") or is_quoted:
        return override
    # Hydra reads a backslash as itself, except in front of a quote.
    escaped = re.sub(r'(\\*)("|$)', lambda found: 2 * found[1] + ('\\"' if found[2] else ""), value)
    return f'{key}="{escaped}"'


def _raised_by_hydra(error: Exception) -> bool:
    """Whether Hydra or a plugin of it raised this, as for `model=null`, or for a worker that has died.

    Not the lab's own code, which jobs run in, nor its launcher, which calls Hydra in turn.
    """
    modules = [str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    within = modules[1 + modules.index("ioi_lab.cli") :]
    return (
        any(module.startswith(("hydra.", "hydra_plugins.")) for module in within)
        and not any(module.startswith("ioi_lab.") for module in within)
        and not within[-1].startswith("hydra_plugins.ioi_lab")
    )


def one_line(error: BaseException) -> str:
    """The error as a line that names the key, what it got and what it may be."""
    if isinstance(error, OSError):
        return (
            f"cannot write or read {os.fsdecode(error.filename)!r}: {error.strerror}" if error.filename else str(error)
        )
    line = folded(error)
    if match := re.match(r"Ambiguous value for argument '([^=]+)=(.*?)'", line):
        key, value = match.groups()
        return f"{key}: got {value!r}; write a list as '{key}=[{value}]', or add -m for one run a value"
    return line


def _unknown_option(error: MissingConfigException) -> str:
    missing = str(error.missing_cfg_file or "").removesuffix(".yaml")
    group, _, option = missing.rpartition("/")
    if not group:
        return folded(error)
    if missing in EXTRAS:
        command = f"pip install --constraint constraints.txt '.[{EXTRAS[missing]}]'"
        return f"{group}: got {option!r}, which is not installed; it comes with: {command}"
    return f"{group}: got {option!r}, expected one of {', '.join(error.options or [])}"


def _unknown_key(error: ConfigCompositionException, config_name: str) -> str:
    match = re.search(r"Could not override '([^']+)'", str(error))
    if match is None:
        return one_line(error)
    key = match.group(1)
    parent, _, _ = key.rpartition(".")
    choices = _keys_of(parent, config_name)
    if key in choices:
        return f"{key}: this config is composed already; override its keys one by one ({key}.…=…)"
    close = get_close_matches(key, choices, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"{key}: no such key{hint}; expected one of {', '.join(choices)}"


def _keys_of(parent: str, config_name: str) -> list[str]:
    """Full names of the keys under `parent` in the composed config, with the groups that the command line names."""
    GlobalHydra.instance().clear()
    groups = [word for word in sys.argv[1:] if re.fullmatch(r"[a-z_]+(@[a-z_.]+)?=[\w-]+", word)]
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        try:
            config = compose(config_name, overrides=groups)
        except HydraException:  # the key at the top of the line is itself the wrong one
            config = compose(config_name)
    node = OmegaConf.select(config, parent) if parent else config
    if not isinstance(node, DictConfig):
        return [str(key) for key in config]
    return [f"{parent}.{key!s}" if parent else str(key) for key in node if key != "_target_"]
