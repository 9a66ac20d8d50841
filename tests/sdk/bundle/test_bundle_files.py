"""Bundle files: written whole and deterministic; damaged or hostile ones give one line."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.manifests import LIBRARY, WEIGHTS, small_bundle, small_files, small_manifest
from millijoule.bundle import MANIFEST, SAMPLE_OUTPUTS, Bundle, write_bundle
from millijoule.errors import BundleError, UsageError

with tempfile.TemporaryDirectory() as _folder:
    GOOD = small_bundle(Path(_folder) / "good.mjb").read_bytes()


def open_bytes(data: bytes, folder: Path) -> Bundle:
    """Open ``data`` as a bundle file."""
    path = folder / "given.mjb"
    path.write_bytes(data)
    return Bundle.open(path)


def refused(data: bytes, folder: Path) -> str:
    """The one line that opening ``data`` gives."""
    with pytest.raises(BundleError) as caught:
        open_bytes(data, folder)
    message = str(caught.value)
    assert "\n" not in message
    assert "given.mjb" in message
    return message


def rezip(
    folder: Path, change: Callable[[dict[str, bytes]], None], method: int = zipfile.ZIP_STORED
) -> bytes:
    """The good bundle with changed members, zipped by the standard library."""
    with zipfile.ZipFile(io.BytesIO(GOOD)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def test_round_trip(bundle_path: Path) -> None:
    files = small_files()
    with Bundle.open(bundle_path) as bundle:
        assert bundle.names() == tuple(sorted([MANIFEST, *files]))
        for name, data in files.items():
            assert bundle.read(name) == data
        inputs, outputs = bundle.samples()
        assert inputs["x"].shape == (1, 3, 4)
        assert outputs["logits"].dtype == np.float32
        weights = bundle.mmap(WEIGHTS)
        assert not weights.flags.writeable
        assert dataclasses.replace(bundle.manifest, files={}) == small_manifest()
    assert weights[0] == 7  # arrays outlive the bundle
    with pytest.raises(UsageError, match="closed"):
        bundle.read(WEIGHTS)


def test_unknown_member_is_a_usage_error(bundle_path: Path) -> None:
    with Bundle.open(bundle_path) as bundle, pytest.raises(UsageError, match=r"weights\.bin"):
        bundle.read("program/none")


def test_equal_contents_give_equal_files(tmp_path: Path) -> None:
    first = small_bundle(tmp_path / "a.mjb").read_bytes()
    assert first == small_bundle(tmp_path / "b.mjb").read_bytes() == GOOD


def test_any_zip_tool_reads_it_and_weights_are_aligned(bundle_path: Path) -> None:
    with zipfile.ZipFile(bundle_path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == sorted(archive.namelist())
        offset = archive.getinfo(WEIGHTS).header_offset
        assert (offset + 30 + len(WEIGHTS)) % 65536 == 0
        assert archive.read(WEIGHTS) == small_files()[WEIGHTS]


def test_files_may_be_paths(tmp_path: Path) -> None:
    big = tmp_path / "weights"
    big.write_bytes(bytes(3 << 20))
    files = {**small_files(), WEIGHTS: big}
    write_bundle(tmp_path / "a.mjb", small_manifest(), files)
    with Bundle.open(tmp_path / "a.mjb") as bundle:
        assert bundle.mmap(WEIGHTS).size == 3 << 20


def test_failed_write_leaves_nothing(tmp_path: Path) -> None:
    files = {**small_files(), WEIGHTS: tmp_path / "missing"}
    with pytest.raises(UsageError, match="missing"):
        write_bundle(tmp_path / "a.mjb", small_manifest(), files)
    with pytest.raises(BundleError, match=r"x/\.\."):
        write_bundle(tmp_path / "a.mjb", small_manifest(), {**small_files(), "x/..": b""})
    broken = dataclasses.replace(small_manifest(), outputs=())
    with pytest.raises(BundleError, match="outputs"):
        write_bundle(tmp_path / "a.mjb", broken, small_files())
    with pytest.raises(UsageError, match="cannot write"):
        write_bundle(tmp_path / "none" / "a.mjb", small_manifest(), small_files())
    assert list(tmp_path.iterdir()) == []


def test_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mjb"
    path.write_bytes(b"old")
    with pytest.raises(UsageError):
        write_bundle(path, small_manifest(), {**small_files(), WEIGHTS: tmp_path / "missing"})
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.mjb"]


@pytest.mark.parametrize("text", ["no such.mjb", "a\0b"])
def test_missing_file_is_a_usage_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="cannot open"):
        Bundle.open(tmp_path / text)


def test_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="not a regular file"):
        Bundle.open(tmp_path / "pipe")


def test_folder_and_empty_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="folder"):
        Bundle.open(tmp_path)
    refused(b"", tmp_path)
    refused(b"not a zip file, but long enough for an end record", tmp_path)


NAMES = ["../evil", "/etc/passwd", "a/../../b", "C:\\x", "a\\b", ".hidden", "a//b", "a/", "é"]


@pytest.mark.parametrize("name", NAMES)
def test_bad_names_are_refused(tmp_path: Path, name: str) -> None:
    message = refused(rezip(tmp_path, lambda m: m.update({name: b"x"})), tmp_path)
    assert "relative path" in message


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicates_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(MANIFEST, b"{}")
        archive.writestr(MANIFEST, b"{}")
    assert "twice" in refused(buffer.getvalue(), tmp_path)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_compressed_members_are_refused(tmp_path: Path, method: int) -> None:
    bomb = rezip(tmp_path, lambda m: m.update({WEIGHTS: bytes(1 << 20)}), method)
    assert "stored" in refused(bomb, tmp_path)


def test_links_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("program/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    assert "regular file" in refused(buffer.getvalue(), tmp_path)


def test_encrypted_flag_is_refused(tmp_path: Path) -> None:
    data = bytearray(GOOD)
    start = data.index(b"PK\1\2")
    data[start + 8] |= 1
    assert "encrypted" in refused(bytes(data), tmp_path)


def test_overlapping_members_are_refused(tmp_path: Path) -> None:
    """The directory points two names at nested data, as overlapping zip bombs do."""
    inner = rezip(tmp_path, lambda m: None)
    name = b"outer.bin"
    # A member whose data is the whole inner archive, then a directory with both of them.
    crc = zlib.crc32(inner)
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 0, 0, 33, crc, *[len(inner)] * 2, 9, 0)
    body = local + name + inner
    with zipfile.ZipFile(io.BytesIO(inner)) as archive:
        infos = archive.infolist()
    directory = (
        struct.pack(
            "<4s6H3I5H2I",
            b"PK\1\2",
            20,
            20,
            0,
            0,
            0,
            33,
            crc,
            *[len(inner)] * 2,
            9,
            0,
            0,
            0,
            0,
            0,
            0,
        )
        + name
    )
    for info in infos:
        encoded = info.filename.encode()
        directory += struct.pack(
            "<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 0, 0, 33, info.CRC,
            *[info.file_size] * 2, len(encoded), 0, 0, 0, 0, 0,
            info.header_offset + len(local) + len(name),
        ) + encoded  # fmt: skip
    count = len(infos) + 1
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(directory), len(body), 0)
    message = refused(body + directory + end, tmp_path)
    assert "overlaps" in message


def test_unlisted_missing_and_altered_members(tmp_path: Path) -> None:
    extra = rezip(tmp_path, lambda m: m.update({"extra.txt": b"x"}))
    assert "not listed" in refused(extra, tmp_path)
    for name in (MANIFEST, LIBRARY, WEIGHTS, SAMPLE_OUTPUTS):
        lost = rezip(tmp_path, lambda m, name=name: m.pop(name))  # type: ignore[misc]
        assert name in refused(lost, tmp_path)
    longer = rezip(tmp_path, lambda m: m.update({WEIGHTS: m[WEIGHTS] + b"x"}))
    assert "bytes" in refused(longer, tmp_path)
    altered = rezip(tmp_path, lambda m: m.update({WEIGHTS: m[WEIGHTS][:-1] + b"x"}))
    assert "sha256" in refused(altered, tmp_path)


def test_member_that_the_manifest_does_not_list_although_required(tmp_path: Path) -> None:
    def change(members: dict[str, bytes]) -> None:
        manifest = json.loads(members[MANIFEST])
        del manifest["files"][WEIGHTS]
        members[MANIFEST] = json.dumps(manifest).encode()

    assert "not listed" in refused(rezip(tmp_path, change), tmp_path)


def test_unknown_schema_and_oversized_manifest(tmp_path: Path) -> None:
    newer = rezip(tmp_path, lambda m: m.update({MANIFEST: b'{"format":"millijoule-bundle"}'}))
    assert "schema" in refused(newer, tmp_path)
    huge = rezip(tmp_path, lambda m: m.update({MANIFEST: b" " * (33 << 20)}))
    assert "at most" in refused(huge, tmp_path)


def test_broken_samples_are_a_bundle_error(tmp_path: Path) -> None:
    files = {**small_files(), SAMPLE_OUTPUTS: b"not an npz"}
    write_bundle(tmp_path / "a.mjb", small_manifest(), files)
    with Bundle.open(tmp_path / "a.mjb") as bundle, pytest.raises(BundleError, match="outputs"):
        bundle.samples()


def opens_or_says_why(data: bytes) -> None:
    """Open ``data`` and use it; only a one-line BundleError may come out."""
    message = ""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with open_bytes(data, Path(folder)) as bundle:
                bundle.samples()
                for name in bundle.names():
                    bundle.read(name)
        except BundleError as error:
            message = str(error)
    assert "\n" not in message


@given(st.integers(0, len(GOOD) - 1))
def test_truncated_file_is_refused(length: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        refused(GOOD[:length], Path(folder))


MARKS = [position for position in range(len(GOOD)) if GOOD[position] != 0]


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(st.sampled_from(MARKS) | st.integers(0, len(GOOD) - 1), st.integers(0, 7)),
        min_size=1,
        max_size=4,
    )
)
def test_flipped_bits_open_or_say_why(flips: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for position, bit in flips:
        data[position] ^= 1 << bit
    opens_or_says_why(bytes(data))


@given(st.integers(0, len(GOOD)), st.binary(min_size=1, max_size=64))
def test_inserted_bytes_open_or_say_why(position: int, extra: bytes) -> None:
    opens_or_says_why(GOOD[:position] + extra + GOOD[position:])


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        refused(data, Path(folder))
