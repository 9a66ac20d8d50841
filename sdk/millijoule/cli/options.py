"""Options and types of values that several verbs share."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np

from ..errors import UsageError
from ..executors import LOCAL
from ..files import require_regular
from ..npz import read_npz
from ..sizes import Dim

__all__ = [
    "add_bundle",
    "add_device",
    "add_inputs",
    "add_sizes",
    "add_threads",
    "byte_count",
    "dimension",
    "npz_arrays",
    "positive",
    "size_choice",
]

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20}


def positive(text: str) -> int:
    """An integer of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be an integer of at least 1, but received {text!r}")
    return value


def byte_count(text: str) -> int:
    """A size such as ``512K``: bytes, or with K or M units of 1024 or 1024² bytes."""
    match = re.fullmatch(r"(\d{1,12})([KM]?)I?B?", text.strip().upper())
    size = int(match[1]) * _UNITS[match[2]] if match else 0
    if size < 1:
        raise argparse.ArgumentTypeError(f"must be a size such as 512K, but received {text!r}")
    return size


def dimension(text: str) -> tuple[Dim, list[tuple[str, int]]]:
    """``seq=1..512`` or ``seq=1..512@input_ids:1,mask:1``: a dimension, and (input, axis) pairs."""
    bounds, at, places = text.partition("@")
    match = re.fullmatch(r"([^=]+)=(\d{1,10})\.\.(\d{1,10})", bounds.strip())
    pairs = [p.rpartition(":") for p in places.split(",")] if at else []
    if not match or not all(name and axis.isdigit() for name, _, axis in pairs):
        raise argparse.ArgumentTypeError(
            f"must be NAME=MIN..MAX, perhaps with @INPUT:AXIS behind it, but received {text!r}"
        )
    try:
        dim = Dim(match[1].strip(), int(match[2]), int(match[3]))
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return dim, [(name.strip(), int(axis)) for name, _, axis in pairs]


def size_choice(text: str) -> tuple[str, list[int]]:
    """``seq=128`` or ``seq=16,64,128``: a dimension by name, and one or more sizes of it."""
    match = re.fullmatch(r"([^=]+)=(\d{1,10}(?:,\d{1,10})*)", text.strip())
    if not match:
        raise argparse.ArgumentTypeError(
            f"must be NAME=SIZE or NAME=SIZE,SIZE,…, but received {text!r}"
        )
    return match[1].strip(), [int(size) for size in match[2].split(",")]


def add_sizes(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Sizes of dimensions that vary."""
    parser.add_argument(
        "--size",
        type=size_choice,
        action="append",
        default=[],
        metavar="DIM=N",
        help=f"size of a dimension that varies, {purpose}; may be repeated",
    )


def add_bundle(parser: argparse.ArgumentParser) -> None:
    """The bundle to work on."""
    parser.add_argument("bundle", metavar="BUNDLE", help="a .mjb file")


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """Where inputs come from."""
    parser.add_argument(
        "--inputs",
        metavar="FILE",
        help="inputs: .npz, .npy, .wav, .png, .jpg, .bin or .txt, or a text for models"
        " that read text (default: the samples in the bundle)",
    )


def add_threads(parser: argparse.ArgumentParser) -> None:
    """How many threads to use."""
    parser.add_argument(
        "--threads", type=positive, metavar="N", help="threads (default: as the bundle was built)"
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Where to run."""
    parser.add_argument(
        "--device",
        metavar="D",
        default=LOCAL,
        help="where to run: local, or an emulated device such as qemu:cortex-m4 (see `mj devices`)",
    )


def npz_arrays(option: str, path: str | None) -> dict[str, np.ndarray] | None:
    """Arrays by name from the .npz file that ``--option`` names; None if it is not given.

    UsageError if the file cannot be read.
    """
    if path is None:
        return None
    require_regular(Path(path))
    try:
        return read_npz(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"--{option} {path}: {error}") from error
