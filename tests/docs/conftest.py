import pathlib
import sys

import pytest

from tests.docs import workspace
from tests.docs.pages import Block

TRAINING = "python -m ramjax.main --config=experiments/multitask.py --workdir=runs/multitask"
"""The run that the pages take for granted; the README begins with it."""


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> pathlib.Path:
    """The workspace, in which the quickstart was run, in miniature."""
    folder = tmp_path_factory.mktemp("workspace")
    workspace.make(folder)
    workspace.run(folder, Block("conftest.py", 0, "bash", TRAINING), {})
    return folder


@pytest.fixture
def here(trained, monkeypatch) -> pathlib.Path:
    """The workspace as the working directory, from which Python imports what the pages save."""
    monkeypatch.chdir(trained)
    monkeypatch.setattr(sys, "path", [str(trained), *sys.path])
    return trained
