"""The tiny model as a shared library, called through ctypes like any bundle's program."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest

from fixtures.tiny_model import build
from millijoule.bundle import Bundle


def aligned(size: int) -> np.ndarray:
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size]


def pointers(*arrays: np.ndarray) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_plain_library_computes_the_reference(tmp_path: Path, threads: int) -> None:
    library = ctypes.CDLL(str(build.compile_library(tmp_path / "libmodel.so")))
    context = ctypes.create_string_buffer(library.mj_context_size())
    arena, weights = aligned(128), aligned(16)
    weights[:] = np.frombuffer(build.W.tobytes(), np.uint8)
    model = ctypes.addressof(ctypes.c_char.in_dll(library, "mj_model"))
    library.mj_init.argtypes = [
        *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t),
        *(ctypes.c_void_p, ctypes.c_size_t),
    ]
    assert library.mj_init(context, model, weights.ctypes.data, 16, arena.ctypes.data, 128) == 0
    assert library.mj_set_threads(context, threads) == 0
    inputs, expected = build.samples()
    y = np.full((2, 1), np.nan, np.float32)
    assert library.mj_run(context, pointers(inputs["x"]), pointers(y)) == 0
    np.testing.assert_array_equal(y, expected["y"])
    library.mj_deinit(context)


@pytest.mark.parametrize("variant", ["plain", "streaming"])
def test_bundle_is_valid_and_reproducible(tmp_path: Path, variant: str) -> None:
    first = build.build_tiny(tmp_path / "a.mjb", variant)
    second = build.build_tiny(tmp_path / "b.mjb", variant)
    assert first.read_bytes() == second.read_bytes()
    with Bundle.open(first) as bundle:
        assert bundle.manifest.model.variant == variant
        inputs, outputs = bundle.samples()
        np.testing.assert_array_equal(inputs["x"], build.samples(variant)[0]["x"])
        assert set(outputs) == set(build.reference(inputs["x"], variant))
