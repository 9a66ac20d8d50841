"""``mj check`` and ``mj targets --ops``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from millijoule.cli import main
from millijoule.converters.support import DOORS

Capture = pytest.CaptureFixture[str]

SOURCE = """
import torch
from torch import nn

def fits():
    return nn.Sequential(nn.Linear(8, 4), nn.GELU()), (torch.zeros(2, 8),)

class Odd(nn.Module):
    def forward(self, x):
        y = torch.special.bessel_j0(x)
        return y + torch.rand(2, 2)

def odd():
    return Odd(), (torch.zeros(2, 2),)
"""


@pytest.fixture
def source(tmp_path: Path) -> str:
    path = tmp_path / "models.py"
    path.write_text(SOURCE)
    return str(path)


def check(capsys: Capture, *argv: str, code: int) -> Any:
    """The JSON of ``mj check …``."""
    assert main(["check", *argv, "--json", "-"]) == code
    return json.loads(capsys.readouterr().out)


def test_a_model_that_fits(source: str, capsys: Capture) -> None:
    found = check(capsys, f"{source}:fits", "--target", "cortex-m4", code=0)
    assert found["supported"] is True
    assert found["problems"] == []
    assert found["kernels"] == 1
    assert {"operator": "matmul", "count": 1, "support": "kernel"} in found["operators"]
    assert main(["check", f"{source}:fits"]) == 0
    assert "can be built for host: 1 kernels" in capsys.readouterr().out


def test_every_node_without_conversion_is_reported(source: str, capsys: Capture) -> None:
    found = check(capsys, f"{source}:odd", code=3)
    assert found["supported"] is False
    first, second = found["problems"]
    assert first["operator"] == "special_bessel_j0.default"
    assert 'models.py", line 10' in first["where"]
    assert second["operator"] == "rand.default"
    assert 'models.py", line 11' in second["where"]
    assert "random numbers" in second["reason"]
    assert main(["check", f"{source}:odd"]) == 3
    assert "cannot be built for host" in capsys.readouterr().out


def test_mistakes(source: str, capsys: Capture) -> None:
    assert main(["check", f"{source}:fits", "--target", "nothing"]) == 2
    assert "must be one of host" in capsys.readouterr().err
    assert main(["check", "nowhere"]) == 2
    assert main(["check", f"{source}:fits", "--examples", "none.npz"]) == 2
    assert main(["targets", "--ops", "nothing"]) == 2


@pytest.mark.parametrize("name", [*DOORS, "host", "tensorrt"])
def test_tables_of_operators(name: str, capsys: Capture) -> None:
    assert main(["targets", "--ops", name, "--json", "-"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) > 30
    assert all(row["note"] for row in rows if row["support"] == "refused")
    assert main(["targets", "--ops", name]) == 0
    assert capsys.readouterr().out.startswith("operator")
