"""Writing bundles: equal contents give equal files, and a file is complete or not there."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..errors import UsageError
from ..files import atomic_write
from .archive import Chunks, check_name, write_archive
from .fields import parse_json
from .manifest import Manifest
from .parts import FileEntry
from .reader import MANIFEST

__all__ = ["WEIGHTS_ALIGNMENT", "write_bundle"]

#: Where weights start in the file: a multiple of every page size in use, so that they can be mapped
#: on their own.
WEIGHTS_ALIGNMENT = 1 << 16

_ALIGNMENT = 64
_CHUNK = 1 << 20

Source = bytes | Path


def write_bundle(
    path: str | os.PathLike[str], manifest: Manifest, files: Mapping[str, Source]
) -> Manifest:
    """Write a bundle to ``path`` and return its manifest with ``files`` filled in.

    Args:
        path: where to write; an existing file is replaced at the very end.
        manifest: its own ``files`` is ignored.
        files: contents (bytes, or the path of a file) by member name, ``manifest.json`` left out.

    Raises:
        BundleError: the manifest breaks a rule that readers check, or a bad member name.
        UsageError: ``path`` cannot be written or a file not read.
    """
    listed = {check_name(name): _entry(source) for name, source in sorted(files.items())}
    complete = dataclasses.replace(manifest, files=listed)
    text = complete.to_bytes()
    Manifest.from_json(parse_json(text, "manifest"))  # never write what no reader accepts
    members = [(MANIFEST, _ALIGNMENT, _chunks_of(text))]
    for name in listed:
        weights = name == manifest.program.weights
        alignment = WEIGHTS_ALIGNMENT if weights else _ALIGNMENT
        members.append((name, alignment, _chunks_of(files[name])))
    with atomic_write(path) as out:
        write_archive(out, sorted(members, key=lambda member: member[0]))
    return complete


def _entry(source: Source) -> FileEntry:
    digest, size = hashlib.sha256(), 0
    for chunk in _chunks_of(source)():
        digest.update(chunk)
        size += len(chunk)
    return FileEntry(size, digest.hexdigest())


def _chunks_of(source: Source) -> Chunks:
    """A function that yields the bytes of ``source`` anew at each call."""

    def chunks() -> Iterator[bytes]:
        if isinstance(source, bytes):
            yield source
            return
        try:
            with open(source, "rb") as stream:
                while chunk := stream.read(_CHUNK):
                    yield chunk
        except OSError as error:
            raise UsageError(f"cannot read {source}: {error.strerror}") from error

    return chunks
