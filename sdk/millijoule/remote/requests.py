"""What is asked of a runner inside an emulator, and its answers: the frames of runner/runner.c."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ..bundle import KernelOutput, Manifest, TensorSpec
from ..errors import DeviceError
from ..executors.base import failure
from .channel import Channel, Frame

__all__ = ["COUNT_KERNELS", "PAINT_STACK", "Requests"]

_HELLO, _RUN, _RESET, _THREADS, _SIZE = 1, 2, 3, 4, 6
_SIZES, _TAP, _RESULT, _FAILED = 101, 102, 103, 104
COUNT_KERNELS, PAINT_STACK = 1, 2
_USED = struct.Struct("<2I")


class Requests:
    """Requests over ``channel`` to the program that ``manifest`` describes.

    Every answer is checked; one that makes no sense closes the channel.

    Raises (all methods):
        DeviceError: the program failed, or the runner ended or sent a malformed answer.
    """

    def __init__(self, channel: Channel, manifest: Manifest) -> None:
        self._channel, self._manifest = channel, manifest

    def hello(self) -> bytes:
        """What the program says of itself; see `greeting`."""
        self._channel.request(_HELLO)
        return self._final(self._channel.frames(_TAP), _SIZES, "cannot start the program")

    def reset(self) -> None:
        """Put every state back to its initial value."""
        self._simple(_RESET, 0, "cannot reset the program")

    def set_threads(self, threads: int) -> None:
        """Use ``threads`` threads."""
        self._simple(_THREADS, threads, f"cannot use {threads} threads")

    def set_size(self, index: int, name: str, size: int) -> None:
        """Dimension ``index``, called ``name``, has ``size`` in the next runs."""
        what = f"cannot set the size of {name} to {size}"
        self._simple(_SIZE, index, what, struct.pack("<q", size))

    def run(
        self,
        inputs: Sequence[np.ndarray],
        outputs: Sequence[tuple[TensorSpec, np.ndarray]],
        taps: Mapping[str, tuple[int, KernelOutput]],
        flags: int,
    ) -> tuple[dict[str, np.ndarray], int]:
        """Values of ``taps`` (by name: kernel and output) and bytes of stack used.

        The arrays of ``outputs`` are filled. ``flags``: `COUNT_KERNELS`, `PAINT_STACK`.
        """
        table = np.array(
            [(index, tap.offset, tap.nbytes) for index, tap in taps.values()], "<u4"
        ).tobytes()
        count = struct.pack("<I", len(taps))
        payload = [count, table, *(np.ascontiguousarray(array).tobytes() for array in inputs)]
        self._channel.request(_RUN, flags, payload)
        values, last = self._tapped([(name, tap) for name, (_, tap) in taps.items()])
        answer = self._final(last, _RESULT, "the program failed")
        if len(answer) != _USED.size + sum(spec.nbytes for spec, _ in outputs):
            raise self._malformed()
        start = _USED.size
        for spec, output in outputs:
            raw = np.frombuffer(answer, spec.dtype, output.size, start)
            output[...] = raw.reshape(output.shape)
            start += spec.nbytes
        return values, int(_USED.unpack_from(answer)[0])

    def _tapped(
        self, taps: Sequence[tuple[str, KernelOutput]]
    ) -> tuple[dict[str, np.ndarray], list[Frame]]:
        """Values of ``taps`` out of the answer to a run, and the frames that hold none."""
        values: dict[str, np.ndarray] = {}
        others = []
        for frame in self._channel.frames(_TAP):
            kind, argument, data = frame
            if kind != _TAP:
                others.append(frame)
            elif argument < len(taps) and len(data) == taps[argument][1].nbytes:
                name, tap = taps[argument]
                values[name] = np.frombuffer(data, tap.dtype).reshape(tap.shape).copy()
            else:
                raise self._malformed()
        return values, others

    def _simple(self, kind: int, argument: int, what: str, payload: bytes = b"") -> None:
        self._channel.request(kind, argument, [payload] if payload else [])
        self._final(self._channel.frames(_TAP), _RESULT, what)

    def _final(self, frames: Iterable[Frame], kind: int, what: str) -> bytes:
        """Payload of the one frame in ``frames``, which must be of ``kind``."""
        [(found, _, payload)] = frames
        if found == kind:
            return payload
        if found != _FAILED or len(payload) < 4:
            raise self._malformed()
        reason = payload[4:].decode("ascii", "replace")
        kernel = struct.unpack_from("<i", payload)[0]
        raise DeviceError(failure(self._manifest, what, reason, kernel))

    def _malformed(self) -> DeviceError:
        self._channel.close()
        return DeviceError("[device] the runner sent a malformed answer; please report this")
