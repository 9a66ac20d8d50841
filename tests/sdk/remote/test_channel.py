"""The wire to a runner, with programs at its other end that misbehave. No emulator is needed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from millijoule.errors import DeviceError, UsageError
from millijoule.remote.channel import HEADER, MAGIC, Channel, timeout_from

HEAD = f"""
import os, struct, sys, time
source, sink = open("in", "rb", buffering=0), open("out", "wb", buffering=0)
def read(n):
    data = b""
    while len(data) < n:
        data += source.read(n - len(data))
    return data
def receive():
    magic, kind, argument, size = struct.unpack("<4I", read(16))
    assert magic == {MAGIC}
    return kind, argument, read(size)
def send(kind, argument, data):
    sink.write(struct.pack("<4I", {MAGIC}, kind, argument, len(data)) + data)
"""


def start(folder: Path, body: str, timeout: float = 60.0) -> Channel:
    """A channel to a Python program."""
    return Channel("test", [sys.executable, "-c", HEAD + body], folder, timeout)


def test_frames_go_both_ways(tmp_path: Path) -> None:
    """Larger than a pipe holds, in several parts."""
    body = "kind, argument, data = receive()\nsend(7, 1, data[::-1])\nsend(8, argument, b'')"
    big = bytes(range(256)) * 1024
    channel = start(tmp_path, body)
    channel.request(3, 5, [big, b"", memoryview(b"end")])
    assert list(channel.frames(7)) == [(7, 1, (big + b"end")[::-1]), (8, 5, b"")]
    channel.close()


def test_what_was_written_before_the_end_is_read(tmp_path: Path) -> None:
    channel = start(tmp_path, "receive()\nsend(8, 0, b'last words')")
    channel.request(1)
    assert channel._process is not None
    channel._process.wait()
    assert list(channel.frames(7)) == [(8, 0, b"last words")]
    with pytest.raises(DeviceError, match=r"^\[device\] test ended with exit code 0$"):
        list(channel.frames(7))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("receive()\nsys.exit(3)", "ended with exit code 3"),
        ("receive()\nos.abort()", "ended with exit code -6"),
        (
            "receive()\nprint('x\\nqemu: bad opcode', flush=True)\nos._exit(1)",
            "1: qemu: bad opcode",
        ),
        ("receive()\nprint('the end', flush=True)\nos._exit(1)", "1: the end"),
        ("receive()\nsink.write(b'#' * 16)\ntime.sleep(60)", "malformed"),
        (f"receive()\nsink.write(struct.pack('<4I', {MAGIC}, 7, 0, 2**32 - 1))", "malformed"),
    ],
)
def test_failures_are_reported_with_the_programs_words(
    tmp_path: Path, body: str, message: str
) -> None:
    channel = start(tmp_path, body)
    channel.request(1)
    with pytest.raises(DeviceError, match=message) as raised:
        list(channel.frames(7))
    assert "\n" not in str(raised.value)
    with pytest.raises(UsageError, match="closed"):
        channel.request(1)


def test_silence_is_limited(tmp_path: Path) -> None:
    channel = start(tmp_path, "receive()\ntime.sleep(600)", timeout=0.5)
    process = channel._process
    assert isinstance(process, subprocess.Popen)
    channel.request(1)
    begun = time.monotonic()
    with pytest.raises(DeviceError, match=r"no answer within 0\.5 s; set MJ_DEVICE_TIMEOUT"):
        list(channel.frames(7))
    assert time.monotonic() - begun < 60
    assert process.poll() is not None


def test_a_program_that_does_not_read(tmp_path: Path) -> None:
    channel = start(tmp_path, "time.sleep(600)", timeout=0.5)
    with pytest.raises(DeviceError, match="no answer within"):
        channel.request(1, 0, [bytes(1 << 20)])


def test_no_such_program(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="cannot start no-such-emulator"):
        Channel("test", ["no-such-emulator"], tmp_path, 1.0)


def test_header_is_four_words() -> None:
    assert HEADER.size == 16


@pytest.mark.parametrize("text", ["0", "-1", "soon", "inf", "nan"])
def test_timeout_must_be_seconds(text: str) -> None:
    with pytest.raises(UsageError, match="MJ_DEVICE_TIMEOUT must be a number of seconds"):
        timeout_from({"MJ_DEVICE_TIMEOUT": text})


def test_timeout() -> None:
    assert timeout_from({}) == timeout_from({"MJ_DEVICE_TIMEOUT": ""}) == 300.0
    assert timeout_from({"MJ_DEVICE_TIMEOUT": "2.5"}) == 2.5
