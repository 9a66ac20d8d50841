"""Training of kws-digits: views of clips, and starting a network from one of other widths."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from millijoule.audio import LogMel
from millijoule.converters.lmuformer import build_module
from millijoule.converters.zoo.kws_digits import deepen, train, views, widen

VIEWS = views.Views.of(LogMel())
SAME = replace(VIEWS, warp=0.0, curve=0.0, shift=0, blank=0.0)
ROUNDING = 2e-4  # of a band's place among 40, times what neighbouring bands differ by
SIZES = {"depth": 1, "num_heads": 1, "in_channels": 10, "seq_len": 20, "num_classes": 3}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clips() -> torch.Tensor:
    """Eight clips, the second half of each digital silence."""
    x = torch.randn(8, 98, 40, generator=generator()) * 3 - 6
    x[:, 49:] = VIEWS.floor
    return x.clamp(min=VIEWS.floor)


def test_a_view_without_changes_is_the_clip() -> None:
    torch.testing.assert_close(SAME(clips(), generator()), clips(), rtol=0, atol=ROUNDING)


def test_a_seed_fixes_the_view() -> None:
    first, again, other = (VIEWS(clips(), generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_silence_stays_silent_and_nothing_is_below_it() -> None:
    varied = replace(SAME, warp=0.12, curve=3.0, share=1.0)(clips(), generator())
    assert not torch.equal(varied, clips())
    assert (varied[:, 49:] - VIEWS.floor).abs().max() < ROUNDING
    assert varied.min() > VIEWS.floor - ROUNDING


def test_a_clip_moves_by_whole_frames() -> None:
    x = torch.arange(98.0)[None, :, None].expand(64, 98, 40).contiguous()
    moved = replace(SAME, shift=4)(x, generator())[:, 40, 0] - 40
    assert set(moved.tolist()) == set(range(-4, 5))


@pytest.mark.parametrize(("axis", "widest"), [(2, VIEWS.bands), (1, VIEWS.frames)])
def test_stripes_blank_one_run(axis: int, widest: int) -> None:
    x = torch.rand(200, 98, 40, generator=generator())
    other = {"frames": 0} if axis == 2 else {"bands": 0}
    varied = replace(SAME, blank=1.0, **other)(x, generator())
    changed = ((varied - x).abs() > ROUNDING).any(3 - axis)  # [clips, bands or frames]
    widths = changed.sum(1)
    assert set(widths.tolist()) == set(range(widest + 1))
    edges = changed.int().diff(dim=1, prepend=torch.zeros(200, 1), append=torch.zeros(200, 1))
    assert (edges.clamp(min=0).sum(1) <= 1).all()


def network(dim: int, hidden: int, memory: int, seed: int, depth: int = 1) -> torch.nn.Module:
    sizes = {"dim": dim, "mlp_ratio": hidden / dim, "memory_size": memory, "depth": depth}
    model = build_module(train.VARIANT, {**SIZES, **sizes})
    train.initialize(model, generator(seed))
    return model


def test_a_wider_network_computes_what_the_narrow_one_does() -> None:
    torch.manual_seed(0)
    narrow, wide = network(12, 24, 16, 0), network(15, 40, 16, 1)
    wide.load_state_dict(widen.widened(wide, narrow.state_dict()))
    x = torch.randn(4, 20, 10, generator=generator())
    expected = narrow.eval()(x)
    assert expected.std() > 0.01
    torch.testing.assert_close(wide.eval()(x), expected, rtol=0, atol=1e-5)


def test_a_smaller_memory_keeps_its_first_coefficients() -> None:
    trained, small = network(12, 24, 16, 0), network(14, 24, 6, 1)
    state = widen.widened(small, trained.state_dict())
    readout, old = state["block.0.attn.lmu.W_h.weight"], trained.state_dict()
    expected = old["block.0.attn.lmu.W_h.weight"]
    assert readout.shape == (14, 6 + 14)
    assert torch.equal(readout[:12, :6], expected[:, :6])
    assert torch.equal(readout[:12, 6:18], expected[:, 16:])
    assert not readout[:12, 18:].any()
    assert torch.equal(
        state["block.0.attn.lmu.bn_m.weight"], old["block.0.attn.lmu.bn_m.weight"][:6]
    )


def test_a_deeper_network_deals_out_the_hidden_units() -> None:
    trained = network(12, 24, 16, 0).state_dict()
    state = deepen.deepened(trained, 3, 7)
    deep = network(12, 7, 16, 1, depth=3)
    deep.load_state_dict(state)
    name = "mlp.fc2_conv.weight"
    columns = torch.cat([state[f"block.{i}.{name}"] for i in range(3)], 1)
    old = trained[f"block.0.{name}"]
    kept = old.flatten(1).norm(dim=0).argsort(descending=True)[:21]
    expected = {tuple(old[:, unit, 0].tolist()) for unit in kept.tolist()}
    assert {tuple(columns[:, unit, 0].tolist()) for unit in range(21)} == expected
    for i in range(3):  # a unit keeps its inputs with its outputs
        unit = int((old[:, :, 0] == state[f"block.{i}.{name}"][:, :1, 0]).all(0).nonzero())
        assert torch.equal(
            state[f"block.{i}.mlp.fc1_conv.weight"][0], trained["block.0.mlp.fc1_conv.weight"][unit]
        )
    assert not state["block.2.mlp.fc2_conv.bias"].any()


def test_equal_blocks_add_up_to_the_one_they_came_from() -> None:
    """With no new attention, a linear MLP split in two is the whole; sizes that do not fit fail."""
    trained = network(12, 24, 16, 0).state_dict()
    state = deepen.deepened(trained, 2, 12)
    x = torch.randn(24, generator=generator())
    order = trained["block.0.mlp.fc2_conv.weight"].flatten(1).norm(dim=0).argsort(descending=True)
    whole = trained["block.0.mlp.fc2_conv.weight"][:, :, 0] @ x
    parts = sum(state[f"block.{i}.mlp.fc2_conv.weight"][:, :, 0] @ x[order[i::2]] for i in range(2))
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-5)
    assert deepen.deepened(trained, 1, 24).keys() == trained.keys()
    for depth, hidden in ((2, 13), (0, 4)):
        with pytest.raises(ValueError, match="blocks"):
            deepen.deepened(trained, depth, hidden)


def test_the_quietest_clips_are_those_with_little_noise() -> None:
    """Levels and padding with digital silence do not matter."""
    x = torch.full((6, 98, 40), VIEWS.floor)
    for row, (loudest, softest) in enumerate([(-2, -4), (-8, -13), (-3, -12), (-9, -10)]):
        x[row, :60] = torch.linspace(loudest, softest, 60)[:, None]
    x[4, :60], x[4, 30] = -7.0, -1.0  # six above its noise; row 1 has five
    assert views.quietest(x.half(), VIEWS.floor, 0.5).tolist() == [2, 4, 5]
    assert views.quietest(x.half(), VIEWS.floor, 1.0).tolist() == list(range(6))
