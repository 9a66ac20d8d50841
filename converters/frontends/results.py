"""Small conventions that the front ends share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def named_outputs(returned: Any) -> dict[str, Any]:
    """The keys of a dict, y for one tensor, y0, y1… for several."""
    if isinstance(returned, Mapping):
        return {str(key): value for key, value in returned.items()}
    if isinstance(returned, tuple | list):
        return {"y" if len(returned) == 1 else f"y{i}": v for i, v in enumerate(returned)}
    return {"y": returned}


def repeat_rows(x: Tensor, batch: int, axis: int) -> Tensor:
    """``x`` with ``batch`` entries along ``axis``, going round."""
    return x.index_select(axis, torch.arange(batch) % x.shape[axis])
