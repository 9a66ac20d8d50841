"""Filters of PNG's scan lines (ISO/IEC 15948, 9.2) taken off.

A filter predicts each byte from those of the pixels to the left (a), above (b) and above left (c).
Average and Paeth need all three *after* unfiltering, so that neither a line nor a column can be
calculated at once. A diagonal can: pixel (y, x) at step t = y + x needs a and b of step t - 1 and c
of step t - 2. Blocks of lines are therefore laid out by steps, and NumPy calculates one step at a
time, every line of the block in it. "None", "sub" and "up" are Paeth with some of a, b, c taken as
zero, so that lines of all filters go through the same arithmetic.

Where pictures are too narrow or too flat for that to pay, lines are calculated byte by byte.
"""

from __future__ import annotations

import numpy as np

__all__ = ["BLOCK", "unfilter"]

#: Lines per block: long steps for NumPy that still stay in the cache.
BLOCK = 1024
# fewer bytes than this per step are as fast one by one
_SHORT = 48
_NONE, _SUB, _UP, _AVERAGE, _PAETH = range(5)


def unfilter(kinds: np.ndarray, lines: np.ndarray, step: int) -> np.ndarray:
    """Bytes of scan lines without their filters.

    Args:
        kinds: uint8 [height], the filter of each line.
        lines: uint8 [height, row_bytes], filtered.
        step: bytes per pixel, at least 1; divides ``row_bytes``.

    Returns uint8 [height, row_bytes]. Raises ValueError for a filter that does not exist.
    """
    if kinds.max() > _PAETH:
        index = int((kinds > _PAETH).argmax())
        raise ValueError(f"damaged: scan line {index} has filter {kinds[index]}")
    height, size = lines.shape
    width = size // step
    result = np.zeros((height + 1, size), np.uint8)  # what is above the first line is zero
    for start in range(0, height, BLOCK):
        stop = min(start + BLOCK, height)
        block, rows = result[start : stop + 1], stop - start
        forms = kinds[start:stop], lines[start:stop], step, block
        recursive = int((kinds[start:stop] >= _AVERAGE).sum())
        if recursive * 8 > rows and rows * size > _SHORT * (width + rows):
            _by_diagonals(*forms)
        else:
            _by_lines(*forms)
    return result[1:]


def _by_lines(kinds: np.ndarray, lines: np.ndarray, step: int, result: np.ndarray) -> None:
    """One line after the other into ``result`` [1 + rows, row_bytes], below its first."""
    for index, (kind, line) in enumerate(zip(kinds.tolist(), lines, strict=True)):
        above = result[index]
        if kind == _UP:
            line = line + above
        elif kind == _SUB:
            line = np.cumsum(line.reshape(-1, step), axis=0, dtype=np.uint8).reshape(-1)
        elif kind != _NONE:
            predict = _average if kind == _AVERAGE else _paeth
            line = np.frombuffer(predict(line.tobytes(), above.tobytes(), step), np.uint8)
        result[index + 1] = line


def _average(line: bytes, above: bytes, step: int) -> bytearray:
    """Filter 3: predicted by ⌊(a + b) / 2⌋."""
    result = bytearray(line)
    for i, b in enumerate(above):
        a = result[i - step] if i >= step else 0
        result[i] = (line[i] + ((a + b) >> 1)) & 255
    return result


def _paeth(line: bytes, above: bytes, step: int) -> bytearray:
    """Filter 4: predicted by whichever of a, b, c is nearest to a + b − c; ties in that order."""
    result = bytearray(line)
    for i in range(min(step, len(line))):
        result[i] = (line[i] + above[i]) & 255
    for i in range(step, len(line)):
        a, b, c = result[i - step], above[i], above[i - step]
        to_a, to_b, to_c = abs(b - c), abs(a - c), abs(a + b - c - c)
        if to_a <= to_b and to_a <= to_c:
            nearest = a
        elif to_b <= to_c:
            nearest = b
        else:
            nearest = c
        result[i] = (line[i] + nearest) & 255
    return result


def _by_diagonals(kinds: np.ndarray, lines: np.ndarray, step: int, result: np.ndarray) -> None:
    """As `_by_lines`, all lines at once.

    ``steps[t, y]`` is pixel (y, t - y); line 0 is what is above the block. Pixels left of the
    picture stay zero, as the standard wants a and c there; those right of it nobody reads.
    """
    rows, size = result.shape
    width = size // step
    steps = np.zeros((width + rows - 1, rows, step), np.uint8)
    down, right, byte = steps.strides[1] + steps.strides[0], *steps.strides[::2]
    picture = np.lib.stride_tricks.as_strided(
        steps, (rows, width, step), (down, right, byte), writeable=True
    )
    picture[0] = result[0].reshape(width, step)
    picture[1:] = lines.reshape(-1, width, step)
    _unfilter_steps(steps.reshape(len(steps), -1), kinds, step)
    result[1:] = picture[1:].reshape(-1, size)


def _unfilter_steps(steps: np.ndarray, kinds: np.ndarray, step: int) -> None:
    """Take the filters off ``steps`` [steps, (1 + rows) · step] in place."""
    of_bytes = np.repeat(kinds, step)
    use_a = _mask(of_bytes, _SUB, _AVERAGE, _PAETH)
    use_b = _mask(of_bytes, _UP, _AVERAGE, _PAETH)
    use_c = _mask(of_bytes, _PAETH)
    averaged = _mask(of_bytes, _AVERAGE)
    averages = bool(averaged.any())
    last, before = (np.zeros(steps.shape[1], np.int16) for _ in range(2))
    to_a, to_b, to_c = (np.empty(of_bytes.size, np.int16) for _ in range(3))
    for now in steps:
        a, b, c = last[step:] & use_a, last[:-step] & use_b, before[:-step] & use_c
        np.subtract(b, c, out=to_a)
        np.subtract(a, c, out=to_b)
        np.add(to_a, to_b, out=to_c)
        for distance in (to_a, to_b, to_c):
            np.abs(distance, out=distance)
        predicted = _choose(b, c, to_c - to_b)
        predicted = _choose(a, predicted, np.minimum(to_b, to_c, out=to_b) - to_a)
        if averages:
            predicted = _choose(predicted, (a + b) >> 1, averaged)
        now[step:] += predicted.astype(np.uint8)  # modulo 256
        before, last = last, before
        last[:] = now


def _mask(of_bytes: np.ndarray, *kinds: int) -> np.ndarray:
    """int16, -1 for bytes whose filter is one of ``kinds``, else 0."""
    return -np.isin(of_bytes, kinds).astype(np.int16)


def _choose(one: np.ndarray, other: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """``other`` where ``sign`` (int16) is negative, else ``one``.

    By masks of bits, for which NumPy has vector code: `numpy.where` takes ten times as long.
    """
    return one ^ ((one ^ other) & (sign >> 15))
