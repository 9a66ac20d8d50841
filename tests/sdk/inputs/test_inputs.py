"""Input files of every kind: what they give, and one line for each malformed one."""

from __future__ import annotations

import dataclasses
import io
import os
import struct
import tempfile
import wave
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.manifests import small_manifest
from fixtures.png import encode, jpeg
from fixtures.tiny_model.build import manifest as tiny_manifest
from millijoule.bundle import Manifest, TensorSpec, npz_bytes
from millijoule.errors import UsageError
from millijoule.inputs import SUFFIXES, read_inputs
from millijoule.inputs.wav import read_wav
from millijoule.npz import read_npy, read_npz

PLAIN, STREAMING = tiny_manifest(), tiny_manifest("streaming")


def given_file(folder: Path, name: str, data: bytes, manifest: Manifest = PLAIN) -> dict:
    """What :func:`read_inputs` makes of a file."""
    path = folder / name
    path.write_bytes(data)
    return read_inputs(path, manifest)


def npy(array: np.ndarray) -> bytes:
    """The bytes of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def wav(samples: bytes, width: int = 2, channels: int = 1, rate: int = 16000) -> bytes:
    """A WAV file made by the standard library."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(width)
        out.setframerate(rate)
        out.writeframes(samples)
    return buffer.getvalue()


def riff(tag: int, bits: int, samples: bytes, extra: bytes = b"", channels: int = 1) -> bytes:
    """A WAV file made by hand."""
    layout = struct.pack("<HHIIHH", tag, channels, 8000, 0, 0, bits) + extra
    body = b"WAVEjunk" + struct.pack("<I", 3) + b"abc\0"
    body += b"fmt " + struct.pack("<I", len(layout)) + layout
    body += b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(body)) + body


def test_npz_and_npy(tmp_path: Path) -> None:
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    for array in (x, np.asfortranarray(x), x.astype(">f4")):
        buffer = io.BytesIO()
        np.savez_compressed(buffer, x=array)
        np.testing.assert_array_equal(given_file(tmp_path, "a.npz", buffer.getvalue())["x"], x)
        np.testing.assert_array_equal(given_file(tmp_path, "a.NPY", npy(array))["x"], x)


@given(
    st.sampled_from(["<f4", ">f8", "<i8", "|u1", "|b1", "<f2"]),
    st.lists(st.integers(0, 4), max_size=4),
)
def test_npz_round_trip(dtype: str, shape: list[int]) -> None:
    array = np.ones(shape, dtype)
    again = read_npz(npz_bytes({"a": array, "b:c/d": array}))
    assert list(again) == ["a", "b:c/d"]
    for value in again.values():
        assert value.shape == tuple(shape)
        assert value.dtype == array.dtype.newbyteorder("=")


def test_text(tmp_path: Path) -> None:
    text = b"# two rows\n1 2,3,4\n\n5 6 7 -8e0 # the last\n"
    x = given_file(tmp_path, "a.txt", text)["x"]
    np.testing.assert_array_equal(x, [[1, 2, 3, 4], [5, 6, 7, -8]])
    assert given_file(tmp_path, "a.txt", text, STREAMING)["x"].shape == (1, 2, 4)


def test_text_for_integers(tmp_path: Path) -> None:
    manifest = dataclasses.replace(PLAIN, inputs=(TensorSpec("ids", (1, 3), "int32"),))
    x = given_file(tmp_path, "a.txt", b"1 2 3", manifest)["ids"]
    assert x.dtype == np.int64
    with pytest.raises(UsageError, match=r"line 1: .*1\.5"):
        given_file(tmp_path, "a.txt", b"1 1.5 3", manifest)
    with pytest.raises(UsageError, match="64 bits"):
        given_file(tmp_path, "a.txt", b"1 2 99999999999999999999", manifest)


def test_raw_values(tmp_path: Path) -> None:
    x = np.arange(12, dtype="<f4")
    assert given_file(tmp_path, "a.bin", x.tobytes())["x"].shape == (3, 4)
    assert given_file(tmp_path, "a.bin", x.tobytes(), STREAMING)["x"].shape == (1, 3, 4)
    fixed = dataclasses.replace(PLAIN, inputs=(TensorSpec("x", (3, 4), "float32", None),))
    np.testing.assert_array_equal(
        given_file(tmp_path, "a.bin", x.tobytes(), fixed)["x"], x.reshape(3, 4)
    )
    with pytest.raises(UsageError, match=r"24 values .*must be 12"):
        given_file(tmp_path, "a.bin", x.tobytes() * 2, fixed)


def test_several_inputs_need_npz(tmp_path: Path) -> None:
    x = TensorSpec("a", (1, 1), "float32")
    manifest = dataclasses.replace(PLAIN, inputs=(x, dataclasses.replace(x, name="b")))
    for name, data in (("a.npy", npy(np.ones((1, 1)))), ("a.bin", bytes(4)), ("a.txt", b"1")):
        with pytest.raises(UsageError, match=r"2 inputs \(a, b\); give them as an \.npz"):
            given_file(tmp_path, name, data, manifest)


PCM = [
    (wav(b"\x00\x80\xff", 1), [-1, 0, 127 / 128]),
    (wav(struct.pack("<3h", -32768, 0, 16384)), [-1, 0, 0.5]),
    (wav(b"\x00\x00\x80\x00\x00\x40", 3), [-1, 0.5]),
    (wav(struct.pack("<2i", -(2**31), 2**30), 4), [-1, 0.5]),
    (wav(struct.pack("<4h", 16384, 0, -16384, 16384), channels=2), [0.25, 0]),
    (riff(3, 32, struct.pack("<2f", -0.5, 0.25)), [-0.5, 0.25]),
    (riff(3, 64, struct.pack("<2d", -0.5, 0.25)), [-0.5, 0.25]),
    (riff(0xFFFE, 16, struct.pack("<h", 8192), bytes(8) + b"\x01" + bytes(15)), [0.25]),
]


@pytest.mark.parametrize(("data", "expected"), PCM)
def test_wav_codings(data: bytes, expected: list[float]) -> None:
    waveform, rate = read_wav(data)
    assert waveform.dtype == np.float32
    assert rate in (8000, 16000)
    np.testing.assert_allclose(waveform, expected)


def test_wav_of_unknown_length() -> None:
    data = wav(struct.pack("<2h", 1, 2))
    position = data.index(b"data") + 4
    open_ended = data[:position] + b"\xff" * 4 + data[position + 4 :]
    assert read_wav(open_ended)[0].size == 2


def test_sound_goes_through_the_front_end(tmp_path: Path) -> None:
    bins = {"kind": "log-mel", "n_mels": 4, "seq_len": 7}
    model = dataclasses.replace(small_manifest().model, frontend=bins)
    manifest = dataclasses.replace(small_manifest(), model=model)
    tone = (8000 * np.sin(np.arange(8000) / 5)).astype("<i2").tobytes()
    x = given_file(tmp_path, "a.wav", wav(tone, rate=8000), manifest)["x"]
    assert x.shape == (1, 7, 4)
    assert np.isfinite(x).all()
    with pytest.raises(UsageError, match="no front end"):
        given_file(tmp_path, "a.wav", wav(tone))


def test_an_image_goes_through_the_front_end(tmp_path: Path) -> None:
    entry = {"kind": "image", "height": 6, "width": 5, "channels": 1, "mean": [0], "std": [1]}
    model = dataclasses.replace(small_manifest().model, frontend=entry)
    manifest = dataclasses.replace(small_manifest(), model=model)
    image = encode(np.full((9, 9, 3), 51), 2, 8)
    for name in ("a.png", "a.PNG", "a.jpg"):  # what is in it decides
        x = given_file(tmp_path, name, image, manifest)["x"]
        np.testing.assert_allclose(x, np.full((1, 1, 6, 5), 0.2), rtol=1e-5)
    with pytest.raises(UsageError, match="has no front end for images; give its pixels"):
        given_file(tmp_path, "a.png", image)
    with pytest.raises(UsageError, match="no front end for sound, but one of kind 'image'"):
        given_file(tmp_path, "a.wav", wav(b"\0\0"), manifest)
    with pytest.raises(UsageError, match=r"a\.png: neither a PNG nor a JPEG"):
        given_file(tmp_path, "a.png", b"hello", manifest)


MALFORMED = [
    ("a.npz", b""),
    ("a.npz", b"PK nonsense"),
    ("a.npy", b""),
    ("a.npy", b"\x93NUMPY\x01\x00"),
    ("a.npy", b"\x93NUMPY\x03\x00\xff\xff\xff\xff{}"),
    ("a.npy", npy(np.ones(4))[:-1]),
    ("a.npy", npy(np.ones(4)) + b"x"),
    ("a.npy", npy(np.ones(4)).replace(b"(4,)", b"(9,)")),
    ("a.npy", npy(np.ones(4)).replace(b"'<f8'", b"'|O8'")),
    ("a.npy", npy(np.ones(4)).replace(b"'<f8'", b"'<f7'")),
    ("a.npy", npy(np.ones(4)).replace(b"(4,),", b"(x,),")),
    ("a.npy", npy(np.ones(4)).replace(b"(4,),", b"(,4),")),
    ("a.npy", npy(np.zeros(2, [("a", "f4")]))),
    ("a.txt", b""),
    ("a.txt", b"# nothing\n\n"),
    ("a.txt", b"1 2 3\n"),
    ("a.txt", b"1 2 3 4\n1 2\n"),
    ("a.txt", b"1 2 three 4\n"),
    ("a.txt", b"\xff\xfe1 2"),
    ("a.bin", b""),
    ("a.bin", b"123"),
    ("a.bin", bytes(12)),
    ("a.wav", b""),
    ("a.wav", b"RIFF\0\0\0\0WAVE"),
    ("a.wav", wav(bytes(8))[:-1]),
    ("a.wav", wav(bytes(8))[:40]),
    ("a.wav", wav(b"")),
    ("a.wav", riff(2, 4, bytes(8))),
    ("a.wav", riff(1, 12, bytes(12))),
    ("a.wav", riff(1, 16, bytes(3))),
    ("a.wav", riff(1, 16, bytes(4), channels=0)),
    ("a.wav", b"RIFF\0\0\0\0WAVEdata\2\0\0\0ab"),
    ("a.wav", b"RIFF\0\0\0\0WAVEfmt \2\0\0\0ab"),
    ("a.jpg", b""),
    ("a", b""),
]


@pytest.mark.parametrize(("name", "data"), MALFORMED)
def test_malformed_file_gives_one_line(tmp_path: Path, name: str, data: bytes) -> None:
    model = dataclasses.replace(PLAIN.model, frontend={"kind": "log-mel", "n_mels": 4})
    with pytest.raises(UsageError) as caught:
        given_file(tmp_path, name, data, dataclasses.replace(PLAIN, model=model))
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["missing.npz", "a\0b.npy", "folder.bin", "pipe.txt"])
def test_unreadable_path(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.bin").mkdir()
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(UsageError, match="cannot open"):
        read_inputs(tmp_path / name, PLAIN)


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, x=np.array([{}], object))
    with pytest.raises(UsageError, match="'x'"):
        given_file(tmp_path, "a.npz", buffer.getvalue())


def test_zip_bombs_are_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", bytes(1 << 22))
    with pytest.raises(ValueError, match="limit"):
        read_npz(buffer.getvalue(), limit=1 << 20)


def test_npz_members_must_be_arrays_and_differ() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", b"hello")
    with pytest.raises(ValueError, match=r"readme\.txt"):
        read_npz(buffer.getvalue())


GOOD = {
    ".npz": npz_bytes({"x": np.ones((2, 4), np.float32)}),
    ".npy": npy(np.ones((2, 4), np.float32)),
    ".wav": riff(1, 16, bytes(range(200))),
    ".bin": np.ones((2, 4), np.float32).tobytes(),
    ".txt": b"1 2 3 4\n5 6 7 8\n",
    ".png": encode(np.arange(48).reshape(4, 4, 3), 2, 8, (0, 1, 2, 3, 4)),
    ".jpg": jpeg(),
    ".jpeg": jpeg(),
}
FRONTENDS: dict[str, dict[str, Any]] = {
    ".wav": {"kind": "log-mel", "n_mels": 4},
    "image": {"kind": "image", "height": 3, "width": 3},
}


def test_every_suffix_is_fuzzed() -> None:
    assert set(GOOD) == set(SUFFIXES)


@given(st.data())
def test_damaged_file_reads_or_gives_one_line(data: st.DataObject) -> None:
    suffix = data.draw(st.sampled_from(SUFFIXES))
    content = bytearray(GOOD[suffix])
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(content)))
    model = dataclasses.replace(PLAIN.model, frontend=FRONTENDS.get(suffix, FRONTENDS["image"]))
    manifest = dataclasses.replace(PLAIN, model=model)
    message = ""
    with tempfile.TemporaryDirectory() as folder:
        try:
            given_file(Path(folder), f"a{suffix}", bytes(content[:end]), manifest)
        except UsageError as error:
            message = str(error)
    assert "\n" not in message


@given(st.binary(max_size=300))
def test_arbitrary_bytes_after_the_npy_magic(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\.npy|bytes"):
        read_npy(b"\x93NUMPY" + data)
