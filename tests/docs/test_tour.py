"""The notebook runs from the first cell to the last, and is kept without outputs."""

import nbformat
import pytest
from nbclient import NotebookClient

from tests.docs.pages import ROOT
from tests.docs.workspace import substitute

TOUR = ROOT / "docs" / "tour.ipynb"


@pytest.mark.slow
def test_every_cell_runs(here):
    notebook = nbformat.read(TOUR, as_version=4)
    for cell in notebook.cells:
        cell.source = substitute(cell.source)
    NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": str(here)}}).execute()
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in shown) >= 5
    assert not [output for output in shown if output.output_type == "stream" and output.name == "stderr"]


def test_it_is_kept_without_outputs():
    notebook = nbformat.read(TOUR, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) >= 10
    assert not [cell.source for cell in code if cell.outputs or cell.execution_count]
