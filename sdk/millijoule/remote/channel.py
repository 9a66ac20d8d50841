"""The wire to a runner: two pipes, frames with checked lengths, and a process that always ends.

The runner opens the pipes ``in`` and ``out`` in its working directory. This side keeps both open
for reading and writing, so neither end waits for the other to open; whether the runner still lives
is asked of the process. See ``runner/runner.c`` for the frames.
"""

from __future__ import annotations

import os
import select
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ..errors import DeviceError, UsageError

__all__ = ["Channel", "Frame", "timeout_from"]

MAGIC = 0x4D4A5231
HEADER = struct.Struct("<4I")
MAX_PAYLOAD = 1 << 31
SLICE_S = 0.2  # how long to wait for a pipe before looking whether the runner lives
MAX_MESSAGE = 300

#: Environment variable: seconds that an emulated device may take for one answer.
TIMEOUT_VARIABLE = "MJ_DEVICE_TIMEOUT"
TIMEOUT_S = 300.0

#: Kind, argument, payload.
Frame = tuple[int, int, bytes]


def timeout_from(environ: Mapping[str, str]) -> float:
    """Seconds to wait for one answer.

    Raises:
        UsageError: ``MJ_DEVICE_TIMEOUT`` is no positive number.
    """
    text = environ.get(TIMEOUT_VARIABLE, "")
    try:
        seconds = float(text) if text else TIMEOUT_S
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise UsageError(f"{TIMEOUT_VARIABLE} must be a number of seconds, but is {text!r}")
    return seconds


class Channel:
    """A running runner and the wire to it.

    Args:
        name: of the device, for messages.
        command: what to start, in ``folder``.
        folder: where the pipes are made and the log is kept.
        timeout: seconds until an answer must have come.

    Raises:
        DeviceError: the command cannot be started.
    """

    def __init__(self, name: str, command: Sequence[str], folder: Path, timeout: float) -> None:
        self._name, self._timeout = name, timeout
        self._log = folder / "log"
        self._ends: list[int] = []
        for end in ("in", "out"):
            os.mkfifo(folder / end)
            self._ends.append(os.open(folder / end, os.O_RDWR | os.O_NONBLOCK))
        self._input, self._output = self._ends
        try:
            with open(self._log, "wb") as log:
                self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
                    list(command),
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
        except OSError as error:
            self._process = None
            self.close()
            raise DeviceError(
                f"[device] {name}: cannot start {command[0]}: {error.strerror}; run `mj doctor`"
            ) from error

    def request(
        self, kind: int, argument: int = 0, parts: Sequence[bytes | memoryview] = ()
    ) -> None:
        """Send one frame whose payload is ``parts`` one after the other.

        Raises:
            DeviceError: the runner has ended, or does not read.
        """
        size = sum(len(part) for part in parts)
        self._write(HEADER.pack(MAGIC, kind, argument, size))
        for part in parts:
            self._write(part)

    def frames(self, more: int) -> Iterator[Frame]:
        """Frames of kind ``more``, and the first frame of another kind, which is the last.

        Raises:
            DeviceError: the runner has ended, sent nonsense, or took too long.
        """
        while True:
            magic, kind, argument, size = HEADER.unpack(self._read(HEADER.size))
            if magic != MAGIC or size > MAX_PAYLOAD:
                raise self._error("sent a malformed answer")
            yield kind, argument, self._read(size)
            if kind != more:
                return

    def close(self) -> None:
        """Kill the runner, wait for its end, close the pipes; may be called again."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
        while self._ends:
            os.close(self._ends.pop())

    def _write(self, data: bytes | memoryview) -> None:
        view, end = memoryview(data), self._deadline()
        while view:
            self._wait(end, writing=True)
            try:
                view = view[os.write(self._input, view) :]
            except BlockingIOError:  # less room than the pipe said
                continue

    def _read(self, size: int) -> bytes:
        data, end = bytearray(), self._deadline()
        while len(data) < size:
            self._wait(end, writing=False)
            try:
                data += os.read(self._output, size - len(data))
            except BlockingIOError:
                continue
        return bytes(data)

    def _deadline(self) -> float:
        return time.monotonic() + self._timeout

    def _wait(self, end: float, writing: bool) -> None:
        """Until the pipe is ready. What a runner wrote before it ended is still read."""
        if self._process is None:
            raise UsageError("the program is closed; load the bundle again")
        while True:
            ended = self._process.poll() is not None
            reading = [] if writing else [self._output]
            waiting = [self._input] if writing else []
            ready = select.select(reading, waiting, [], 0 if ended else SLICE_S)
            if ended and (writing or not ready[0]):
                raise self._error(f"ended with exit code {self._process.returncode}")
            if ready[0] or ready[1]:
                return
            if time.monotonic() > end:
                raise self._error(
                    f"gave no answer within {self._timeout:g} s; set {TIMEOUT_VARIABLE} to more"
                    " seconds if the model is large"
                )

    def _error(self, what: str) -> DeviceError:
        """``what`` with the emulator's own words."""
        said = _telling(self._log.read_text(errors="replace"))
        self.close()
        return DeviceError(f"[device] {self._name} {what}" + (f": {said}" if said else ""))


def _telling(log: str) -> str:
    """The line of an emulator's output that says most."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    words = ("fault", "qemu", "error", "mj_count")
    telling = (line for line in lines if any(word in line for word in words))
    return next(telling, lines[-1] if lines else "")[:MAX_MESSAGE]
