"""Reference results that do not depend on how many cores a machine has, or has free.

Sums of torch are split by threads, so that another number of them rounds otherwise, and what is
calculated while converting (sample outputs, constants) goes into bundles byte by byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["one_torch_thread"]


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Inside, torch calculates in the calling thread alone; then with as many as before."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
