"""The whole model: fusion, counts of the record, hyper-parameters."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from fixtures.fmvit import TINY, random_fmvit
from millijoule.converters.fmvit import build_module, deploy, read_hparams
from millijoule.converters.fmvit.convert import reference_macs
from millijoule.errors import ModelError

# (parameters in millions, GMAC) of the public record at 224 pixels, and how near we are
RECORD = {"t": (2.0, 0.3), "s": (6.4, 0.8), "m": (12.8, 2.0), "b": (24.3, 4.2), "l": (35.3, 7.1)}
NEAR = 0.02

CASES = [("custom", TINY), ("t", {"image_size": 32, "num_classes": 3})]


def _norms(module: nn.Module) -> list[str]:
    return [name for name, layer in module.named_modules() if "Norm" in type(layer).__name__]


@pytest.mark.parametrize(("variant", "hparams"), CASES)
def test_fusion_changes_nothing_but_the_form(variant: str, hparams: dict[str, Any]) -> None:
    module = random_fmvit(hparams, variant)
    size = module.hp.image_size
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    fused = deploy(module)
    with torch.no_grad():
        torch.testing.assert_close(fused(x), module(x), rtol=0, atol=2e-5)
        double = module.double()
        expected = double(x.double())
        torch.testing.assert_close(deploy(double)(x.double()), expected, rtol=0, atol=1e-10)
    assert expected.std() > 0.01  # there is something to get wrong
    assert _norms(module)
    assert _norms(fused) == []
    assert not [k for k in fused.state_dict() if "running" in k or "norm" in k or "branch" in k]


def test_the_pyramid_survives_fusion_too() -> None:
    module = random_fmvit({**TINY, "outputs": "pyramid"}).double()
    x = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        levels, fused = module(x), deploy(module)(x)
    assert [tuple(level.shape) for level in levels] == [
        (1, 16, 8, 8),
        (1, 32, 4, 4),
        (1, 48, 2, 2),
        (1, 16, 1, 1),
    ]
    for level, other in zip(levels, fused, strict=True):
        torch.testing.assert_close(level, other, rtol=0, atol=1e-10)


def test_deploying_twice_or_in_training_mode_changes_nothing() -> None:
    module = random_fmvit()
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        once = deploy(module)(x)
        assert torch.equal(deploy(deploy(module))(x), once)
        assert torch.equal(deploy(module.train())(x), once)
    assert module.training  # and the original is left as it was


@pytest.mark.parametrize("variant", RECORD)
def test_variants_meet_the_public_record(variant: str) -> None:
    with torch.device("meta"):  # shapes only
        module = build_module(variant, {})
        deployed = deploy(module)
        gmac = sum(reference_macs(deployed, torch.zeros(1, 3, 224, 224)).values())
    parameters = sum(p.numel() for p in deployed.parameters())
    assert abs(parameters / 1e6 / RECORD[variant][0] - 1) < NEAR
    assert abs(gmac / 1e9 / RECORD[variant][1] - 1) < NEAR
    assert module.hp.num_classes == 1000


def test_a_variant_takes_overrides_and_ignores_the_unknown() -> None:
    hp = read_hparams("s", {"num_classes": 12, "colour": "red", "image_size": None})
    assert (hp.num_classes, hp.image_size, hp.depths) == (12, 224, (2, 2, 4, 2))


@pytest.mark.parametrize(
    ("variant", "values", "message"),
    [
        ("xl", {}, r"variant must be one of t, s, m, b, l, custom, but is 'xl'"),
        ("custom", {}, r"hparams\.stem is missing"),
        ("s", {"num_classes": 0}, r"num_classes must be a positive integer, but is 0"),
        ("s", {"num_classes": True}, r"num_classes must be a positive integer, but is True"),
        ("s", {"mlp_ratio": -1}, r"mlp_ratio must be a positive number, but is -1"),
        ("s", {"mlp_ratio": float("nan")}, r"mlp_ratio must be a positive number, but is nan"),
        ("s", {"depths": [2, 2]}, r"depths must be a list of 4 integers of at least 1"),
        ("s", {"stem": "abc"}, r"stem must be a list of 3 integers"),
        ("s", {"branches": []}, r"branches must be a list of some integers"),
        ("s", {"image_size": 200}, r"image_size must be a multiple of 32, but is 200"),
        ("s", {"outputs": "boxes"}, r"outputs must be one of classes, pyramid, but is 'boxes'"),
        ("s", {"widths": [32, 96, 160, 500]}, r"widths must be multiples of 32"),
        ("s", {"mixing_widths": [32, 128, 224, 700]}, r"what attention leaves is a multiple of 32"),
        ("s", {"pooling": [8, 3, 2, 1]}, r"pooling must be a divisor of the stage's side, 28"),
        ("s", {"mix": 1}, r"mix must be below 1, but is 1"),
    ],
)
def test_bad_hparams_are_named(variant: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        read_hparams(variant, values)
