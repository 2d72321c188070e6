"""Folders of packaged models are written whole or not at all."""

from __future__ import annotations

import pytest

from ioi_lab.errors import LabError
from ioi_lab.tiny import PACKAGED_MODELS, tiny_folder
from ioi_lab.tiny.folders import check_folder, replace_folder


@pytest.mark.parametrize("name", PACKAGED_MODELS)
def test_packaged_folders_may_be_replaced(name, tmp_path):
    check_folder(tiny_folder(name))
    check_folder(tmp_path / "new")


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(LabError, match=r"--out: .* contains 'thesis.txt'; expected a new folder"):
        check_folder(tmp_path)


def test_a_failure_leaves_the_folder_as_it_was(tmp_path):
    folder = tmp_path / "model"

    def write(text):
        def into(new):
            new.mkdir()
            (new / "README.md").write_text(text)
            if text == "half":
                raise RuntimeError

        return into

    replace_folder(folder, write("whole"))
    with pytest.raises(RuntimeError):
        replace_folder(folder, write("half"))
    assert (folder / "README.md").read_text() == "whole"
    replace_folder(folder, write("new"))
    assert (folder / "README.md").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
