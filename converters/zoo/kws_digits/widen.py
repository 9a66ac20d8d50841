"""Start a network from a trained one of other widths, with what that one knows.

New neurons come with random weights into them and none out of them to the old ones, as in the
function-preserving growth of Net2Net (arXiv 1511.05641): training goes on where the narrow network
was, with room to learn more. A smaller memory keeps its first Legendre coefficients, which change
little when higher ones are left out. Works because every tensor's leading part belongs to the same
neurons: widths change at the end of an axis only, but for the readout's, which joins two.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

_READOUT = "lmu.W_h.weight"  # [hidden, memory + inputs]


def widened(model: nn.Module, trained: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State of ``model`` that computes what the network of ``trained`` does, or close to it.

    Tensors without a trained form (buffers that follow from the sizes) stay as ``model`` has them.
    Of matrices and convolutions ``[out, in, …]``, old outputs ignore new inputs; of vectors, new
    entries stay as they are initialized. What is smaller in ``model`` is cut.
    """
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for name, old in trained.items():
        if name.endswith(_READOUT):
            parts = zip(_parts(state, name), _parts(trained, name), strict=True)
            state[name] = torch.cat([_fitted(new, part) for new, part in parts], 1)
        else:
            state[name] = _fitted(state[name], old)
    return state


def _parts(state: Mapping[str, Tensor], readout: str) -> tuple[Tensor, ...]:
    memory = len(state[readout.replace("W_h.weight", "bn_m.weight")])
    weight = state[readout]
    return weight[:, :memory], weight[:, memory:]


def _fitted(new: Tensor, old: Tensor) -> Tensor:
    new = new.clone()
    if old.dim() > 1:
        new[: old.shape[0]] = 0
    common = tuple(slice(min(a, b)) for a, b in zip(new.shape, old.shape, strict=True))
    new[common] = old[common]
    return new
