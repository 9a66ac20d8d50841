"""`mj targets --matrix`: complete, printed, and some of its cells measured again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from fixtures.matrix import measure
from fixtures.matrix_models import ENTRIES, FRONT_ENDS
from millijoule.cli import main
from millijoule.converters import FAMILIES
from millijoule.errors import BundleError
from millijoule.targets import list_targets
from millijoule.targets.matrix import STREAMING, VERIFIED, WHOLE, read_matrix

NAMES = [target.name for target in list_targets()]
AGAIN = "run `python docs/make_matrix.py --missing`"
# each graph format, and a CPU; every family, and both kinds of streams, at least once
SAMPLE = [
    ("spiking", STREAMING, "tensorrt"),
    ("bivit", WHOLE, "tensorrt"),
    ("snntorch", WHOLE, "coreml"),
    ("fmvit", WHOLE, "litert"),
    ("tflite", WHOLE, "litert"),
    ("nir", STREAMING, "litert"),
    ("onnx", WHOLE, "host"),
]


def test_no_cell_is_empty() -> None:
    """Every model on every target, with a figure or a reason; what is new needs cells."""
    matrix = read_matrix()
    assert not matrix.holes(NAMES), AGAIN
    assert matrix.rows == tuple(entry.row for entry in ENTRIES), AGAIN


def test_every_family_and_front_end_has_a_row() -> None:
    matrix = read_matrix()
    families = {row.family for row in matrix.rows}
    missing = {*FAMILIES, *FRONT_ENDS} - families
    assert not missing, f"enter {missing} in tests/fixtures/matrix_models.py, then {AGAIN}"
    assert {row.family for row in matrix.rows if row.form == STREAMING} >= {"lmuformer", "nir"}


def test_holes_are_found() -> None:
    matrix = read_matrix()
    cells = dict(matrix.cells)
    del cells["bivit", WHOLE, "litert"]
    key = ("fmvit", WHOLE, "coreml")
    cells[key] = dataclasses.replace(cells[key], max_error=None, reason="")
    holes = dataclasses.replace(matrix, cells=cells).holes([*NAMES, "abacus"])
    assert "bivit (whole sequence) on litert: not measured" in holes
    assert "fmvit (whole sequence) on coreml: no reason" in holes
    assert len(holes) == 2 + len(matrix.rows)


@pytest.mark.parametrize(("name", "form", "target"), SAMPLE, ids=lambda value: str(value))
def test_again(name: str, form: str, target: str, tmp_path: Path) -> None:
    """Built and run here it verifies on the same device, comparing as much."""
    entry = next(e for e in ENTRIES if (e.row.name, e.row.form) == (name, form))
    shipped = read_matrix().cells[name, form, target]
    cell = measure(entry.row, entry.model(tmp_path), target, tmp_path)
    assert cell.max_error is not None
    assert (cell.status, cell.device, cell.exact) == (VERIFIED, shipped.device, shipped.exact)
    assert cell.max_error <= 1e-4


def test_errors_are_small() -> None:
    """1e-4 of logits of size one is what every family states; nothing else is called verified."""
    for cell in read_matrix().cells.values():
        if cell.status == VERIFIED:
            assert cell.max_error is not None
            assert cell.max_error <= 1e-4, cell
            assert cell.device, cell


def test_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["targets", "--matrix", "--json", str(tmp_path / "m.json")]) == 0
    text = capsys.readouterr().out
    for name in NAMES:
        assert f"\n{name} " in text
    content = json.loads((tmp_path / "m.json").read_text())
    assert len(content["cells"]) >= len(NAMES) * len(content["rows"])


def test_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('{"rows": [{}]}')
    with pytest.raises(BundleError, match="cannot be read"):
        read_matrix(tmp_path / "m.json")
