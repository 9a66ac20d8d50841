"""Bundles for ARM Linux, built here: the same bytes every time, and a manifest that says how."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.bundles import assert_same_bytes
from fixtures.models import LMUFORMER, golden_bundle
from millijoule.bundle import Bundle
from millijoule.targets import toolchain
from millijoule.targets.target import get_target

GOLDEN = LMUFORMER[-1]
FEATURES = {
    "cortex-a53": ("crc", "neon"),
    "cortex-a72": ("crc", "neon"),
    "cortex-a76": ("crc", "dotprod", "fullfp16", "lse", "neon"),
    "cortex-a78ae": ("crc", "dotprod", "fullfp16", "lse", "neon"),
    "armv7": ("neon", "vfp4"),
}


@pytest.mark.parametrize("target", FEATURES)
def test_features_are_those_that_a_device_can_be_asked_for(target: str) -> None:
    assert get_target(target).features() == FEATURES[target]


def test_the_manifest_names_core_and_compiler(tmp_path_factory: pytest.TempPathFactory) -> None:
    target = get_target("cortex-a72")
    with Bundle.open(golden_bundle(tmp_path_factory, GOLDEN, "--target", target.name)) as bundle:
        manifest = bundle.manifest
    said = manifest.target
    assert (said.name, said.kind, said.cpu) == ("cortex-a72", "static-aot", "cortex-a72")
    assert said.features == FEATURES["cortex-a72"]
    assert manifest.toolchain["cc"] == toolchain.version(toolchain.find_compiler(target))


@pytest.mark.parametrize("target", ["cortex-a72", "armv7"])
def test_two_builds_are_the_same_bytes(
    target: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """In another process and folder, with another hash seed and nothing in the linker's cache."""
    first = golden_bundle(tmp_path_factory, GOLDEN, "--target", target)
    second = tmp_path / "some where" / "again.mjb"
    scratch, cache = tmp_path / "temporary", tmp_path / "cache"
    for folder in (second.parent, scratch, cache):
        folder.mkdir()
    changed = {"PYTHONHASHSEED": "7", "TMPDIR": str(scratch), "ZIG_GLOBAL_CACHE_DIR": str(cache)}
    path = os.pathsep.join(p for p in sys.path if p)
    arguments = ["build", str(GOLDEN.path), "--target", target, "-o", str(second), "--quiet"]
    subprocess.run(
        [sys.executable, "-m", "millijoule", *arguments],
        check=True,
        cwd=second.parent,
        env={**os.environ, **changed, "PYTHONPATH": path},
    )
    assert_same_bytes(first, second)
