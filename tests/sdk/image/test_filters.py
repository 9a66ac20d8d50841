"""PNG filters by diagonals against the plain form, a line and a byte at a time, and Pillow."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fixtures.png import CHANNELS, chunk, encode
from millijoule.image import filters
from millijoule.image.png import read_png


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=23),
    st.integers(1, 17),
    st.sampled_from([1, 2, 3, 4, 6, 8]),
    st.sampled_from([2, 4, 256]),  # of few values, many are equally near
    st.integers(0, 99),
)
def test_diagonals_are_the_plain_form(
    filtered: list[int], width: int, step: int, values: int, seed: int
) -> None:
    kinds, rng = np.array(filtered, np.uint8), np.random.default_rng(seed)
    lines = rng.integers(0, values, (len(kinds), width * step), dtype=np.uint8)
    above = rng.integers(0, values, (1, width * step), dtype=np.uint8)
    plain, diagonal = (np.concatenate([above, np.zeros_like(lines)]) for _ in range(2))
    filters._by_lines(kinds, lines, step, plain)
    filters._by_diagonals(kinds, lines, step, diagonal)
    np.testing.assert_array_equal(diagonal, plain)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("colour", [0, 2, 4, 6])
def test_what_pillow_reads(colour: int, depth: int) -> None:
    """Pictures large enough to go by diagonals, and more than a block of lines high."""
    rng = np.random.default_rng(colour + depth)
    height, width, channels = filters.BLOCK + 17, 80, CHANNELS[colour]
    smooth = rng.integers(-3, 4, (height, width, channels)).cumsum(0).cumsum(1)
    samples = smooth % (1 << depth)
    data = encode(samples, colour, depth, (4, 3, 4, 1, 4, 2, 4, 0))
    data = data.replace(chunk(b"tEXt", b"a\0b"), b"")  # Pillow wants the pixels in one piece
    visible = samples[:, :, :-1] if colour in (4, 6) else samples
    wanted = visible / np.float32((1 << depth) - 1)
    np.testing.assert_array_equal(read_png(data), wanted.astype(np.float32))
    if depth == 8:  # Pillow makes 8 bits of most pictures of 16
        with Image.open(io.BytesIO(data)) as picture:
            pixels = np.asarray(picture).reshape(height, width, channels)
        np.testing.assert_array_equal(pixels, samples)


@pytest.mark.parametrize("shape", [(1, 3000), (3000, 1)])
def test_flat_and_narrow_pictures_go_by_lines(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(filters, "_by_diagonals")
    kinds = np.full(shape[0], 4, np.uint8)
    assert filters.unfilter(kinds, np.ones(shape, np.uint8), 1).shape == shape
