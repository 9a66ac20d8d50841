"""Start a network from a trained one with fewer blocks.

A new block begins as the last trained one: its attention as a copy whose branch is scaled down, so
that potentials stay near what the trained network gives the following layers. The hidden units of
that block's MLP are dealt out, most important first, to it and to the new blocks: a sum of branches
over blocks then has all of them, if the widths of the new MLPs add up to the old one's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_BRANCH = 0.3  # gain of a copied attention's branch
_BLOCK = re.compile(r"block\.(\d+)\.(.+)")
# The axis of each tensor that runs over the MLP's hidden units.
_HIDDEN_AXIS = {"fc1_conv.weight": 0, "fc1_conv.bias": 0, "fc2_conv.weight": 1}
_SHIFTS = ("attn.proj_bn.bias", "mlp.fc2_conv.bias")
"""What would be added once per copy."""


def depth_of(state: Mapping[str, Tensor]) -> int:
    """Number of blocks of a state_dict."""
    return 1 + max(int(match[1]) for match in map(_BLOCK.match, state) if match)


def deepened(trained: Mapping[str, Tensor], depth: int, hidden: int) -> dict[str, Tensor]:
    """State of ``depth`` blocks, whose last ones have MLPs of ``hidden`` units, from ``trained``.

    ``trained`` as it is if it has ``depth`` blocks. Raises ValueError if it has more of them, or
    too few hidden units to deal out.
    """
    last = depth_of(trained) - 1
    if last + 1 == depth:
        return dict(trained)
    parts = depth - last
    head = f"block.{last}."
    units = len(trained[f"{head}mlp.fc1_conv.weight"])
    if parts < 1 or parts * hidden > units:
        raise ValueError(
            f"[depth] at most {last + 1} blocks, then MLPs of at most {units} hidden units in all, "
            f"but {depth} blocks of {hidden} were asked for"
        )
    importance = trained[f"{head}mlp.fc2_conv.weight"].flatten(1).norm(dim=0)
    order = importance.argsort(descending=True, stable=True)[: parts * hidden]
    state = {name: tensor for name, tensor in trained.items() if not name.startswith(head)}
    for part in range(parts):
        for name, tensor in trained.items():
            if name.startswith(head):
                key = name.removeprefix(head)
                state[f"block.{last + part}.{key}"] = _share(key, tensor, order[part::parts], part)
    return state


def _share(key: str, tensor: Tensor, units: Tensor, part: int) -> Tensor:
    """The tensor of block ``last + part``, with these hidden units."""
    tensor = tensor.clone()
    if part and key == "attn.proj_bn.weight":
        tensor *= _BRANCH
    if part and key in _SHIFTS:
        tensor = torch.zeros_like(tensor)
    per_unit = key.startswith("mlp.fc2_bn.") and tensor.dim()
    axis = 0 if per_unit else _HIDDEN_AXIS.get(key.removeprefix("mlp."))
    return tensor if axis is None else tensor.index_select(axis, units)
