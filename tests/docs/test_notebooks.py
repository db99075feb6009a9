"""The notebooks of docs/notebooks run from start to end, and show what they promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import toy

ROOT = Path(__file__).parents[2]


def run(name: str, folder: Path, monkeypatch):
    """A notebook, executed in a folder."""
    nbformat = pytest.importorskip("nbformat", reason="notebooks need the extra `notebook`")
    client = pytest.importorskip("nbclient", reason="notebooks are run by nbclient (extra `dev`)")
    pytest.importorskip("ipykernel", reason="notebooks need the extra `notebook`")
    pytest.importorskip("panel", reason="notebooks need the extra `notebook`")
    pytest.importorskip("xarray", reason="notebooks need the extra `notebook`")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(ROOT / "docs" / "notebooks" / name, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "outputs are not kept in the repository"
    client.NotebookClient(
        notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": folder}}
    ).execute()
    return [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]


def test_measured_data_are_reconstructed(tmp_path, monkeypatch):
    data = toy.experiment(shape=(32, 32), steps=(12, 12), step_a=1.2)[0]
    patterns = np.fft.fftshift(data.patterns, axes=(1, 2)).reshape(12, 12, 32, 32)
    np.save(tmp_path / "scan.npy", patterns.astype(np.uint16))
    shown = run("reconstruct.ipynb", tmp_path, monkeypatch)
    pages = [one["text/html"] for one in shown if "text/html" in one]
    assert sum("<b>Dataset</b>" in page for page in pages) == 1
    assert sum("<b>Reconstruction</b>" in page for page in pages) == 1
    assert any("144 of 32" in page for page in pages)
    assert (tmp_path / "result.h5").is_file()


@pytest.mark.slow
def test_a_beam_time_is_planned(tmp_path, monkeypatch):
    shown = run("plan_beam_time.ipynb", tmp_path, monkeypatch)
    pages = [one["text/html"] for one in shown if "text/html" in one]
    assert any("Design: MoS2 on Tuesday" in page for page in pages)
    assert list((tmp_path / "beamtime/results").glob("*/sheet.pdf"))
