"""`ioi-lab new`: write the template of a task or an intervention of one's own into the current folder."""

from __future__ import annotations

import importlib.util
import keyword
import os
import re
import sys
from pathlib import Path
from typing import Final

from ioi_lab.cli.config_files import options_of
from ioi_lab.errors import LabError
from ioi_lab.plugins import VARIABLE
from ioi_lab.programs import CommandParser, typed_command
from ioi_lab.storage.files import write_text
from ioi_lab.terminal import printable, say

KINDS: Final = ("task", "intervention")
_TEMPLATES: Final = Path(__file__).parent / "templates"
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")


def main() -> None:
    """Parse the command line and write the files; a mistake ends with one line and exit code 1."""
    parser = CommandParser(prog=typed_command("new"), description=__doc__)
    parser.add_argument("kind", choices=KINDS, help="what to write")
    parser.add_argument("name", help="its name: small letters, digits and underscores")
    arguments = parser.parse_args()
    try:
        files = write_templates(arguments.kind, arguments.name)
    except (LabError, OSError) as error:
        sys.exit(f"error: {printable(str(error))}")
    for file in files:
        say(f"wrote {file}")
    for line in next_steps(arguments.kind, arguments.name):
        say(line)


def write_templates(kind: str, name: str) -> list[Path]:
    """Write the module and the YAML of a part into the current folder and return their paths.

    Raises a `LabError` for a name that cannot be one, or is taken, and if one of the files is there already.
    """
    _check_name(kind, name)
    module, config = Path(f"{name}.py"), Path("conf", kind, f"{name}.yaml")
    for path in (module, config):
        if path.exists():
            raise LabError(f"{path}: is there already; give another name, or move it away")
    for path, template in ((config, f"{kind}.yaml"), (module, f"{kind}.txt")):
        text = (_TEMPLATES / template).read_text(encoding="utf-8")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text.replace("MODULE", name).replace("CLASS", _class_name(name)))
    return [module, config]


def next_steps(kind: str, name: str) -> list[str]:
    """Return what to type in order to run a new part."""
    named = [each for each in os.environ.get(VARIABLE, "").split(",") if each and each != name]
    return [
        "to try it:",
        f"  export {VARIABLE}={','.join([*named, name])}",
        f"  {typed_command('sweep')} {kind}={name}",
        f"  {typed_command('info')} {kind}={name}",
    ]


def _check_name(kind: str, name: str) -> None:
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise LabError(f"{name!r}: cannot be the name of a Python module; use small letters, digits and underscores")
    if name in options_of(kind) and not Path("conf", kind, f"{name}.yaml").exists():
        raise LabError(f"{name}: is {'an' if kind[0] in 'aeiou' else 'a'} {kind} of the lab already; give another name")
    if not Path(f"{name}.py").exists() and importlib.util.find_spec(name) is not None:
        raise LabError(f"{name}: is the name of an installed Python module already; give another name")


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_") if part)
