import pathlib
import shutil
import sys

import pytest

from tests.docs import workspace
from tests.docs.pages import Block

TRAINING = "python -m ramjax.main --config=experiments/multitask.py --workdir=runs/multitask"
"""The run that the pages take for granted; the README begins with it."""

GIVEN = (TRAINING, "python -m ramjax.prepare --dataset=ram_h1200 --source=RAM-H1200-v1")
"""Commands of the README that were run where the pages run, once for all pages."""


@pytest.fixture(scope="session")
def begun(made_once) -> pathlib.Path:
    """The workspace, in which the quickstart was run, in miniature; not to be changed."""

    def make(folder: pathlib.Path) -> None:
        workspace.make(folder)
        for command in GIVEN:
            workspace.run(folder, Block("conftest.py", 0, "bash", command), {})

    return made_once("workspace", make)


@pytest.fixture
def here(begun, tmp_path, monkeypatch) -> pathlib.Path:
    """A workspace of the test's own as the working directory, from which Python imports what the pages save."""
    folder = shutil.copytree(begun, tmp_path / "workspace", symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    return folder
