"""Build the wheel, install it into a new environment, and use it from an empty folder, as one does without a clone.

`make test-wheel` runs this. It takes some minutes, most of them for the environment (2.5 GB, removed at the end).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
IN_THE_WHEEL = {"conf/": "ioi_lab/conf/", "ioi_lab/": "ioi_lab/", "hydra_plugins/": "hydra_plugins/"}
"""The folders of the repository that are in the wheel, and where."""

SWEEP = ("sweep", "-m", "tracker=none", "figures=false", "name=own", "intervention=damp", "intervention.layer=0")


def main() -> None:
    """Run all checks in a temporary folder."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        wheel = built_wheel(copied(folder / "repository"), folder / "dist")
        check_files(wheel)
        environment = new_environment(folder / "venv", wheel)
        (folder / "empty").mkdir()
        use(Command(environment, folder / "empty"))
    print("the wheel works")


class Command:
    """The `ioi-lab` of an environment, in a folder; nothing of the repository is on Python's path."""

    def __init__(self, environment: Path, folder: Path) -> None:
        self.folder = folder
        self.environment = environment
        hidden = ("PYTHONPATH", "VIRTUAL_ENV", "WANDB_API_KEY")
        self.variables = {name: value for name, value in os.environ.items() if name not in hidden}
        self.variables |= {"WANDB_MODE": "offline", "HF_HUB_OFFLINE": "1"}

    def __call__(self, *arguments: str, code: int = 0, program: str = "ioi-lab") -> str:
        """Run it, and return what it prints; it must end with this exit code."""
        print("$", program, *arguments, flush=True)
        ended = subprocess.run(
            [self.environment / "bin" / program, *arguments],
            cwd=self.folder,
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
        )
        printed = ended.stdout + ended.stderr
        check(ended.returncode == code, f"exit code {ended.returncode}:\n{printed}")
        return printed


def use(ioi_lab: Command) -> None:
    """Use the command as a new user would."""
    ioi_lab("sweep", "model=tiny-gpt2")
    (status,) = ioi_lab.folder.glob("runs/patch/*/status.json")
    check(json.loads(status.read_text())["status"] == "done", "the run is not done")
    check((status.parent / "plots" / "recovery_by_head.png").is_file(), "the run has no figure")

    ioi_lab("new", "intervention", "damp")
    check("export IOI_LAB_PLUGINS=damp" in ioi_lab(*SWEEP, code=1), "an own module is not to be trusted unasked")
    ioi_lab.variables["IOI_LAB_PLUGINS"] = "damp"
    check("damp z · tiny-gpt2" in ioi_lab(*SWEEP), "the own intervention has not run")
    check("is done already" in ioi_lab(*SWEEP), "the same command has not found its finished job")
    module = ioi_lab.folder / "damp.py"
    module.write_text(module.read_text().replace("scale=self.factor", "scale=self.factor / 2"))
    check("done with other code, so it is run again" in ioi_lab(*SWEEP), "an edit has not voided the finished job")

    check("intervention.factor=0.5" in ioi_lab("info", "intervention=damp"), "info does not know the own key")
    check("tiny-pythia" in ioi_lab("-m", "ioi_lab", "info", "model", program="python"), "python -m ioi_lab")
    check("damp" in ioi_lab("runs", "ls"), "runs ls")
    line = ioi_lab("sweep", "-m", "hydra/launcher=ray", "seed=0,1", code=1)
    check(line.endswith("it comes with: pip install 'ioi-lab[ray]'\n") and line.count("\n") == 1, line)


def copied(folder: Path) -> Path:
    """Return a copy of the tracked files: a build leaves files behind, which the next one would pack."""
    for name in tracked_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, folder / name)
    return folder


def tracked_files() -> list[str]:
    """Return the tracked files of the repository that are there."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if name and (REPOSITORY / name).is_file()]


def built_wheel(repository: Path, folder: Path) -> Path:
    """Build the wheel of a copy of the repository into a folder."""
    print("building the wheel", flush=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, repository], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def check_files(wheel: Path) -> None:
    """Check that the wheel has every file of the packages, data included, and nothing else."""
    tracked = {
        place + name.removeprefix(folder)
        for name in tracked_files()
        for folder, place in IN_THE_WHEEL.items()
        if name.startswith(folder)
    }
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    check(tracked == packed, f"in one of repository and wheel only: {sorted(tracked ^ packed)}")


def new_environment(folder: Path, wheel: Path) -> Path:
    """Return a new environment with the wheel and what it needs, through the pins."""
    print("installing it into a new environment", flush=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    subprocess.run([*pip, "--constraint", REPOSITORY / "constraints.txt", wheel], check=True)
    return folder


def check(holds: bool, otherwise: str) -> None:
    """End with an error unless something holds."""
    if not holds:
        sys.exit(f"error: {otherwise}")


if __name__ == "__main__":
    main()
