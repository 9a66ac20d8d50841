"""Kernels of ours as plugin layers: values of every form, the graph, and TensorRT-RTX's own API."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tensorrt_rtx as trt

import millijoule as mj
from fixtures.bit_kernels import signs
from fixtures.bundles import assert_same_bytes
from fixtures.fake_plugins import PluginTensorRT, enqueue
from fixtures.fake_tensorrt import Cudart
from fixtures.models import LMUFORMER, build
from fixtures.operands import lif_attrs, lif_operands, normal, ternary
from millijoule.bundle import PluginEntry, PluginOutput, PluginTable
from millijoule.cli import main
from millijoule.converters.importer import COMPOSITE_PREFIX
from millijoule.converters.ops import VOCABULARY, LifRule, TensorType
from millijoule.converters.ops.binary_linear.reference import binary_linear_reference
from millijoule.converters.ops.lif.reference import lif_record_reference
from millijoule.errors import BundleError
from millijoule.executors.cuda.compile import _compiler, compile_driver
from millijoule.executors.tensorrt.driver import Driver, Module
from millijoule.executors.tensorrt.kernels import Kernels
from millijoule.executors.tensorrt.plugin import make_creator, make_plugin_type, offer
from millijoule.targets.graph import Node, Value
from millijoule.targets.tensorrt.kernels import SMS, TABLE, KernelTable

# rows, inputs and outputs around words and tiles, more than 8 rows go to the tensor cores; zeros
SHAPES = [
    (1, 15, 17, False),
    (8, 64, 65, True),
    (9, 65, 16, False),
    (17, 127, 33, True),
    (65, 256, 64, False),
]
RULES = [
    ("lif", LifRule(), 9, False),
    ("lif", LifRule(charge="blend", reset="subtract", strict=True), 1, True),
    ("lif_record", LifRule(), 17, False),
]


def node(op: str, attrs: dict[str, Any], args: Sequence[np.ndarray], variables: set[int]) -> Node:
    """A call of ``op`` of which the arguments ``variables`` are calculated."""
    types = [TensorType(a.shape, str(a.dtype)) for a in args]
    given = [Value(f"v{i}", types[i]) if i in variables else a for i, a in enumerate(args)]
    return Node(COMPOSITE_PREFIX + op, tuple(given), attrs, VOCABULARY[op].results(attrs, types))


class Bench:
    """Operators in one table; ``run`` calculates entry by entry as TensorRT would."""

    def __init__(self) -> None:
        self.table = KernelTable()
        self.calls: list[tuple[str, list[np.ndarray], list[np.ndarray]]] = []

    def add(self, made: Node, inputs: list[np.ndarray], expected: list[np.ndarray]) -> None:
        name, weights = self.table.add(made)
        self.calls.append((name, [*inputs, weights], expected))


@pytest.fixture(scope="module")
def bench() -> Bench:
    made = Bench()
    for rows, inputs, outputs, zeros in SHAPES:
        x = ternary((rows, inputs)).astype(np.float32)
        w = ternary((outputs, inputs)) if zeros else signs((outputs, inputs))
        bias = np.round(normal((outputs,)))
        args = [x, w.astype(np.int8), np.ones(outputs, np.float32), bias]
        call = node("binary_linear", {"activations": "sign"}, args, {0})
        made.add(call, [x], [binary_linear_reference(*args)])
    for op, rule, steps, gated in RULES:
        args = lif_operands(rule, 65, steps=steps)
        args += [np.array([1] * steps, np.int32)] if gated else []
        attrs = lif_attrs(rule, "float32") | ({"record": "after"} if op == "lif_record" else {})
        variables = {0, 2, 3} & set(range(len(args)))
        valid = args[3] if gated else None
        results = lif_record_reference(args[0], args[1], args[2], valid, rule)
        expected = [r.astype(np.float32) for r in results][: 3 if op == "lif_record" else 2]
        call = node(op, attrs, args, variables)
        made.add(call, [args[i] for i in sorted(variables)], expected)
    return made


@pytest.fixture(scope="module")
def files(bench: Bench) -> dict[str, bytes]:
    return bench.table.files(lambda stage: None)


@pytest.mark.parametrize(("variant", "sm"), [("mma", 87), ("popc", 110)])
def test_values(
    variant: str,
    sm: int,
    bench: Bench,
    files: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sums of signs and spikes exactly; potentials within one rounding per step."""
    source = files[f"program/plugins/{variant}.cu"].decode()
    monkeypatch.setenv("MJ_LIBCUDA", str(compile_driver(source, sm, tmp_path, _compiler())))
    table = PluginTable.for_sm(files[TABLE], sm)
    assert table is not None
    kernels = Kernels("bench", Module(Driver(), files[table.code]), table.entries)
    fake = PluginTensorRT(Cudart())
    for name, inputs, expected in bench.calls:
        plugin = make_plugin_type(fake)(kernels, table.entries[name])
        results = enqueue(fake, plugin, inputs)
        for place, (result, wanted) in enumerate(zip(results, expected, strict=True)):
            atol = 0 if place == 0 else 1e-5
            np.testing.assert_allclose(result, wanted, rtol=0, atol=atol, err_msg=name)


def test_every_gpu_has_code(files: dict[str, bytes]) -> None:
    for sm in SMS:
        table = PluginTable.for_sm(files[TABLE], sm)
        assert table is not None
        assert files[table.code].startswith(b"\x7fELF")
        kernels = {launch.kernel for e in table.entries.values() for launch in e.launches}
        assert all(name.encode() in files[table.code] for name in kernels)
    assert PluginTable.for_sm(files[TABLE], 53) is None


def test_a_damaged_table(files: dict[str, bytes]) -> None:
    data = files[TABLE]
    for old, new, words in (
        (b'["output",0]', b'["output",9]', "launches on the"),
        (b'["output",0]', b'["host",0]', "must be one of"),
        (b'["output",0]', b"[]", "missing"),
        (b'"workspace":', b'"space":', "missing"),
        (b'{"devices"', b'{"devices', "not valid JSON"),
    ):
        assert old in data
        with pytest.raises(BundleError, match=words):
            PluginTable.for_sm(data.replace(old, new, 1), 87)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plugins") / "m.mjb"
    build(LMUFORMER[1].path, out, "--target", "tensorrt", "--plugins")
    return out


def test_the_graph(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """ONNX's checker takes it; it has our nodes for every spiking layer, and no loops."""
    with mj.Bundle.open(bundle) as opened:
        model = onnx.load_from_string(opened.read("program/plugins/model.onnx"))
        plain = onnx.load_from_string(opened.read("program/model.onnx"))
        recipe = opened.manifest.graph.recipe["plugins"]  # type: ignore[union-attr]
    onnx.checker.check_model(model, full_check=True)
    assert {o.domain: o.version for o in model.opset_import} == {"": 17, "millijoule": 1}
    ours = [n for n in model.graph.node if n.domain == "millijoule"]
    loops = [n for n in plain.graph.node if n.op_type == "Scan"]
    assert recipe["nodes"] == {"lif": len(ours)} == {"lif": len(loops)}
    assert not any(n.op_type == "Scan" for n in model.graph.node)
    assert not any(n.domain for n in plain.graph.node)
    assert main(["verify", str(bundle), "--device", "onnxruntime", "--quiet"]) == 0
    capsys.readouterr()
    assert main(["inspect", str(bundle)]) == 0
    assert f"{len(ours)} × lif by kernels of ours" in capsys.readouterr().out


def test_the_same_bytes_again(bundle: Path, tmp_path: Path) -> None:
    build(LMUFORMER[1].path, tmp_path / "m.mjb", "--target", "tensorrt", "--plugins")
    assert_same_bytes(bundle, tmp_path / "m.mjb")


def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "m.mjb"
    for golden, options, status, words in (
        (LMUFORMER[0], ["--target", "tensorrt"], 3, "this model has none of them"),
        (LMUFORMER[1], ["--target", "litert"], 2, "plugins are for tensorrt"),
        (LMUFORMER[1], ["--target", "tensorrt", "--batches", "1,2,4"], 2, "have one batch"),
        (LMUFORMER[0], ["--target", "tensorrt", "--dtype", "float16"], 2, "in float32"),
    ):
        command = ["build", str(golden.path), "--plugins", "-o", str(out), *options]
        assert main(command) == status
        assert words in capsys.readouterr().err
        assert not out.exists()


ENTRY = PluginEntry(
    "n0", "lif", "", ("float32", "int32"), (PluginOutput((2, 3), "float32"),), 0, ()
)


def test_the_real_interface() -> None:
    """The classes over TensorRT-RTX's bindings: types, formats, fields there and back."""
    kernels = Kernels("a" * 64, None, {"n0": ENTRY})  # type: ignore[arg-type]
    offer(kernels)
    creator = make_creator(trt)
    assert [f.name for f in creator.field_names] == ["entry", "code"]
    plugin = make_plugin_type(trt)(kernels, ENTRY)
    again = creator.create_plugin("k0", plugin.get_fields_to_serialize(), trt.TensorRTPhase.RUNTIME)
    for made in (plugin, again, plugin.clone(), plugin.attach_to_context(None)):
        assert (made.plugin_name, made.plugin_version) == ("MillijouleKernels", "1")
        assert made.num_outputs == 1
        assert made.get_output_data_types([trt.float32]) == [trt.float32]
        assert isinstance(made, trt.IPluginV3 | trt.IPluginV3OneBuild)
        for kind in trt.PluginCapabilityType.__members__.values():
            assert made.get_capability_interface(kind) is made
    taken = [
        (position, type, format)
        for position in range(3)
        for type in (trt.float32, trt.int32, trt.int8)
        for format in (trt.TensorFormat.LINEAR, trt.TensorFormat.CHW4)
        if plugin.supports_format_combination(position, [described(type, format)] * 3, 2)
    ]
    linear = trt.TensorFormat.LINEAR
    assert taken == [(0, trt.float32, linear), (1, trt.int32, linear), (2, trt.float32, linear)]
    wrong = trt.PluginFieldCollection([trt.PluginField("code", b"b", trt.PluginFieldType.CHAR)])
    assert creator.create_plugin("k0", wrong, trt.TensorRTPhase.BUILD) is None


def described(type: Any, format: Any) -> Any:
    desc = trt.DynamicPluginTensorDesc()
    inner = trt.PluginTensorDesc()
    inner.type, inner.format = type, format
    desc.desc = inner
    return desc


_PARSE = """
import sys
import tensorrt_rtx as trt
import millijoule as mj
from millijoule.bundle import PluginTable
from millijoule.executors.tensorrt.kernels import Kernels
from millijoule.executors.tensorrt.plugin import offer, register
import hashlib
with mj.Bundle.open(sys.argv[1]) as bundle:
    graph, table = (bundle.read("program/plugins/" + n) for n in ("model.onnx", "kernels.json"))
entries = PluginTable.for_sm(table, 86).entries
offer(Kernels(hashlib.sha256(table).hexdigest(), None, entries))
register(trt)
logger = trt.Logger(trt.Logger.VERBOSE)
builder = trt.Builder(logger)
network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
trt.OnnxParser(network, logger).parse(graph)
"""


def test_rtx_finds_the_plugin(bundle: Path) -> None:
    """Its ONNX parser makes a plugin of our node through the registry.

    There it ends: TensorRT-RTX has the interfaces, but no layers of plugins (no ``add_plugin_v3``),
    and 1.7 aborts the process when it would add one. So this runs in another one.
    """
    assert not hasattr(trt.INetworkDefinition, "add_plugin_v3")
    command = [sys.executable, "-c", _PARSE, str(bundle)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "Successfully created plugin: MillijouleKernels" in done.stdout + done.stderr
