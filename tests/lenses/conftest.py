"""What the tests of lenses share."""

from __future__ import annotations

import pytest

from ioi_lab.tiny.corpus import sentences


@pytest.fixture(scope="package")
def text(tmp_path_factory):
    """A file of the tiny models' English, to train lenses on."""
    file = tmp_path_factory.mktemp("text") / "corpus.txt"
    file.write_text(" ".join(sentences(300, seed=5)))
    return file
