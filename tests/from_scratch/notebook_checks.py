"""What holds for each of the companion track's notebooks."""

import nbclient
import nbformat


def stored(path):
    """The code cells of a notebook, run in order and without an error, and its pictures."""
    cells = [c for c in nbformat.read(path, 4).cells if c.cell_type == "code"]
    assert [c.execution_count for c in cells] == list(range(1, len(cells) + 1))
    kinds = [output.output_type for c in cells for output in c.outputs]
    assert "error" not in kinds
    return [o for c in cells for o in c.outputs if "image/png" in o.get("data", {})]


def run_quickly(path, settings, monkeypatch):
    """Run a notebook with other settings, {line: quick line}; its cells afterwards.

    Each line has to stand in it once, a line break before it.
    """
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(path, 4)
    code = [c for c in notebook.cells if c.cell_type == "code"]
    for cell in code:
        cell.source = "\n" + cell.source
    full = "".join(c.source for c in code)
    for setting, quick in settings.items():
        assert full.count(setting) == 1
        for cell in code:
            cell.source = cell.source.replace(setting, quick)
    place = {"metadata": {"path": str(path.parent)}}
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources=place
    )
    client.execute()  # raises at the first cell that fails
    return notebook.cells
