"""``mj inspect``, of bundles that nobody vouches for, too."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from fixtures.manifests import LIBRARY, WEIGHTS, small_files, small_manifest
from millijoule.bundle import GraphLayer, GraphProgram, Manifest, Program, TensorSpec, write_bundle
from millijoule.cli import main
from millijoule.sizes import Dim

Capture = pytest.CaptureFixture[str]


def inspected(manifest: Manifest, folder: Path, capsys: Capture) -> str:
    """What is printed of a bundle with this manifest."""
    path = folder / "a.mjb"
    write_bundle(path, manifest, small_files())
    assert main(["inspect", str(path)]) == 0
    return capsys.readouterr().out


def test_streaming_program(tiny_streaming_path: Path, capsys: Capture) -> None:
    assert main(["inspect", str(tiny_streaming_path)]) == 0
    text = capsys.readouterr().out
    for part in ("delay 2 steps, endless", "spikes:scale", "total", "sha256"):
        assert part in text


def test_json(bundle_path: Path, capsys: Capture) -> None:
    """Of a program that cannot run here."""
    assert main(["inspect", str(bundle_path), "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["totals"]["adds"] == 12
    assert found["totals"]["multiplies"] == 4
    assert found["files"]["program/weights.bin"]["bytes"] == 1000


def test_labels_and_names_are_printed_as_they_are(tmp_path: Path, capsys: Capture) -> None:
    model = dataclasses.replace(small_manifest().model, name="[bold]é", source="w.pth")
    text = inspected(dataclasses.replace(small_manifest(), model=model), tmp_path, capsys)
    assert "[bold]é" in text
    assert "w.pth" in text


@pytest.mark.parametrize(
    ("tuning", "expected"),
    [
        ({"sha256": "ab", "kernels": {"k0": "c" * 64}, "refused": {}}, "k0 by cccccccccccc;"),
        ({"sha256": "\x1b[2J", "kernels": {"\x1b]0;t\x07": "d"}}, "?]0;t? by d; sha256"),
        ({"kernels": ["k0"], "refused": 7}, "no kernel; sha256 of the records None"),
        ("yes", "weights          1,000 bytes"),
    ],
)
def test_notes_of_tuning_may_be_anything(
    tuning: Any, expected: str, tmp_path: Path, capsys: Capture
) -> None:
    manifest = dataclasses.replace(small_manifest(), toolchain={"tuning": tuning})
    text = inspected(manifest, tmp_path, capsys)
    assert expected in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("plugins", "expected"),
    [
        ({"graph": "g", "nodes": {"lif": 3}, "sms": [87, 110]}, "g: 3 × lif by kernels of ours"),
        ({"nodes": ["lif"], "sms": 87}, "for no GPU; elsewhere"),
    ],
)
def test_recipes_may_be_anything(
    plugins: Any, expected: str, tmp_path: Path, capsys: Capture
) -> None:
    layers = (GraphLayer(1, 32, "float32"),) * len(small_manifest().kernels)
    manifest = dataclasses.replace(
        small_manifest(),
        streaming=None,
        program=Program("onnx", LIBRARY, WEIGHTS, 1),
        graph=GraphProgram("onnx", "opset 17", layers, recipe={"plugins": plugins}),
    )
    assert expected in inspected(manifest, tmp_path, capsys)


def test_samples_may_lack_an_input(tmp_path: Path, capsys: Capture) -> None:
    small = small_manifest()
    varying = TensorSpec("x", (1, 4), "float32", sizes=("1", "seq"))
    manifest = dataclasses.replace(
        small, inputs=(varying, *small.inputs[1:]), streaming=None, dims=(Dim("seq", 1, 4),)
    )
    path = tmp_path / "a.mjb"
    write_bundle(path, manifest, small_files())
    assert main(["inspect", str(path)]) == 2
    assert "input 'valid' is missing; inputs: x, valid" in capsys.readouterr().err
