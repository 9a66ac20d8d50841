"""The native executor: taps and times per kernel, failing kernels, programs that do not fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fixtures.tiny_model.build import FOLDER, scale
from millijoule import cpu
from millijoule.bundle import Bundle, Manifest, write_bundle
from millijoule.errors import BundleError, DeviceError, MjError, UsageError
from millijoule.executors import ALIGNMENT, abi, aligned_empty, native, open_program
from millijoule.executors.native import NativeProgram
from millijoule.targets import toolchain

X = np.array([[1, 2, 3, 4], [-1, -2, -3, -4]], np.float32)


def remade(path: Path, out: Path, library: bytes | None = None, **changes: object) -> Bundle:
    """The bundle at ``path`` with manifest fields or the library replaced."""
    with Bundle.open(path) as bundle:
        files: dict[str, bytes | Path] = {name: bundle.read(name) for name in bundle.manifest.files}
        manifest: Manifest = dataclasses.replace(bundle.manifest, **changes)  # type: ignore[arg-type]
    if library is not None:
        files[manifest.program.library] = library
    write_bundle(out, manifest, files)
    return Bundle.open(out)


def outputs() -> list[np.ndarray]:
    """Room for the output of the plain model."""
    return [aligned_empty((2, 1), "float32")]


@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (64,)])
def test_aligned_arrays(shape: tuple[int, ...]) -> None:
    for dtype in ("float32", "uint8", "int64"):
        array = aligned_empty(shape, dtype)
        assert array.shape == shape
        assert array.dtype == dtype
        assert array.ctypes.data % ALIGNMENT == 0


def test_misaligned_buffers_are_served(tiny_path: Path) -> None:
    program = NativeProgram(Bundle.open(tiny_path), 1)
    expected = scale(X).sum(1, keepdims=True)
    for shift in range(0, 64, 4):
        x = aligned_empty((200,), "uint8")[shift : shift + 32].view(np.float32).reshape(2, 4)
        y = aligned_empty((200,), "uint8")[shift : shift + 8].view(np.float32).reshape(2, 1)
        x[...] = X
        program.run([x], [y])
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("old", [False, True], ids=["by the program", "library without it"])
def test_only_finite_inputs_run(tiny_path: Path, tmp_path: Path, old: bool) -> None:
    bundle = Bundle.open(tiny_path)
    if old:  # built before the function was: the loader finds no symbol of that name
        code = bundle.read(bundle.manifest.program.library)
        without = code.replace(b"mj_run_finite", b"mj_run_absent")
        bundle = remade(tiny_path, tmp_path / "old.mjb", without)
    program = NativeProgram(bundle, 1)
    assert (program._run_finite is None) == old
    x, y = aligned_empty((2, 4), "float32"), aligned_empty((2, 1), "float32")
    inputs, sinks = (x,), (y,)
    for repeat in range(3):  # the first time binds the tuples
        x[...], y[...] = X * (repeat + 1), 7
        x[1, 2] = (np.nan, np.inf, -np.inf)[repeat]
        assert not program.run_finite(inputs, sinks)
        assert (y == 7).all()
        x[1, 2] = 0
        assert program.run_finite(inputs, sinks)
        np.testing.assert_array_equal(y, scale(x).sum(1, keepdims=True))
    assert not program.run_finite([np.full_like(X, np.nan)], outputs())
    program.close()
    with pytest.raises(UsageError, match="closed"):
        program.run_finite(inputs, sinks)


def test_arrays_that_do_not_fit(tiny_path: Path) -> None:
    program = NativeProgram(Bundle.open(tiny_path), 1)
    for wrong in ([], [X, X], [X[:1]], [X.astype(np.float64)]):
        with pytest.raises(UsageError, match="received"):
            program.run(wrong, outputs())
    with pytest.raises(UsageError, match="received"):
        program.run([X], [np.empty(1, np.float32)])


def test_times_per_kernel(tiny_path: Path) -> None:
    program = NativeProgram(Bundle.open(tiny_path), 2)
    program.run([X], outputs())
    assert program.kernel_ns().tolist() == [0, 0]
    program.kernel_times(True)
    for _ in range(200):
        program.run([X], outputs())
    times = program.kernel_ns()
    assert times.dtype == np.uint64
    assert (times > 0).all()
    program.clear_kernel_ns()
    assert program.kernel_ns().tolist() == [0, 0]
    program.kernel_times(False)
    program.run([X], outputs())
    assert program.kernel_ns().tolist() == [0, 0]


def test_taps_are_copies_of_the_arena(tiny_path: Path) -> None:
    program = NativeProgram(Bundle.open(tiny_path), 1)
    first = program.run_tapped([X], outputs(), ["spikes:scale"])["spikes:scale"]
    program.run([np.zeros_like(X)], outputs())
    np.testing.assert_array_equal(first, scale(X))
    with pytest.raises(UsageError, match="taps: spikes:scale"):
        program.run_tapped([X], outputs(), ["spikes:none"])


def test_closed_program(tiny_path: Path) -> None:
    program = NativeProgram(Bundle.open(tiny_path), 2)
    program.close()
    program.close()
    calls: list[Callable[[], object]] = [
        program.reset,
        lambda: program.run([X], outputs()),
        lambda: program.set_threads(1),
        lambda: program.kernel_times(True),
    ]
    for call in calls:
        with pytest.raises(UsageError, match="closed"):
            call()


def test_same_library_is_loaded_once(tiny_path: Path) -> None:
    with Bundle.open(tiny_path) as bundle:
        code = bundle.read(bundle.manifest.program.library)
    assert abi.library(code) is abi.library(code)


def test_two_libraries_stay_apart(tiny_path: Path, tiny_streaming_path: Path) -> None:
    first = NativeProgram(Bundle.open(tiny_path), 1)
    second = NativeProgram(Bundle.open(tiny_streaming_path), 1)
    y = outputs()
    first.run([X], y)
    np.testing.assert_array_equal(y[0], scale(X).sum(1, keepdims=True))
    second.reset()


def compiled(source: str, out: Path) -> bytes:
    """A library of the tiny model's kernels, the runtime and ``source``."""
    main = out.with_suffix(".c")
    main.write_text(source)
    files = [main, FOLDER / "kernels.c", *toolchain.runtime_sources()]
    return toolchain.link_shared([], files, [toolchain.runtime_include(), FOLDER], out).read_bytes()


def test_failing_kernel_is_named(tiny_path: Path, tmp_path: Path) -> None:
    source = (FOLDER / "plain.c").read_text()
    call = "tiny_row_sum(MJ_ARENA(ctx, 0), outputs[0])"
    assert call in source
    library = compiled(source.replace(call, "-1"), tmp_path / "fail.so")
    bundle = remade(tiny_path, tmp_path / "fail.mjb", library)
    program = NativeProgram(bundle, 1)
    with pytest.raises(DeviceError, match=r"'row_sum' \(layer 'head', number 1\)"):
        program.run([X], outputs())


def test_workspace_overrun_is_reported(tiny_path: Path, tmp_path: Path) -> None:
    source = (FOLDER / "plain.c").read_text()
    assert ".workspace_bytes = 64" in source
    source = source.replace(".workspace_bytes = 64", ".workspace_bytes = 0")
    bundle = remade(
        tiny_path,
        tmp_path / "fail.mjb",
        compiled(source, tmp_path / "fail.so"),
        arena=dataclasses.replace(Bundle.open(tiny_path).manifest.arena, workspace_bytes=0),
    )
    with pytest.raises(DeviceError, match=r"workspace.*row_sum"):
        NativeProgram(bundle, 1).run([X], outputs())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("MJ_ABI_VERSION,", "MJ_ABI_VERSION + 1,", "ABI"),
        ('{"x", MJ_FLOAT32', '{"z", MJ_FLOAT32', "'z'"),
        ('{"x", MJ_FLOAT32', '{"x", MJ_INT32', "int32"),
        ('{"x", MJ_FLOAT32', '{"x", 99', r"\?"),
        ("{TINY_ROWS, TINY_COLUMNS}", "{TINY_ROWS, 5}", r"\[2, 5\]"),
        (".n_inputs = 1", ".n_inputs = 2", "2 inputs"),
        (".arena_bytes = 128", ".arena_bytes = 4096", "4096"),
        (".weights_bytes = 16", ".weights_bytes = 1600", "weights"),
        ("mj_model = {", "mj_other = {", "mj_model"),
    ],
)
def test_library_for_another_manifest_is_refused(
    tiny_path: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    source = (FOLDER / "plain.c").read_text()
    assert old in source
    library = compiled(source.replace(old, new), tmp_path / "other.so")
    with pytest.raises(MjError, match=message) as caught:
        NativeProgram(remade(tiny_path, tmp_path / "other.mjb", library), 1)
    assert isinstance(caught.value, (BundleError, DeviceError))


@pytest.mark.parametrize("library", [b"", b"not an ELF file", b"\x7fELF" + bytes(100)])
def test_library_that_is_none(tiny_path: Path, tmp_path: Path, library: bytes) -> None:
    bundle = remade(tiny_path, tmp_path / "bad.mjb", library)
    with pytest.raises(DeviceError, match="cannot load the program"):
        NativeProgram(bundle, 1)


def test_program_for_another_machine(tiny_path: Path, tmp_path: Path) -> None:
    target = Bundle.open(tiny_path).manifest.target
    other = "aarch64" if cpu.architecture() != "aarch64" else "x86_64"
    foreign = dataclasses.replace(target, name="other", triple=f"{other}-linux-gnu")
    with pytest.raises(DeviceError, match=f"for other .*{other}.*this machine is"):
        NativeProgram(remade(tiny_path, tmp_path / "a.mjb", target=foreign), 1)


def test_missing_cpu_features(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "architecture", lambda: "x86_64")
    monkeypatch.setattr(cpu, "features", lambda: frozenset({"fpu", "avx2", "bmi1"}))
    assert cpu.missing_features(["+avx2", "-avx512f", "some-new-one"]) == []
    assert cpu.missing_features(["+avx2", "fma"]) == ["fma"]
    assert cpu.missing_features([], "x86-64-v3") == ["bmi2", "f16c", "fma"]
    target = Bundle.open(tiny_path).manifest.target
    needy = dataclasses.replace(target, triple="x86_64-linux-gnu", features=("avx512f",))
    with pytest.raises(DeviceError, match="needs avx512f"):
        NativeProgram(remade(tiny_path, tmp_path / "a.mjb", target=needy), 1)


ARM64_WORDS = {16: 1 << 1 | 1 << 7, 26: 0}  # asimd and crc32: a Cortex-A72


@pytest.mark.parametrize(
    ("arch", "words", "expected"),
    [
        ("aarch64", ARM64_WORDS, {"asimd", "crc32"}),
        ("aarch64", {16: 1 << 10 | 1 << 20, 26: 1 << 13}, {"asimdhp", "asimddp", "i8mm"}),
        ("armv7", {16: 1 << 12 | 1 << 16}, {"neon", "vfpv4"}),
    ],
)
def test_features_of_arm_come_from_the_auxiliary_vector(
    monkeypatch: pytest.MonkeyPatch, arch: str, words: dict[int, int], expected: set[str]
) -> None:
    monkeypatch.setattr(cpu, "architecture", lambda: arch)
    monkeypatch.setattr(cpu, "_auxiliary_value", lambda entry: words[entry])
    assert cpu.features.__wrapped__() == expected


def test_arm_programs_need_what_their_core_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "architecture", lambda: "aarch64")
    monkeypatch.setattr(cpu, "_auxiliary_value", ARM64_WORDS.__getitem__)
    monkeypatch.setattr(cpu, "features", cpu.features.__wrapped__)
    assert cpu.missing_features(["neon", "crc", "aes"]) == []
    assert cpu.missing_features(["neon", "dotprod", "fullfp16"]) == ["dotprod", "fullfp16"]


def test_an_emulator_does_not_lend_an_arm_program_the_hosts_features(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without an auxiliary vector /proc/cpuinfo counts, but not one of another architecture."""
    monkeypatch.setattr(cpu, "_auxiliary_value", lambda entry: 0)
    other = "x86_64" if cpu.architecture() in ("aarch64", "armv7") else "aarch64"
    monkeypatch.setattr(cpu, "architecture", lambda: other)
    assert cpu.features.__wrapped__() == frozenset()


def test_nothing_is_known_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "features", frozenset)
    assert cpu.missing_features(["avx512f"]) == []


@pytest.mark.parametrize(
    ("machine", "pointer", "expected"),
    [("arm64", 8, "aarch64"), ("aarch64", 4, "armv7"), ("AMD64", 8, "x86_64"), ("x", 8, "x")],
)
def test_architecture(
    monkeypatch: pytest.MonkeyPatch, machine: str, pointer: int, expected: str
) -> None:
    monkeypatch.setattr(cpu.platform, "machine", lambda: machine)
    monkeypatch.setattr(cpu.struct, "calcsize", lambda _: pointer)
    assert cpu.architecture() == expected
    assert cpu.same_architecture("")


def test_arena_beyond_the_memory(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object) -> None:
        raise MemoryError

    bundle = Bundle.open(tiny_path)
    monkeypatch.setattr(native, "aligned_empty", exhausted)
    with pytest.raises(DeviceError, match="an arena of 128 bytes"):
        NativeProgram(bundle, 1)


def test_unknown_kind_of_program(tiny_path: Path, tmp_path: Path) -> None:
    program = dataclasses.replace(Bundle.open(tiny_path).manifest.program, kind="quantum")
    bundle = remade(tiny_path, tmp_path / "a.mjb", program=program)
    with pytest.raises(BundleError, match=r"static-cuda, tflite, but received 'quantum'"):
        open_program(bundle, 1)


def test_library_loads_from_a_file_where_memory_files_are_forbidden(
    tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> int:
        raise PermissionError(1, "forbidden")

    monkeypatch.setattr(abi, "_loaded", {})
    monkeypatch.setattr(abi.os, "memfd_create", forbidden, raising=False)
    y = outputs()
    NativeProgram(Bundle.open(tiny_path), 1).run([X], y)
    np.testing.assert_array_equal(y[0], scale(X).sum(1, keepdims=True))
