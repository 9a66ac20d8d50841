"""Row-major buffers addressed by one number, and the epilogue behind a convolution's results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from millijoule.targets.kernels import simd
from millijoule.targets.kernels.epilogue import Step, apply


class Flat:
    """A buffer of any rank as one row of elements."""

    def __init__(self, buffer: Any) -> None:
        self._buffer = buffer
        self._zeros = [0] * (len(buffer.shape) - 1)

    def load(self, start: Any, lanes: int) -> Any:
        """``lanes`` elements from ``start``."""
        if not self._buffer.shape:
            return self._buffer[()]
        return simd.load(self._buffer, self._zeros, start, lanes)

    def save(self, start: Any, lanes: int, value: Any) -> None:
        """Store ``lanes`` elements from ``start``."""
        simd.save(self._buffer, self._zeros, start, lanes, value)

    def prefetch(self, start: Any) -> None:
        """Ask for the cache line of element ``start``; outside of the buffer it does no harm."""
        simd.prefetch(self._buffer, [*self._zeros, start])


class PixelWriter:
    """Applies the epilogue to channels of one pixel and stores them."""

    def __init__(self, y: Any, operands: Sequence[Any], steps: Sequence[Step], outputs: int):
        self._y, self._operands = Flat(y), [Flat(o) for o in operands]
        self._steps, self._outputs = steps, outputs

    def write(self, pixel: Any, channel: Any, lanes: int, value: Any) -> None:
        """Finish ``lanes`` results from ``channel`` of ``pixel``, counted over the batch."""
        where = pixel * self._outputs + channel

        def operand(step: Step) -> Any:
            assert step.operand is not None
            source = self._operands[step.operand]
            if step.spread == "full":
                return source.load(where, lanes)
            if step.spread == "column":
                return source.load(channel, lanes)
            return simd.splat(source.load(0, 1), lanes)

        self._y.save(where, lanes, apply(self._steps, value, lanes, operand))
