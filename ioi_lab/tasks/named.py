"""Tasks by the names of their options in the config group `task`."""

from __future__ import annotations

from typing import Any

from ioi_lab.config import config_folders, instantiate
from ioi_lab.errors import LabError
from ioi_lab.storage.files import parse_yaml
from ioi_lab.tasks.prompts import Task


def task_named(name: str, n: int, seed: int, key: str) -> Task:
    """Return the task of an option of `conf/task`, with its defaults.

    Args:
        name: The name of the option.
        n: The number of prompts, for tasks that have it as a key.
        seed: The seed, for tasks that have it as a key.
        key: The config key that names it, for errors.

    Raises:
        LabError: There is no such option, its file is damaged, or it cannot be made without further keys.

    """
    config = config_named(name, n, seed, key)
    try:
        task = instantiate(config, "task", Task)
        task.check()
    except LabError as error:
        raise LabError(f"{key}: {name} needs more than its defaults ({error}); expected another task") from error
    return task


def config_named(name: str, n: int, seed: int, key: str) -> dict[str, Any]:
    """Return the config of an option of `conf/task`, whose content decides results like any other config.

    For the arguments see `task_named`. Raises a `LabError` if there is no such option, or its file is damaged.
    """
    folders = [folder / "task" for folder in config_folders()]
    file = next((path for folder in folders if (path := folder / f"{name}.yaml").is_file()), None)
    if file is None:
        names = sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})
        raise LabError(f"{key}: got {name!r}, expected one of {', '.join(names)}")
    try:
        values = parse_yaml(file.read_bytes())
    except ValueError as error:
        raise LabError(f"{key}: {str(file)!r} is no YAML: {error}") from error
    if not isinstance(values, dict):
        raise LabError(f"{key}: {str(file)!r} has no keys, expected those of a task")
    return values | {own: value for own, value in {"n": n, "seed": seed}.items() if own in values}
