"""Programs with engines in the place of regions: values, launches, states, and every way back."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import millijoule as mj
from fixtures.fake_tensorrt import TensorRT
from fixtures.jetson import read_trace, traced
from fixtures.models import GOLDENS
from fixtures.regions import build_split, emulated_tensorrt
from millijoule.cli import main
from millijoule.converters.model import Model
from millijoule.errors import UsageError
from millijoule.executors.cuda.regions import REGION
from millijoule.targets.cpu.plan import make_plan
from millijoule.targets.jetson.join import _arrange, _Room
from millijoule.targets.jetson.pipeline import lower_for_cuda
from millijoule.targets.jetson.regions import plan_split
from millijoule.targets.jetson.split import split_for_tensorrt
from millijoule.targets.target import get_target

DEVICE = "cuda-emulator"


class Views(nn.Module):
    """Every way that a region's tensors can be one memory with something else's."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first = nn.Parameter(torch.randn(64, 32, generator=generator))
        self.second = nn.Parameter(torch.randn(16, 17, generator=generator))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """[2, 64] → a product of a view, the view itself, and x as it is."""
        view = torch.relu(x @ self.first).reshape(4, 16)
        return view @ self.second, view, x


class ViewOfInput(nn.Module):
    """A view of what a region takes is among what it would have to give."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first = nn.Parameter(torch.randn(16, 8, generator=generator))
        self.second = nn.Parameter(torch.randn(32, 4, generator=generator))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[4, 16] → two products, and the input in another shape."""
        product = torch.relu(x @ self.first)
        view = x.reshape(2, 32)
        return product.sum() + view @ self.second, view


@pytest.fixture(scope="module")
def model() -> Model:
    return mj.convert(GOLDENS / "lmuformer-plain-s", streaming=True)


@pytest.fixture(scope="module")
def stream(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two regions with the memory in between; they read and write states."""
    return build_split(model, tmp_path_factory.mktemp("stream") / "s.mjb", 500)


@pytest.fixture(scope="module")
def spiking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    whole = mj.convert(GOLDENS / "lmuformer-spiking-ms-s")
    return build_split(whole, tmp_path_factory.mktemp("spiking") / "s.mjb", 20_000)


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TensorRT:
    return emulated_tensorrt(monkeypatch, tmp_path / "engines")


def step(path: Path, model: Model, taps: tuple[str, ...] = ()) -> np.ndarray:
    """Logits of the sample, frame by frame."""
    with mj.load(path, device=DEVICE) as session:
        return session.run(model.sample_inputs, taps)["all_seq_logits"]


def close(found: np.ndarray, model: Model) -> None:
    expected = model.sample_outputs["all_seq_logits"]
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_engines_take_the_place_of_kernels(
    stream: Path, model: Model, trt: TensorRT, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No launch of a region is made, no graph is captured; states pass through the engines."""
    trace = traced(monkeypatch, tmp_path / "trace")
    with mj.load(stream, device=DEVICE) as session:
        assert [s.engine for s in session.program.regions] == ["built", "built"]
        result = session.run(model.sample_inputs)["all_seq_logits"]
        manifest = session.manifest
        assert len(trt.engines) == 2
    assert not trt.engines  # a closed session holds nothing of the GPU
    close(result, model)
    steps = len(result) + manifest.streaming.delay
    assert trt.runs == 2 * steps
    regions = [range(r.first_kernel, r.first_kernel + r.kernels) for r in manifest.split.regions]
    kept = [la for la in manifest.cuda.launches if not any(la.call in r for r in regions)]
    assert 0 < len(kept) < len(manifest.cuda.launches)
    calls = read_trace(trace)
    assert [la[0] for la in calls.of("launch")] == [la.kernel for la in kept] * steps
    assert not calls.of("graph")
    assert trt.cleared == [trt.BuilderFlag.TF32] * 2  # float32 is float32
    with mj.load(stream, device=DEVICE) as session:
        assert [s.engine for s in session.program.regions] == ["cached", "cached"]


def test_chosen_by_a_variable(
    stream: Path, model: Model, trt: TensorRT, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MJ_SPLIT", "off")
    trace = traced(monkeypatch, tmp_path / "trace")
    close(step(stream, model), model)
    assert trt.built == 0
    assert read_trace(trace).of("graph")
    monkeypatch.setenv("MJ_SPLIT", "tf32")
    close(step(stream, model), model)
    assert (trt.built, trt.cleared) == (2, [])
    monkeypatch.setenv("MJ_SPLIT", "dla")
    with pytest.raises(UsageError, match="MJ_SPLIT must be one of on, off, tf32, but is 'dla'"):
        mj.load(stream, device=DEVICE)


def refuse(trt: TensorRT, patch: pytest.MonkeyPatch) -> None:
    trt.refuse = True


def fail(trt: TensorRT, patch: pytest.MonkeyPatch) -> None:
    trt.fails = True


def absent(trt: TensorRT, patch: pytest.MonkeyPatch) -> None:
    patch.setitem(sys.modules, "tensorrt", None)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (refuse, "cannot read the graph: In node 3: UNSUPPORTED_NODE"),
        (fail, "the engine failed"),
        (absent, "needs tensorrt"),
    ],
)
def test_back_to_kernels(
    wrong: Callable[[TensorRT, pytest.MonkeyPatch], None],
    reason: str,
    stream: Path,
    model: Model,
    trt: TensorRT,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The same values, and the reason: on the program, and once per process on stderr."""
    wrong(trt, monkeypatch)
    for _ in range(2):
        with mj.load(stream, device=DEVICE) as session:
            close(session.run(model.sample_inputs)["all_seq_logits"], model)
            assert all(s.engine == "" and reason in s.reason for s in session.program.regions)
    said = [line for line in capfd.readouterr().err.splitlines() if reason in line]
    assert len(said) == 1
    assert said[0].startswith("mj: note: [program/split/region0.onnx] runs by kernels of ours")


def test_spikes(spiking: Path, trt: TensorRT) -> None:
    """A region in front of spiking layers, whose spikes, read by taps, stay the same."""
    assert main(["verify", str(spiking), "--device", DEVICE, "--quiet"]) == 0
    assert trt.runs > 0


def test_taps_and_times(stream: Path, model: Model, trt: TensorRT) -> None:
    """What is inside an engine has no taps; its time is that of the region's first kernel."""
    with mj.load(stream, device=DEVICE) as session:
        first = session.manifest.split.regions[0]
        program = session.program
        program.kernel_times(True)
        session.run(model.sample_inputs)
        times = program.kernel_ns()
        program.kernel_times(False)
        inside = times[first.first_kernel + 1 : first.first_kernel + first.kernels]
        assert times[first.first_kernel] > 10 * np.median(inside)  # one may have been interrupted
        assert times[first.first_kernel + first.kernels] > 0
        kernels = range(first.first_kernel, first.first_kernel + first.kernels)
        tap = next(t.name for i, t in session.manifest.taps() if i in kernels)
        with pytest.raises(UsageError, match="which an engine calculates; set MJ_SPLIT=off"):
            session.run(model.sample_inputs, [tap])


def test_a_callback_of_ones_own(stream: Path, model: Model) -> None:
    """The C API alone: what `mj_set_region` takes, hands over, and gives back."""
    with mj.load(stream, device=DEVICE) as session:
        program, specs = session.program, session.manifest.split.regions[1]
        lib, context = program._lib, program._ctx
        lib.mj_regions.restype = ctypes.c_uint32
        seen: list[int] = []
        answer = 0

        def ones(user: int, stream: int, inputs: object, outputs: object) -> int:
            seen.append(user)
            for spec, address in zip(specs.outputs, outputs, strict=False):
                ctypes.memmove(address, np.ones(spec.shape, spec.dtype).ctypes.data, spec.nbytes)
            return answer

        callback = REGION(ones)
        assert lib.mj_regions(context) == 2
        assert lib.mj_set_region(context, 2, callback, None) == -1
        assert lib.mj_set_region(None, 0, callback, None) == -1
        assert lib.mj_set_region(context, 1, callback, ctypes.c_void_p(7)) == 0
        result = session.run(model.sample_inputs)["all_seq_logits"]
        assert (result == 1).all()
        assert seen == [7] * (len(result) + session.manifest.streaming.delay)
        answer = 1  # "not done": its own kernels run
        close(session.run(model.sample_inputs)["all_seq_logits"], model)
        assert lib.mj_set_region(context, 1, None, None) == 0
        seen.clear()
        close(session.run(model.sample_inputs)["all_seq_logits"], model)
        assert not seen


def test_views(tmp_path: Path, trt: TensorRT) -> None:
    """A view inside a region that the model returns as well, and an input that is an output."""
    x = torch.randn(2, 64, generator=torch.Generator().manual_seed(1))
    module = Views()
    path = build_split(mj.convert(module, example_inputs=(x,)), tmp_path / "v.mjb", 1000)
    with mj.load(path, device=DEVICE) as session:
        assert [s.engine for s in session.program.regions] == ["built"]
        found = session.run({session.inputs[0].name: x.numpy()}).values()
    with torch.no_grad():
        for value, expected in zip(found, module(x), strict=True):
            np.testing.assert_allclose(value, expected.numpy(), rtol=1e-5, atol=1e-5)
    assert trt.runs == 1


def test_refused_when_built() -> None:
    """An output that is a view of the region's input: no engine can write it."""
    model = mj.convert(ViewOfInput(), example_inputs=(torch.zeros(4, 16),))
    target = get_target("jetson-orin")
    split = split_for_tensorrt(model, least_macs=512)
    made = plan_split(model, target, split)
    [region] = made.split.regions
    assert "reshape" in region.operators
    assert (region.kernels, region.refused) == (0, "an output is a view of an input")
    assert made.bounds == (None,)
    plain = make_plan(lower_for_cuda(model.module, target, model.layers), target.alignment)
    assert made.plan.calls == plain.calls


def test_rooms_share_memory_over_time() -> None:
    """The largest lies lowest; what is over before another begins gives its bytes to it."""
    rooms = [_Room(64, 0, 1), _Room(192, 1, 1), _Room(128, 2, 3), _Room(64, 0, 3)]
    assert _arrange(rooms) == 320
    assert [room.offset for room in rooms] == [192, 0, 0, 256]
