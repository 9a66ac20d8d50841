"""Models of other shapes than the reference ones: from a folder to a program, against torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import millijoule as mj
from fixtures.binary import SMALL_BERT, SMALL_VIT, safe_tokens, save_folder
from millijoule.converters import convert
from millijoule.converters.binary.layers import freeze
from millijoule.converters.binary.samples import Maps, margin
from millijoule.errors import UsageError
from millijoule.targets import build

ALL = ("input_ids", "attention_mask", "token_type_ids")
# family, variant, changes of the hyper-parameters, inputs, tokens
SHAPES: dict[str, tuple[str, str, dict[str, Any], tuple[str, ...], int]] = {
    "heads of 15, three labels": ("bibert", "classification", {"num_labels": 3}, ALL, 12),
    "a head of 24, ids only": (
        "bibert",
        "classification",
        {"hidden_size": 24, "num_attention_heads": 1, "num_hidden_layers": 2},
        ALL[:1],
        7,
    ),
    "heads of 64, no types": (
        "bipft",
        "classification",
        {"hidden_size": 128, "type_vocab_size": 1},
        ALL[:2],
        11,
    ),
    "relu in the masked-language head": ("bipft", "pretraining", {"hidden_act": "relu"}, ALL, 12),
}


def run(folder: Path, inputs: dict[str, np.ndarray], out: Path) -> dict[str, np.ndarray]:
    """Outputs and taps of the built model."""
    build(convert(folder), "host", out).close()
    with mj.load(out) as session:
        return session.run(inputs, session.taps)


@pytest.mark.parametrize("name", SHAPES)
def test_tokens(name: str, tmp_path: Path) -> None:
    family, variant, changes, names, steps = SHAPES[name]
    hparams = {**SMALL_BERT, **changes}
    folder, module = save_folder(tmp_path / "m", family, variant, hparams)
    inputs = safe_tokens(module, steps, rows=3, names=names)
    np.savez(folder / "inputs.npz", **inputs)
    results = run(folder, inputs, tmp_path / "m.mjb")
    with torch.no_grad(), Maps() as maps:
        expected = module(**{n: torch.from_numpy(v) for n, v in inputs.items()})
    for output, y in expected.items():
        np.testing.assert_allclose(results[output], y.numpy(), rtol=0, atol=1e-4)
    for i, a in enumerate(maps.seen):
        np.testing.assert_array_equal(results[f"layer{i}.attn_map"], a.numpy())
        assert 0.02 < a.float().mean() < 0.98


@pytest.mark.parametrize("changes", [{}, {"attention": "bool", "learned_scales": True}], ids=str)
def test_vision_transformers(changes: dict[str, Any], tmp_path: Path) -> None:
    folder, module = save_folder(tmp_path / "v", "bivit", "vit", {**SMALL_VIT, **changes})
    candidates = (
        torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(s)) for s in range(50)
    )
    x = max(candidates, key=lambda x: margin(module, {"x": x}))
    results = run(folder, {"x": x.numpy()}, tmp_path / "v.mjb")
    with torch.no_grad(), Maps() as maps:
        expected = module(x)["logits"]
    np.testing.assert_allclose(results["logits"], expected.numpy(), rtol=0, atol=1e-4)
    np.testing.assert_array_equal(results["blocks.0.attn.attn_map"], maps.seen[0].numpy())


def test_rows_may_be_short_and_inputs_left_out(tmp_path: Path) -> None:
    """What is missing of a row is padding, and does not change what the rest gives."""
    folder, module = save_folder(tmp_path / "m", "bipft", "pretraining", SMALL_BERT)
    inputs = safe_tokens(module, 9, rows=2, names=ALL)
    out = tmp_path / "m.mjb"
    build(convert(folder), "host", out).close()
    tensors = {n: torch.from_numpy(v) for n, v in inputs.items()}
    with mj.load(out) as session, torch.no_grad():
        assert session.inputs[0].shape == (1, 12)  # all positions
        results = session.run(inputs)
        for name, y in module(**tensors).items():
            assert results[name].shape == y.shape
            np.testing.assert_allclose(results[name], y.numpy(), rtol=0, atol=1e-4)
        bare = session.run({"input_ids": inputs["input_ids"]})
        whole = {
            "input_ids": inputs["input_ids"],
            "attention_mask": np.ones((2, 9), int),
            "token_type_ids": np.zeros((2, 9), int),
        }
        for name, y in session.run(whole).items():
            np.testing.assert_array_equal(bare[name], y)
        profile = mj.profile(session, {"input_ids": inputs["input_ids"]}, duration=0.01)
        assert profile.to_dict()["latency"]
        with pytest.raises(UsageError, match=r"input_ids.*must be from 0 to 49, but contains 50"):
            session.run({"input_ids": np.array([[50]])})
        with pytest.raises(UsageError, match=r"token_type_ids.*must be from 0 to 1"):
            session.run({**whole, "token_type_ids": np.full((2, 9), -1)})
        with pytest.raises(UsageError, match="shape"):
            session.run({"input_ids": np.zeros((1, 13), int)})
        with pytest.raises(UsageError, match="missing"):
            session.run({"attention_mask": np.ones((1, 12), int)})


def test_freezing_changes_no_bit(tmp_path: Path) -> None:
    for family, variant in (("bibert", "classification"), ("bipft", "pretraining")):
        _, module = save_folder(tmp_path / family, family, variant, SMALL_BERT)
        ids = torch.randint(0, 50, (2, 12), generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            before = module(ids)
            for name, y in freeze(module)(ids).items():
                torch.testing.assert_close(y, before[name], rtol=0, atol=0)
        assert not any("query.weight" in key for key in module.state_dict())


def test_training_computes_what_is_deployed(tmp_path: Path) -> None:
    """In training mode the values are the same, and every weight gets a gradient."""
    for family, variant in (("bibert", "classification"), ("bipft", "classification")):
        folder, module = save_folder(tmp_path / family, family, variant, SMALL_BERT)
        inputs = safe_tokens(module, 12, rows=2, names=ALL)
        tensors = {n: torch.from_numpy(v) for n, v in inputs.items()}
        with torch.no_grad():
            deployed = module(**tensors)["logits"]
        trained = module.train()(**tensors)["logits"]
        torch.testing.assert_close(trained, deployed, rtol=0, atol=1e-4)
        trained.square().sum().backward()
        saved = load_file(folder / "weights.safetensors")
        without = {n for n, p in module.named_parameters() if p.grad is None or not p.grad.any()}
        assert len(saved) > 20
        # keys' biases shift all scores of a query alike only where nothing is binary
        assert not {n for n in without if n.endswith("weight")}, without
