"""Every tutorial is committed as text for review: no outputs. In tests/browser a real JupyterLab runs each."""

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
    # Outputs hold tokens, other people's messages and megabytes; widget state holds the values of password fields.
    notebook = read(path)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.source for cell in code if cell.outputs or cell.execution_count is not None] == []
    assert "widgets" not in notebook.metadata
    # Any Python kernel will do; one named after somebody's environment exists only there.
    assert notebook.metadata.kernelspec.name == "python3"


@each_notebook
def test_begins_with_what_it_is_about(path: Path) -> None:
    first = read(path).cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
