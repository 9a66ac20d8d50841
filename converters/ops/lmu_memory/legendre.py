"""State-space matrices of the Legendre delay (Voelker et al. 2019, eq. 4-6), discretised."""

from __future__ import annotations

import numpy as np
import torch


def legendre_delay(order: int, theta: float) -> tuple[np.ndarray, np.ndarray]:
    """Zero-order hold (dt = 1) of the delay of ``theta`` steps: A [order, order], B [order].

    In float64: R_i = (2i+1)/θ;  A_ij = R_i·(−1 if i<j else (−1)^(i−j+1));  B_i = R_i·(−1)^i.
    """
    i = np.arange(order)
    rate = (2 * i + 1) / theta
    row, column = np.meshgrid(i, i, indexing="ij")
    a = rate[:, None] * np.where(row < column, -1.0, (-1.0) ** (row - column + 1))
    b = rate * (-1.0) ** i
    # exp([[A, B], [0, 0]]) = [[Ad, Bd], [0, 1]]
    block = np.zeros((order + 1, order + 1))
    block[:order, :order], block[:order, order] = a, b
    held = torch.linalg.matrix_exp(torch.from_numpy(block)).numpy()
    return held[:order, :order], held[:order, order]


def impulse_response(a: np.ndarray, b: np.ndarray, length: int) -> np.ndarray:
    """H [length, order] with H[k] = A^k B, in the arrays' float type."""
    rows = [b]
    for _ in range(length - 1):
        rows.append(a @ rows[-1])
    return np.stack(rows)
