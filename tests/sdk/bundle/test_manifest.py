"""The manifest: round trips, and one line naming the field for everything that breaks a rule."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.manifests import firmware_manifest, small_manifest
from millijoule.bundle import Manifest
from millijoule.bundle.fields import parse_json
from millijoule.errors import BundleError


def document() -> dict[str, Any]:
    """A valid manifest as JSON."""
    value: dict[str, Any] = json.loads(small_manifest().to_bytes())
    return value


def firmware_document() -> dict[str, Any]:
    """A valid manifest of a program for bare metal as JSON."""
    value: dict[str, Any] = json.loads(firmware_manifest().to_bytes())
    return value


@pytest.mark.parametrize("make", [small_manifest, firmware_manifest])
def test_round_trip_and_determinism(make: Callable[[], Manifest]) -> None:
    manifest = make()
    again = Manifest.from_json(parse_json(manifest.to_bytes(), "manifest"))
    assert again == manifest
    assert again.to_bytes() == manifest.to_bytes()
    assert manifest.batch == 1
    assert [(index, tap.name) for index, tap in manifest.taps()] == [(0, "spikes:embed")]
    assert manifest.tolerance_of("logits") == 1e-5
    assert manifest.tolerance_of("anything") == 2e-5


def put(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    """An edit that sets the value at ``path``."""

    def edit(data: Any) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = value

    return edit


def drop(*path: str | int) -> Callable[[dict[str, Any]], None]:
    """An edit that removes the value at ``path``."""

    def edit(data: Any) -> None:
        for key in path[:-1]:
            data = data[key]
        del data[path[-1]]

    return edit


X = ("io", "inputs", 0)
K = ("kernels", 0)

BROKEN = [
    (put("format", value="zip"), "manifest.format"),
    (put("schema", value=3), "manifest.schema"),
    (put("schema", value=2), "manifest.io.dims"),
    (put("schema", value="1"), "manifest.schema"),
    (put("surprise", value=1), "surprise"),
    (drop("arena"), "manifest.arena"),
    (drop("model", "name"), "manifest.model.name"),
    (put("model", "labels", value=["ok", "\x1b[31mred"]), "manifest.model.labels[1]"),
    (put("model", "frontend", value={"n_mels": 4}), "manifest.model.frontend.kind"),
    (put("model", "parameters", value=-1), "manifest.model.parameters"),
    (put("model", "parameters", value=True), "manifest.model.parameters"),
    (put("model", "parameters", value=10**4000), "manifest.model.parameters"),
    (put("target", "threads", value=0), "manifest.target.threads"),
    (put("target", "dtype", value=["float32"]), "manifest.target.dtype"),
    (put(*X, "dtype", value="complex64"), "manifest.io.inputs[0].dtype"),
    (put(*X, "shape", value=[1, 0]), "manifest.io.inputs[0].shape"),
    (put(*X, "shape", value=[1, -4]), "manifest.io.inputs[0].shape"),
    (put(*X, "shape", value=[1 << 20, 1 << 20]), "manifest.io.inputs[0].shape"),
    (put(*X, "shape", value=[1] * 9), "manifest.io.inputs[0].shape"),
    (put(*X, "shape", value=4), "manifest.io.inputs[0].shape"),
    (put(*X, "batch_axis", value=2), "manifest.io.inputs[0].batch_axis"),
    (put(*X, "shape", value=[]), "manifest.io.inputs[0].batch_axis"),
    (put(*X, "shape", value=[3, 4]), "manifest.io"),
    (put(*X, "name", value="valid"), "manifest.io.inputs"),
    (put("io", "outputs", value=[]), "manifest.io.outputs"),
    (put("streaming", "sequence_input", value="y"), "manifest.streaming"),
    (put("streaming", "final_output", value="probs"), "manifest.streaming.final_output"),
    (put("streaming", "limit", value=0), "manifest.streaming.limit"),
    (put("streaming", "delay", value=1 << 40), "manifest.streaming.delay"),
    (put("streaming", "states", 0, "initial", value="ones"), "streaming.states[0].initial"),
    (put("streaming", "states", 0, "shape", value=[64, 64]), "manifest.arena.state_bytes"),
    (put("io", "inputs", 1, "dtype", value="int64"), "manifest.streaming.valid_input"),
    (put("program", "library", value="/etc/passwd"), "/etc/passwd"),
    (put("program", "library", value="a/../../b"), "a/../../b"),
    (put("program", "abi", value=0), "manifest.program.abi"),
    (put("arena", "bytes", value=1 << 60), "manifest.arena.bytes"),
    (put("arena", "bytes", value=700), "manifest.arena.bytes"),
    (put("arena", "alignment", value=48), "manifest.arena.alignment"),
    (put(*K, "adds", value=1.5), "manifest.kernels[0].adds"),
    (put(*K, "outputs", 0, "offset", value=1021), "manifest.kernels[0].outputs[0]"),
    (put(*K, "outputs", 0, "offset", value=-64), "manifest.kernels[0].outputs[0].offset"),
    (put(*K, "outputs", 0, "dtype", value="object"), "manifest.kernels[0].outputs[0].dtype"),
    (put("kernels", 1, "spike_input", "tap", value="no"), "manifest.kernels[1].spike_input.tap"),
    (put("kernels", 1, "spike_input", "adds_per_spike", value="2"), "adds_per_spike"),
    (put("kernels", value={}), "manifest.kernels"),
    (put("tolerance", value={"logits": 1}), "manifest.tolerance.default"),
    (put("tolerance", "logits", value=-1), "manifest.tolerance.logits"),
    (put("files", value={"../x": {"bytes": 1, "sha256": "0" * 64}}), "../x"),
    (put("files", value={"x": {"bytes": -1, "sha256": "0" * 64}}), "manifest.files.x.bytes"),
    (put("files", value={"x": {"bytes": 1, "sha256": "0"}}), "manifest.files.x.sha256"),
]


@pytest.mark.parametrize(("edit", "named"), BROKEN)
def test_broken_field_is_named(edit: Callable[[dict[str, Any]], None], named: str) -> None:
    data = document()
    edit(data)
    with pytest.raises(BundleError) as caught:
        Manifest.from_json(data)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


F = ("firmware",)

BROKEN_FIRMWARE = [
    (put("firmware", value=None), "manifest.firmware"),
    (put("program", "kind", value="static-aot"), "manifest.firmware"),
    (put(*F, "flags", value=["-mthumb", "-o/etc/passwd"]), "manifest.firmware.flags[1]"),
    (put(*F, "flags", value=["-mthumb -fplugin=x"]), "manifest.firmware.flags[0]"),
    (put(*F, "flags", value=["-mcpu=${HOME}"]), "manifest.firmware.flags[0]"),
    (put(*F, "flags", value=["-mthumb"] * 65), "manifest.firmware.flags"),
    (put(*F, "flags", value="-mthumb"), "manifest.firmware.flags"),
    (put(*F, "flags", value=[7]), "manifest.firmware.flags[0]"),
    (put(*F, "flash", "code", value=-1), "manifest.firmware.flash.code"),
    (put(*F, "flash", "code", value=1 << 40), "manifest.firmware.flash.code"),
    (put(*F, "flash", "total", value=1999), "manifest.firmware.flash.total"),
    (put(*F, "flash", "debug", value=1), "debug"),
    (put(*F, "ram", "total", value=0), "manifest.firmware.ram.total"),
    (put(*F, "ram", "io", value=1.5), "manifest.firmware.ram.io"),
    (drop(*F, "ram", "bss"), "manifest.firmware.ram.bss"),
    (put(*F, "limits", "flash", value=0), "manifest.firmware.limits.flash"),
    (put(*F, "limits", "board", value="a\nb"), "manifest.firmware.limits.board"),
    (put(*F, "emit", value="rust"), "manifest.firmware.emit"),
    (put(*F, "toolchain", value=""), "manifest.firmware.toolchain"),
    (put("quantization", value=[]), "manifest.quantization"),
    (put("quantization", value={}), "manifest.quantization.scheme"),
    (put("quantization", "scheme", value=""), "manifest.quantization.scheme"),
    (put("quantization", "layers", value="x" * 5000), "manifest.quantization"),
    (put("quantization", "layers", value=[0] * (1 << 20)), "manifest.quantization"),
    (put("quantization", "layers", value=[{"layer": "\x1b[31m"}]), "manifest.quantization"),
    (put("quantization", "accuracy", value={"a\nb": 1}), "manifest.quantization"),
    (put("quantization", value={str(n): 0 for n in range(65)}), "manifest.quantization"),
]


@pytest.mark.parametrize(("edit", "named"), BROKEN_FIRMWARE)
def test_broken_firmware_field_is_named(edit: Callable[[dict[str, Any]], None], named: str) -> None:
    data = firmware_document()
    edit(data)
    with pytest.raises(BundleError) as caught:
        Manifest.from_json(data)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_arena_is_the_same_twice() -> None:
    data = firmware_document()
    data["firmware"]["ram"].update(arena=1000, total=1088)
    with pytest.raises(BundleError, match=r"firmware.ram.arena\] must be arena.bytes, 1024"):
        Manifest.from_json(data)


def test_misaligned_tap_is_refused() -> None:
    data = document()
    data["kernels"][0]["outputs"][0].update(offset=66, dtype="float32")
    with pytest.raises(BundleError, match="not aligned"):
        Manifest.from_json(data)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 40 + b"1" + b"}" * 40,
        b'{"a": 1, "a": 2}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b"1" * 5000,
    ],
)
def test_broken_json_is_refused(text: bytes) -> None:
    with pytest.raises(BundleError) as caught:
        Manifest.from_json(parse_json(text, "manifest"))
    assert len(str(caught.value)) < 300


def test_value_that_json_cannot_hold_is_not_written() -> None:
    manifest = small_manifest()
    model = dataclasses.replace(manifest.model, hparams={"x": float("nan")})
    with pytest.raises(BundleError, match="JSON"):
        dataclasses.replace(manifest, model=model).to_bytes()


def paths(value: Any, prefix: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Paths of all values inside ``value``."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield (*prefix, key)
        if isinstance(item, (dict, list)):
            yield from paths(item, (*prefix, key))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([0, -1, 1 << 31, 1 << 63, 1 << 200, "float32", "../x"])
    | st.builds(list)
    | st.builds(dict),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)


@settings(max_examples=200)
@given(st.data())
def test_mutated_manifest_opens_or_says_why(data: st.DataObject) -> None:
    value = data.draw(st.sampled_from([document, firmware_document]))()
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(sorted(paths(value), key=str)))
        edit = drop(*path) if data.draw(st.booleans()) else put(*path, value=data.draw(json_values))
        edit(value)
    before = copy.deepcopy(value)
    message = ""
    try:
        manifest = Manifest.from_json(value)
    except BundleError as error:
        message = str(error)
    else:
        assert Manifest.from_json(manifest.to_json()) == manifest
    assert "\n" not in message
    assert str(value) == str(before)  # reading changes nothing
