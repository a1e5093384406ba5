"""Each tutorial is committed without outputs. The tests in tests/browser run each tutorial in a real JupyterLab."""

from pathlib import Path
from typing import Any

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


@each_notebook
def test_is_committed_without_outputs(path: Path) -> None:
    # Outputs may have tokens, messages and megabytes of data; widget state may have the values of password fields.
    notebook = read(path)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.source for cell in code if cell.outputs or cell.execution_count is not None] == []
    assert "widgets" not in notebook.metadata
    # Every machine has a kernel of this name; a kernel named after an environment exists on one machine only.
    assert notebook.metadata.kernelspec.name == "python3"


@each_notebook
def test_begins_with_a_title(path: Path) -> None:
    first = read(path).cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
