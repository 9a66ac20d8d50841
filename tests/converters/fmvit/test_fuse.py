"""Every fusion rule alone, in float64, and the one that must not be applied."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fixtures.fmvit import randomise_norm
from millijoule.converters.fmvit import fuse
from millijoule.converters.fmvit.layers import Attention, ConvNorm, MultiGroupConv

EXACT = 1e-12  # sums of a few hundred products of order 1, in float64


def _norm(channels: int, seed: int = 0) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels).double().eval()
    randomise_norm(norm, torch.Generator().manual_seed(seed))
    return norm


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def _randomise(module: nn.Module) -> nn.Module:
    for index, layer in enumerate(module.modules()):
        if isinstance(layer, nn.BatchNorm2d):
            layer.load_state_dict(_norm(layer.num_features, index).state_dict())
    return module.double().eval()


@pytest.mark.parametrize(("size", "groups", "stride"), [(1, 1, 1), (3, 1, 2), (3, 4, 1), (3, 8, 2)])
def test_a_norm_behind_a_convolution(size: int, groups: int, stride: int) -> None:
    layer = _randomise(ConvNorm(8, 16, size, stride, groups))
    x = _random(2, 8, 7, 5)
    deployed = layer.deployed()
    assert isinstance(deployed, nn.Conv2d)
    torch.testing.assert_close(deployed(x), layer(x), rtol=0, atol=EXACT)


def test_a_norm_behind_a_convolution_with_a_bias() -> None:
    norm, weight, bias, x = _norm(5), _random(5, 3, 3, 3), _random(5), _random(1, 3, 6, 6)
    folded = F.conv2d(x, *fuse.norm_after(weight, bias, norm))
    torch.testing.assert_close(folded, norm(F.conv2d(x, weight, bias)), rtol=0, atol=EXACT)


@pytest.mark.parametrize("pooling", [1, 2, 3])
def test_a_norm_in_front_of_a_1x1_also_through_pooling(pooling: int) -> None:
    norm, weight, bias, x = _norm(6), _random(4, 6, 1, 1), _random(4), _random(2, 6, 6, 12)
    folded = F.conv2d(F.avg_pool2d(x, pooling), *fuse.norm_before(norm, weight, bias))
    expected = F.conv2d(F.avg_pool2d(norm(x), pooling), weight, bias)
    torch.testing.assert_close(folded, expected, rtol=0, atol=EXACT)


def test_a_norm_in_front_of_a_linear_layer_without_bias() -> None:
    norm, weight, x = _norm(6), _random(4, 6), _random(2, 6, 3, 1)
    folded = F.linear(x[..., 0].transpose(1, 2), *fuse.norm_before(norm, weight, None))
    expected = F.linear(norm(x)[..., 0].transpose(1, 2), weight)
    torch.testing.assert_close(folded, expected, rtol=0, atol=EXACT)


def test_a_norm_in_front_of_a_padded_convolution_is_refused_and_would_be_wrong() -> None:
    norm, weight, x = _norm(6), _random(4, 6, 3, 3), _random(1, 6, 5, 5)
    with pytest.raises(ValueError, match="cannot be folded"):
        fuse.norm_before(norm, weight, None)
    s, t = fuse.affine(norm)
    folded = F.conv2d(x, weight * s[:, None, None], (weight.sum((2, 3)) @ t), padding=1)
    error = (folded - F.conv2d(norm(x), weight, padding=1)).abs()
    assert error[..., 1:-1, 1:-1].max() < EXACT  # right inside …
    assert error.max() > 0.1  # … and wrong at the border, where padding is not the norm of 0


@pytest.mark.parametrize("target", [1, 2, 4])
def test_groups_become_blocks_on_the_diagonal(target: int) -> None:
    weight, x = _random(8, 3, 3, 3), _random(1, 12, 5, 5)
    wide = fuse.expand_groups(weight, 4, target)
    assert wide.shape == (8, 12 // target, 3, 3)
    torch.testing.assert_close(
        F.conv2d(x, wide, groups=target), F.conv2d(x, weight, groups=4), rtol=0, atol=EXACT
    )


def test_more_groups_than_there_are_is_an_error() -> None:
    with pytest.raises(ValueError, match="4 groups cannot be written as 3"):
        fuse.expand_groups(_random(8, 3, 1, 1), 4, 3)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_the_centre_tap_and_the_identity(size: int) -> None:
    x, weight = _random(1, 6, 5, 7), _random(6, 3, 1, 1)
    padded = F.conv2d(x, fuse.centre(weight, size), padding=size // 2, groups=2)
    torch.testing.assert_close(padded, F.conv2d(x, weight, groups=2), rtol=0, atol=EXACT)
    kernel = fuse.identity_kernel(6, 3, size)
    assert torch.equal(F.conv2d(x, kernel, padding=size // 2, groups=3), x)


@pytest.mark.parametrize("branches", [(8,), (8, 4), (8, 4, 1), (4, 6), (24,)])
@pytest.mark.parametrize("size", [3, 5])
def test_branches_become_one_convolution(branches: tuple[int, ...], size: int) -> None:
    layer = _randomise(MultiGroupConv(24, branches, size))
    deployed = layer.deployed()
    assert isinstance(deployed, nn.Conv2d)
    widths = {(8,): 8, (8, 4): 8, (8, 4, 1): 8, (4, 6): 12, (24,): 24}  # lcm: gcd of the groups
    assert deployed.groups == 24 // widths[branches]
    x = _random(2, 24, 6, 5)
    torch.testing.assert_close(deployed(x), layer(x), rtol=0, atol=EXACT)


@pytest.mark.parametrize("pooling", [1, 2])
def test_attention_absorbs_its_norm(pooling: int) -> None:
    layer = _randomise(Attention(16, 8, pooling))
    x = _random(2, 16, 4, 4)
    expected = layer(x)
    layer.absorb_norm()
    assert isinstance(layer.norm, nn.Identity)
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=EXACT)


def test_attention_is_what_its_equation_says() -> None:
    layer = _randomise(Attention(16, 8, 2))
    x = _random(1, 16, 4, 4)
    normed = layer.norm(x)
    tokens, context = normed[0].flatten(1).T, F.avg_pool2d(normed, 2)[0].flatten(1).T
    heads = []
    for head in (slice(0, 8), slice(8, 16)):
        q, k, v = (
            F.linear(source, part.weight[head], part.bias[head])
            for part, source in ((layer.q, tokens), (layer.k, context), (layer.v, context))
        )
        heads.append(torch.softmax(q @ k.T / 8**0.5, 1) @ v)
    expected = layer.proj(torch.cat(heads, 1)).T.reshape(1, 16, 4, 4)
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=EXACT)
