"""Reading input files for a bundle: ``.npz``, ``.npy``, ``.wav``, images, ``.bin`` and ``.txt``.

An ``.npz`` file holds arrays by name. Every other kind holds the values of one input: ``.npy`` an
array, ``.bin`` dense little-endian values, ``.txt`` numbers; ``.wav`` sound and ``.png`` or
``.jpg`` an image, which the front end named in the bundle's manifest turns into that input. With a
front end for text, ``.txt`` holds texts, one a line, and a text may be given in place of a file.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..bundle import Bundle, Manifest, TensorSpec
from ..errors import UsageError
from ..files import require_regular
from ..npz import MAX_BYTES, read_npy, read_npz
from ..tensors import run_inputs
from .text import read_numbers
from .wav import read_wav

__all__ = ["SUFFIXES", "inputs_for", "read_inputs", "read_texts"]


def inputs_for(given: str, bundle: Bundle) -> dict[str, np.ndarray]:
    """Inputs for ``Session.run`` from a file, or for a bundle with a text front end from a text.

    Raises:
        UsageError: as `read_inputs` does.
    """
    path = Path(given)
    if not _takes_text(bundle.manifest):
        return read_inputs(path, bundle.manifest)
    if path.suffix.lower() not in SUFFIXES:
        return read_texts([given], bundle)
    if path.suffix.lower() != ".txt":
        return read_inputs(path, bundle.manifest)
    try:
        text = _read_file(path).decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not a text file (it is not UTF-8)") from None
    return read_texts([line for line in text.splitlines() if line.strip()], bundle)


def read_texts(texts: Sequence[str], bundle: Bundle) -> dict[str, np.ndarray]:
    """Token ids of texts, one row each, as the inputs of a bundle with a text front end.

    Raises:
        UsageError: no text, or a bundle without such a front end.
    """
    from ..text import frontend_of  # most bundles never need it

    arrays = frontend_of(bundle)(texts)
    wanted = [spec.name for spec in bundle.manifest.inputs]
    return {name: array for name, array in arrays.items() if name in wanted}


def _takes_text(manifest: Manifest) -> bool:
    return (manifest.model.frontend or {}).get("kind") == "text"


def read_inputs(path: str | os.PathLike[str], manifest: Manifest) -> dict[str, np.ndarray]:
    """Inputs for ``Session.run`` from the file at ``path``, by its suffix; numbers, not texts.

    Shapes and values are checked when they are run.

    Raises:
        UsageError: no such file, an unknown suffix, a malformed file, or one that cannot fill the
            inputs of this bundle.
    """
    location = Path(path)
    reader = _READERS.get(location.suffix.lower())
    if reader is None:
        raise UsageError(
            f"{location}: unknown kind of input file {location.suffix!r}; use {', '.join(SUFFIXES)}"
        )
    data = _read_file(location)
    try:
        return reader(data, manifest)
    except (UsageError, ValueError) as error:
        raise UsageError(f"{location}: {error}") from error


def _read_file(path: Path) -> bytes:
    size = require_regular(path)
    if size > MAX_BYTES:
        raise UsageError(f"{path}: {size} bytes; at most {MAX_BYTES} are read")
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot open {path}: {error.strerror}") from error


def _only_input(manifest: Manifest) -> TensorSpec:
    specs = [spec for spec, _ in run_inputs(manifest)]
    if len(specs) != 1:
        names = ", ".join(spec.name for spec in specs)
        raise ValueError(f"the bundle has {len(specs)} inputs ({names}); give them as an .npz file")
    return specs[0]


def _dense(values: np.ndarray, manifest: Manifest) -> dict[str, np.ndarray]:
    """Flat values as the one input: as many rows as there are, or one sequence."""
    spec = _only_input(manifest)
    shape: list[int | None] = run_inputs(manifest)[0][1]
    if manifest.streaming is not None:
        shape[0] = 1
    unit = math.prod(size for size in shape if size is not None)
    exact = None not in shape
    if values.size == 0 or values.size % unit or (exact and values.size != unit):
        rule = f"{unit}" if exact else f"a multiple of {unit}"
        raise ValueError(
            f"{values.size} values do not fill {spec.name!r} of shape"
            f" {['any' if size is None else size for size in shape]} (must be {rule})"
        )
    return {spec.name: values.reshape([-1 if size is None else size for size in shape])}


def _read_npz(data: bytes, _: Manifest) -> dict[str, np.ndarray]:
    return read_npz(data)


def _read_npy(data: bytes, manifest: Manifest) -> dict[str, np.ndarray]:
    return {_only_input(manifest).name: read_npy(data)}


def _read_bin(data: bytes, manifest: Manifest) -> dict[str, np.ndarray]:
    dtype = np.dtype(_only_input(manifest).dtype).newbyteorder("<")
    if len(data) % dtype.itemsize:
        raise ValueError(f"{len(data)} bytes are not a number of {dtype.name} values")
    return _dense(np.frombuffer(data, dtype), manifest)


def _read_txt(data: bytes, manifest: Manifest) -> dict[str, np.ndarray]:
    return _dense(read_numbers(data, _only_input(manifest).dtype).reshape(-1), manifest)


def _frontend(manifest: Manifest, kind: str, what: str, instead: str) -> dict[str, Any]:
    """The front end of the bundle, if it is of this kind."""
    name, found = manifest.model.name, manifest.model.frontend
    if found is None:
        raise ValueError(f"{name} has no front end for {what}; give its {instead} as an .npz file")
    if found["kind"] != kind:
        raise ValueError(f"{name} has no front end for {what}, but one of kind {found['kind']!r}")
    return found


def _read_wav(data: bytes, manifest: Manifest) -> dict[str, np.ndarray]:
    spec = _only_input(manifest)
    entry = _frontend(manifest, "log-mel", "sound", "features")
    from ..audio import frontend_from_manifest  # most bundles never need it

    waveform, rate = read_wav(data)
    features = frontend_from_manifest(entry)(waveform, rate)
    return {spec.name: features[np.newaxis]}


def _read_image(data: bytes, manifest: Manifest) -> dict[str, np.ndarray]:
    spec = _only_input(manifest)
    entry = _frontend(manifest, "image", "images", "pixels")
    from ..image import decode, image_frontend  # most bundles never need it

    return {spec.name: image_frontend(entry)(decode(data))[np.newaxis]}


_READERS: dict[str, Callable[[bytes, Manifest], dict[str, np.ndarray]]] = {
    ".npz": _read_npz,
    ".npy": _read_npy,
    ".wav": _read_wav,
    ".png": _read_image,
    ".jpg": _read_image,
    ".jpeg": _read_image,
    ".bin": _read_bin,
    ".txt": _read_txt,
}

#: Suffixes of the files that :func:`read_inputs` takes.
SUFFIXES = tuple(_READERS)
