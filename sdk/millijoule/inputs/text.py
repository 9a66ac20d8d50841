"""Text files of numbers: one row a line, separated by blanks or commas; ``#`` starts a comment."""

from __future__ import annotations

import numpy as np

__all__ = ["read_numbers"]


def read_numbers(data: bytes, dtype: str) -> np.ndarray:
    """The rows of ``data`` as a 2-D array: int64 if ``dtype`` is an integer type, else float64.

    Raises:
        ValueError: not a number, rows of different lengths, or none; the message names the line.
    """
    parse = float if np.dtype(dtype).kind == "f" else int
    rows: list[list[float]] = []
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("not a text file (it is not UTF-8)") from None
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].replace(",", " ").split()
        if not words:
            continue
        try:
            rows.append([parse(word) for word in words])
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        if len(rows[-1]) != len(rows[0]):
            raise ValueError(
                f"line {number} has {len(rows[-1])} numbers, the lines before it {len(rows[0])}"
            )
    if not rows:
        raise ValueError("no numbers in it")
    try:
        return np.array(rows, np.float64 if parse is float else np.int64)
    except OverflowError:
        raise ValueError("an integer does not fit 64 bits") from None
