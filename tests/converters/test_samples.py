"""Samples are chosen so that no spike of theirs hangs on rounding."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fixtures.models import SMALL, random_module
from millijoule.converters.lmuformer.layers import Lif
from millijoule.converters.samples import MARGIN, random_candidates, robust_sample, spikes_of
from millijoule.errors import ModelError


class Neurons(nn.Module):
    """Potential x/2 in the first step, threshold 1."""

    def __init__(self) -> None:
        super().__init__()
        self.lif = Lif()

    def forward(self, x: Tensor) -> Tensor:
        return self.lif(x)


def test_a_sample_on_the_threshold_is_passed_over() -> None:
    exactly, next_to, clear = (torch.full((1, 1, 3), v) for v in (2.0, 2.0 + MARGIN, 2.5))
    module = Neurons().eval()
    assert robust_sample(module, [exactly, next_to, clear]) is clear


def test_the_first_sample_is_taken_if_none_is_robust() -> None:
    worst = [torch.full((1, 1, 3), 2.0), torch.full((1, 1, 3), 2.0)]
    assert robust_sample(Neurons().eval(), worst) is worst[0]


def test_models_without_spikes_take_any_sample() -> None:
    first = torch.zeros(1, 2)
    assert robust_sample(nn.Linear(2, 2), iter([first])) is first


def test_there_must_be_a_sample() -> None:
    with pytest.raises(ModelError, match="at least one sample"):
        robust_sample(nn.Linear(2, 2), [])


def test_looking_for_samples_leaves_the_module_alone() -> None:
    module = random_module("spiking-ms", SMALL["spiking-ms"])
    before = {k: v.clone() for k, v in module.state_dict().items()}
    robust_sample(module, random_candidates((1, 24, 20)))
    after = module.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert {m.threshold for m in module.modules() if isinstance(m, Lif)} == {0.5, 1.0}
    assert not any(m._forward_hooks for m in module.modules())


def test_spikes_by_layer() -> None:
    module = random_module("spiking-ms", SMALL["spiking-ms"])
    x = torch.randn(2, 24, 20)
    logits, spikes = spikes_of(module, lambda m: m(x))
    assert logits.shape == (2, 7)
    assert set(spikes) >= {"patch_embed.proj_lif", "block.0.attn.lmu.f_u", "head_lif"}
    assert spikes["block.0.mlp.fc2_lif"].shape == (2, 24, 32)
    assert all(s.dtype == torch.uint8 for s in spikes.values())


def test_candidates_are_the_same_every_time() -> None:
    first, second = (list(random_candidates((1, 3))) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert len({tuple(x.flatten().tolist()) for x in first}) == len(first)
