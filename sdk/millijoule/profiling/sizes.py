"""Which sizes of a program whose sizes vary are profiled, and on what inputs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..bundle import Manifest
from ..errors import UsageError
from ..shapes import Shapes, chosen_sizes, resized
from ..tensors import complete
from .workload import Workload

if TYPE_CHECKING:
    from ..session import Session

__all__ = ["SIZES_FORMAT", "combinations", "inputs_to_profile", "manifest_of"]

#: What several profiles of one program, each of other sizes, call themselves in JSON.
SIZES_FORMAT = "millijoule-profiles"
_MOST_PROFILES = 64


def inputs_to_profile(
    session: Session, inputs: Mapping[str, np.ndarray] | None, sizes: Mapping[str, int] | None
) -> Mapping[str, Any]:
    """``inputs``, or the bundle's sample: as it is, or cut or repeated to ``sizes``.

    Raises:
        UsageError: both are given, an unknown dimension, or a size out of bounds.
    """
    if inputs is not None:
        if sizes:
            raise UsageError("[profile] inputs have sizes of their own: leave out one of the two")
        return inputs
    sample, manifest = session.bundle.samples()[0], session.manifest
    if not sizes:
        return sample
    sample, _ = complete(manifest, sample)
    usual = Shapes(manifest).of_inputs(sample) if manifest.dims else {}
    return resized(manifest, sample, chosen_sizes(manifest, sizes, usual))


def manifest_of(session: Session, workload: Workload) -> Manifest:
    """The manifest with the counts of ``workload``'s sizes.

    What papers count (``reference_macs``) is known of the sample's sizes only, rows aside, and is
    left out for others.
    """
    if not workload.lengths:
        return workload.manifest
    sample, _ = complete(session.manifest, session.bundle.samples()[0])
    usual = Shapes(session.manifest).of_inputs(sample)
    if all(usual[name] == size for name, size in workload.lengths.items()):
        return workload.manifest
    model = replace(workload.manifest.model, reference_macs={})
    return replace(workload.manifest, model=model)


def combinations(choices: Sequence[tuple[str, Sequence[int]]]) -> list[dict[str, int]]:
    """Every combination of the sizes of ``[("seq", [16, 128]), …]``, in order.

    Raises:
        UsageError: a dimension twice, or more than 64 combinations.
    """
    names = [name for name, _ in choices]
    if len(set(names)) < len(names):
        raise UsageError(f"[size] a dimension may be given once, but received {', '.join(names)}")
    found = [
        dict(zip(names, sizes, strict=True))
        for sizes in itertools.product(*(values for _, values in choices))
    ]
    if len(found) > _MOST_PROFILES:
        raise UsageError(
            f"[size] at most {_MOST_PROFILES} combinations can be profiled, but received"
            f" {len(found)}"
        )
    return found
