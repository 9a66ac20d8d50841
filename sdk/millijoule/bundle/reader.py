"""Opening bundles that nobody vouches for.

Opening maps the file, reads its directory, and checks every member against the sizes and checksums
in the manifest. Nothing is extracted, no name in the archive becomes a path, and nothing is
allocated by a size that was not compared with the size of the file. The checksums guard against
damage, not against malice: whoever writes a bundle chooses the machine code in it.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import zlib
from pathlib import Path

import numpy as np

from ..errors import BundleError, UsageError
from ..files import require_regular
from ..npz import read_npz
from .archive import MAX_ARCHIVE, Member, read_directory
from .fields import parse_json
from .manifest import Manifest

__all__ = ["MANIFEST", "SAMPLE_INPUTS", "SAMPLE_OUTPUTS", "Bundle", "sample_member"]

MANIFEST = "manifest.json"
SAMPLE_INPUTS = "samples/inputs.npz"
SAMPLE_OUTPUTS = "samples/outputs.npz"

_MAX_MANIFEST = 32 << 20


class Bundle:
    """An open bundle: a checked manifest and read access to the members.

    Arrays from :meth:`mmap` show the file itself; do not change the file while they live.
    """

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path = path
        self._data: mmap.mmap | None = data
        with memoryview(data) as view:
            self._members = read_directory(view)
            self.manifest = _read_manifest(view, self._members)
            _check_members(view, self._members, self.manifest)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Bundle:
        """Open and check the bundle at ``path``.

        Raises:
            UsageError: there is no such file, or it may not be read.
            BundleError: it is not a bundle, damaged, or of an unknown schema.
        """
        location = Path(path)
        try:
            return cls(location, _map(location))
        except BundleError as error:
            raise BundleError(f"{location}: {error}") from error

    def __enter__(self) -> Bundle:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def names(self) -> tuple[str, ...]:
        """Names of all members, sorted."""
        return tuple(sorted(self._members))

    def mmap(self, name: str) -> np.ndarray:
        """The bytes of member ``name`` as a read-only uint8 array over the file; no copy.

        Raises:
            UsageError: no such member, or the bundle is closed.
        """
        if self._data is None:
            raise UsageError(f"{self.path}: the bundle is closed")
        member = self._members.get(name)
        if member is None:
            raise UsageError(f"{self.path}: no member {name!r}; it has {', '.join(self.names())}")
        return np.frombuffer(self._data, np.uint8, member.bytes, member.offset)

    def read(self, name: str) -> bytes:
        """A copy of the bytes of member ``name``; raises as :meth:`mmap` does."""
        return self.mmap(name).tobytes()

    def samples(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Sample inputs and the outputs expected for them, by name.

        Raises:
            BundleError: a samples member is not a readable ``.npz`` file.
        """
        return self._arrays(SAMPLE_INPUTS), self._arrays(SAMPLE_OUTPUTS)

    def all_samples(self) -> list[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]:
        """`samples`, and those of other sizes that a program whose sizes vary comes with.

        Raises:
            BundleError: a samples member is not a readable ``.npz`` file.
        """
        found, number = [self.samples()], 1
        while (name := sample_member(SAMPLE_INPUTS, number)) in self._members:
            outputs = sample_member(SAMPLE_OUTPUTS, number)
            if outputs not in self._members:
                raise BundleError(f"{self.path}: member {outputs!r} is missing")
            found.append((self._arrays(name), self._arrays(outputs)))
            number += 1
        return found

    def _arrays(self, name: str) -> dict[str, np.ndarray]:
        try:
            return read_npz(self.read(name))
        except ValueError as error:
            raise BundleError(f"{self.path}: {name}: {error}") from error

    def close(self) -> None:
        """Let go of the file; the mapping lives on as long as arrays from :meth:`mmap` do."""
        self._data = None


def sample_member(name: str, number: int) -> str:
    """``samples/inputs.npz`` → ``samples/inputs-1.npz``, the name of a further sample."""
    stem, _, suffix = name.rpartition(".")
    return f"{stem}-{number}.{suffix}"


def _map(path: Path) -> mmap.mmap:
    if path.is_dir():
        raise BundleError("is a folder, not a bundle; give the path of a .mjb file")
    size = require_regular(path)
    if not 0 < size <= MAX_ARCHIVE:
        raise BundleError(f"{size} bytes cannot be a bundle (1 to {MAX_ARCHIVE} bytes)")
    try:
        with open(path, "rb") as stream:
            return mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # ValueError: the file shrank meanwhile
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot open {path}: {reason}") from error


def _read_manifest(data: memoryview, members: dict[str, Member]) -> Manifest:
    member = members.get(MANIFEST)
    if member is None:
        raise BundleError(f"has no {MANIFEST}; it is not a Millijoule bundle")
    if member.bytes > _MAX_MANIFEST:
        raise BundleError(f"{MANIFEST} has {member.bytes} bytes; at most {_MAX_MANIFEST} are read")
    text = bytes(data[member.offset : member.offset + member.bytes])
    if zlib.crc32(text) != member.crc:
        raise BundleError(f"{MANIFEST} is damaged (wrong checksum)")
    return Manifest.from_json(parse_json(text, "manifest"))


def _check_members(data: memoryview, members: dict[str, Member], manifest: Manifest) -> None:
    """The archive must hold just the files that the manifest lists, unaltered."""
    listed = {MANIFEST, *manifest.files}
    for name in (
        manifest.program.library,
        manifest.program.weights,
        SAMPLE_INPUTS,
        SAMPLE_OUTPUTS,
        *sorted(listed ^ set(members)),
    ):
        if name not in members:
            raise BundleError(f"member {name!r} is missing")
        if name not in manifest.files:
            raise BundleError(f"member {name!r} is not listed in [manifest.files]")
    for name, entry in manifest.files.items():
        member = members[name]
        if member.bytes != entry.bytes:
            raise BundleError(
                f"member {name!r} has {member.bytes} bytes, but the manifest says {entry.bytes}"
            )
        content = data[member.offset : member.offset + member.bytes]
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            raise BundleError(f"member {name!r} is damaged (its sha256 differs from the manifest)")
