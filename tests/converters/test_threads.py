"""What a conversion calculates with torch is the same bits for any number of threads."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from fixtures.models import LMUFORMER
from millijoule.converters import convert
from millijoule.converters.threads import one_torch_thread


@pytest.fixture
def restored() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_sample_outputs_do_not_depend_on_threads(restored: None) -> None:
    """With two threads, torch's own logits of this model are others than with one."""
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(convert(LMUFORMER[0].path).sample_outputs["logits"])
        assert torch.get_num_threads() == threads  # as it was
    np.testing.assert_array_equal(*found)


def test_threads_come_back_after_an_error(restored: None) -> None:
    torch.set_num_threads(2)

    def fail() -> None:
        with one_torch_thread():
            raise KeyError(torch.get_num_threads())

    with pytest.raises(KeyError, match="1"):
        fail()
    assert torch.get_num_threads() == 2
