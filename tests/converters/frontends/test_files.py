"""``module.py:function`` and ``.nir`` as sources."""

from __future__ import annotations

import sys
from pathlib import Path

import nir
import numpy as np
import pytest

from millijoule.converters import convert
from millijoule.errors import DeviceError, MjError, ModelError, UnsupportedError, UsageError

EXAMPLES = Path(__file__).parents[3] / "examples"

GOOD = """
import torch
from torch import nn
from helper import WIDTH

def make():
    return nn.Linear(WIDTH, 3), (torch.ones(2, WIDTH),)

def small():
    module = nn.Linear(4, 2)
    module.example_inputs = torch.ones(1, 4)
    return module

def bare():
    return nn.Linear(4, 2)

def fails():
    x = 1
    raise ValueError("two\\nlines")

def needs():
    import snntorch_that_is_missing

value = 3
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A user's file that imports another one beside it."""
    (tmp_path / "helper.py").write_text("WIDTH = 5\n")
    path = tmp_path / "mine.py"
    path.write_text(GOOD)
    return path


def test_a_function_gives_module_and_inputs(source: Path) -> None:
    path = list(sys.path)
    model = convert(f"{source}:make")
    assert (model.name, model.inputs[0][1].shape) == ("mine", (2, 5))
    assert convert(f"{source}:make", name="other", batch=4).inputs[0][1].shape == (4, 5)
    assert sys.path == path


def test_a_module_may_bring_its_inputs(source: Path) -> None:
    model = convert(f"{source}:small")
    assert (model.name, model.inputs[0][1].shape) == ("small", (1, 4))


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        ("bare", UsageError, "must return .module, example_inputs., or a module with an attribute"),
        ("fails", ModelError, r"\[mine.py:19\] ValueError: two lines"),
        ("needs", ModelError, r"\[mine.py:22\] No module named 'snntorch_that_is_missing'"),
        ("nothing", UsageError, "no function 'nothing'; it has make, small, bare, fails, needs"),
        ("value", UsageError, "no function 'value'"),
        ("two words", UsageError, "names no function"),
    ],
)
def test_errors_name_the_place(
    source: Path, function: str, error: type[MjError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        convert(f"{source}:{function}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def make(:\n", r"\[broken.py:1\] SyntaxError"),
        ("\nmake = 1 / 0\n", r"\[broken.py:2\] ZeroDivisionError"),
    ],
)
def test_files_that_do_not_load(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(ModelError, match=message):
        convert(f"{path}:make")


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no file .*none\.py"):
        convert(f"{tmp_path}/none.py:make")
    with pytest.raises(UsageError, match=r"no file .*none\.nir"):
        convert(f"{tmp_path}/none.nir")


def test_a_missing_extra_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "snntorch", None)
    path = tmp_path / "net.py"
    path.write_text("import snntorch\n")
    with pytest.raises(DeviceError, match=r"pip install 'millijoule\[train\]'"):
        convert(f"{path}:make")
    monkeypatch.setitem(sys.modules, "nir", None)
    graph = tmp_path / "graph.nir"
    graph.write_bytes(b"")
    with pytest.raises(DeviceError, match=r"pip install 'millijoule\[nir\]'"):
        convert(str(graph))


def test_malformed_nir_files(tmp_path: Path) -> None:
    path = tmp_path / "graph.nir"
    path.write_bytes(b"not HDF5")
    with pytest.raises(ModelError, match=r"\[graph.nir\] is no NIR graph"):
        convert(str(path))


def test_nir_files(tmp_path: Path) -> None:
    one = np.ones(3, np.float32)
    graph = nir.NIRGraph.from_list(
        nir.Linear(np.eye(3, 4, dtype=np.float32)), nir.IF(r=one, v_threshold=one)
    )
    nir.write(tmp_path / "ready.nir", graph)
    model = convert(str(tmp_path / "ready.nir"), batch=2)
    assert (model.name, model.inputs[0][1].shape) == ("ready", (2, 100, 4))
    step = convert(str(tmp_path / "ready.nir"), streaming=True)
    assert step.inputs[0][1].shape == (1, 4)


@pytest.mark.parametrize("streaming", [False, True])
def test_the_example_converts(streaming: bool) -> None:
    model = convert(f"{EXAMPLES / 'snntorch_leaky.py'}:make", streaming=streaming)
    assert model.name == "snntorch_leaky"
    assert [name for name, _ in model.outputs] == ["counts", "spikes", "membrane"]
    assert model.sample_outputs["counts"].any()


def test_streams_are_for_spiking_networks(source: Path) -> None:
    with pytest.raises(UnsupportedError, match="no step form"):
        convert(f"{source}:make", streaming=True)
