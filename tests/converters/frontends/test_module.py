"""Ordinary torch modules through torch.export."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import millijoule as mj
from millijoule.converters.frontends.module import convert_module
from millijoule.errors import MjError, ModelError, UnsupportedError
from millijoule.targets import build
from millijoule.verification import verify


class Attention(nn.Module):
    """Two inputs, a dict of outputs, names of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(12)
        self.qkv = nn.Linear(12, 36)
        self.out = nn.Linear(12, 3)

    def forward(self, tokens: Tensor, bias: Tensor) -> dict[str, Tensor]:
        q, k, v = self.qkv(self.norm(tokens)).chunk(3, dim=-1)
        weights = torch.softmax(q @ k.transpose(1, 2) / 12**0.5 + bias[:, None], dim=-1)
        mixed = nn.functional.gelu(weights @ v)
        return {"logits": self.out(mixed.mean(1)), "last": mixed[:, -1]}


class Branches(nn.Module):
    def forward(self, *parts: Tensor) -> tuple[Tensor, Tensor]:
        return parts[0] + parts[1], parts[0].select(1, -2) * 2


CONV = nn.Sequential(
    nn.Conv2d(1, 6, 3, padding=1),
    nn.BatchNorm2d(6),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(96, 10),
)


@pytest.mark.parametrize(
    ("module", "shapes", "inputs", "outputs"),
    [
        (nn.Sequential(nn.Linear(8, 17), nn.SiLU(), nn.Linear(17, 4)), [(3, 8)], ["input"], ["y"]),
        (CONV, [(2, 1, 8, 8)], ["input"], ["y"]),
        (Attention(), [(2, 7, 12), (2, 7)], ["tokens", "bias"], ["logits", "last"]),
        (Branches(), [(2, 5), (2, 5)], ["parts0", "parts1"], ["y0", "y1"]),
    ],
    ids=["mlp", "conv", "attention", "branches"],
)
def test_modules(
    module: nn.Module,
    shapes: list[tuple[int, ...]],
    inputs: list[str],
    outputs: list[str],
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    model = convert_module(module, [torch.randn(s) for s in shapes], name="model")
    assert [name for name, _ in model.inputs] == inputs
    assert [name for name, _ in model.outputs] == outputs
    assert model.parameters == sum(p.numel() for p in module.parameters())
    build(model, "host", tmp_path / "m.mjb").close()
    with mj.load(tmp_path / "m.mjb") as session:
        assert all(check.passed for check in verify(session))


@dataclasses.dataclass
class Result:
    """What a module may return: fields, some of them None, some of them several."""

    logits: Tensor
    states: tuple[Tensor, ...]
    loss: Tensor | None = None


class Options(nn.Module):
    """Keyword arguments, one of them no tensor, and a dataclass as the result."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Linear(4, 3)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, scale: float = 1.0, twice: bool = False
    ) -> Result:
        y = self.model(x) * scale
        if mask is not None:
            y = y * mask
        return Result(y * 2 if twice else y, (x + 1, y))


@pytest.mark.parametrize(
    ("examples", "inputs"),
    [
        ({"x": torch.ones(2, 4), "mask": torch.tensor([[1], [0]]), "twice": True}, ["x", "mask"]),
        ((torch.ones(2, 4), {"scale": 0.5}), ["x"]),
        ((torch.ones(2, 4), {"mask": torch.ones(2, 3), "scale": 2.0}), ["x", "mask"]),
    ],
)
def test_keywords_and_dataclasses(examples: Any, inputs: list[str], tmp_path: Path) -> None:
    module = Options()
    model = convert_module(module, examples, name="options")
    assert [n for n, _ in model.inputs] == inputs
    assert [n for n, _ in model.outputs] == ["logits", "states.0", "states.1"]
    assert set(model.layers.values()) == {"", "model"}  # "" is the module itself
    args = examples[:-1] if isinstance(examples, tuple) else ()
    keywords = examples[-1] if isinstance(examples, tuple) else examples
    build(model, "host", tmp_path / "m.mjb").close()
    with mj.load(tmp_path / "m.mjb") as session, torch.no_grad():
        got = session.run(dict(model.sample_inputs))
        want = module(*args, **keywords)
    np.testing.assert_allclose(got["logits"], want.logits.numpy(), atol=1e-6)
    np.testing.assert_allclose(got["states.0"], want.states[0].numpy(), atol=1e-6)


def test_what_a_model_says() -> None:
    module = nn.Sequential(nn.Linear(8, 17), nn.ReLU(), nn.Linear(17, 4)).train()
    model = convert_module(module, torch.ones(3, 8, dtype=torch.float64))
    assert (model.name, model.family) == ("Sequential", "torch")
    assert model.reference_macs == {"0": 8 * 17, "2": 17 * 4}
    assert set(model.layers.values()) == {"0", "1", "2"}
    assert model.sample_inputs["input"].dtype == np.float32
    assert all(m.training for m in module.modules())


def test_evaluation_mode_is_for_the_conversion_only() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.9), nn.BatchNorm1d(4))
    module[0].eval()
    model = convert_module(module, (torch.ones(2, 4),))
    assert [m.training for m in module] == [False, True, True]
    with torch.no_grad():
        expected = module.eval()(torch.ones(2, 4))
    np.testing.assert_allclose(model.sample_outputs["y"], expected.numpy(), atol=1e-6)


@pytest.mark.parametrize("batch", [2, 5])
def test_batch(batch: int) -> None:
    model = convert_module(nn.Linear(4, 3), (torch.randn(3, 4),), batch=batch)
    assert model.inputs[0][1].shape == (batch, 4)
    assert model.outputs[0][1].shape == (batch, 3)
    rows = model.sample_inputs["input"]
    np.testing.assert_array_equal(rows[-1], rows[(batch - 1) % 3])


class Sorts(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.svdvals(x)


class Branchy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.sum() > 0 else x


class Words(nn.Module):
    def forward(self, x: Tensor) -> Any:
        return {"y": x, "note": "hello"}


class Divides(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / 0


ONE = (torch.ones(2, 4),)


@pytest.mark.parametrize(
    ("module", "examples", "error", "message"),
    [
        (nn.Linear(4, 3), None, ModelError, "needs example_inputs"),
        (nn.Linear(4, 3), (), ModelError, "at least one example input"),
        (nn.Linear(4, 3), (torch.ones(2, 4),) * 2, ModelError, "1 positional arguments, but .* 2"),
        (nn.Linear(4, 3), (torch.ones(2, 4), {"input": torch.ones(2)}), ModelError, "given twice"),
        (nn.Linear(4, 3), ("x",), ModelError, "example input 0 must be a tensor, but is str"),
        (nn.Linear(4, 3), (torch.tensor(1.0),), ModelError, "needs a batch axis"),
        (nn.Linear(4, 3), (torch.ones(1, 4).cfloat(),), UnsupportedError, "complex64"),
        (nn.Linear(4, 3), (torch.ones(2, 5),), ModelError, r"fails on its example inputs \[\[2, 5"),
        (Sorts(), ONE, UnsupportedError, r"operator .*svd.* is not supported .*test_module.py"),
        (Branchy(), ONE, UnsupportedError, "torch.export cannot trace Branchy"),
        (Words(), ONE, UnsupportedError, "output 'note' of Words must be a tensor, but is str"),
        (Divides(), ONE, ModelError, "NaN or infinite"),
        ("text", ONE, ModelError, "must be a torch.nn.Module or a nir.NIRGraph, but is str"),
    ],
)
def test_errors_are_one_line(
    module: Any, examples: Any, error: type[MjError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        convert_module(module, examples)
    assert "\n" not in str(caught.value)


def test_an_ordinary_module_has_no_stream() -> None:
    with pytest.raises(UnsupportedError, match="no step form; build it without --streaming"):
        convert_module(nn.Linear(4, 3), ONE, streaming=True)
