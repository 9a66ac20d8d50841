"""Programs whose sizes vary: any size within the bounds gives what a program of that size gives."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import millijoule as mj
from fixtures.dynamic import (
    LONGEST,
    PLACES,
    SEQ,
    Images,
    Patches,
    dynamic_encoder,
    save_onnx,
    tokens,
)
from fixtures.dynamic import encoder as make_encoder
from fixtures.dynamic import token_tensors as examples
from fixtures.shared import shared
from millijoule import Dim
from millijoule.bundle import Manifest
from millijoule.cli import main
from millijoule.errors import BundleError, UnsupportedError, UsageError
from millijoule.targets.target import get_target
from millijoule.verification import verify

SIZES = (1, 15, 16, 17, 63, 64, 65, LONGEST)


@pytest.fixture(scope="module")
def encoder() -> nn.Module:
    return make_encoder()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared(tmp_path_factory, "dynamic-encoder.mjb", dynamic_encoder)


@pytest.fixture(scope="module")
def session(bundle: Path) -> Iterator[mj.Session]:
    with mj.load(bundle, threads=2) as loaded:
        yield loaded


@pytest.mark.parametrize("steps", SIZES)
def test_every_length_is_what_torch_computes(
    steps: int, encoder: nn.Module, session: mj.Session
) -> None:
    given = tokens(np.random.default_rng(steps), 1, steps)
    with torch.no_grad():
        want = encoder(*map(torch.from_numpy, given.values()))
    got = session.run(given)
    for name, y in want.items():
        assert got[name].shape == tuple(y.shape)
        np.testing.assert_allclose(got[name], y.numpy(), rtol=0, atol=5e-6, err_msg=name)


def test_the_bits_are_those_of_a_program_of_that_size(
    encoder: nn.Module, session: mj.Session, tmp_path: Path
) -> None:
    """Sums run over ascending indices whatever the tiles; 17 has a tail in every one of them."""
    given = tokens(np.random.default_rng(3), 1, 17)
    fixed = mj.convert(encoder, example_inputs=examples(17))
    mj.build(fixed, out=tmp_path / "fixed.mjb").close()
    with mj.load(tmp_path / "fixed.mjb") as same:
        for name, y in same.run(given).items():
            np.testing.assert_array_equal(session.run(given)[name], y, name)


def test_threads_and_rows_change_nothing(bundle: Path, session: mj.Session) -> None:
    given = tokens(np.random.default_rng(5), 3, 33)
    with mj.load(bundle, threads=1) as single:
        one = single.run(given)
    for name, y in session.run(given).items():
        np.testing.assert_array_equal(one[name], y, name)
        alone = session.run({n: x[1:2] for n, x in given.items()})
        np.testing.assert_array_equal(y[1:2], alone[name], name)


def test_manifest_and_taps(session: mj.Session) -> None:
    manifest = session.manifest
    assert session.dims == (SEQ,)
    assert [spec.sizes for spec in session.inputs] == [("1", "seq"), ("1", "seq")]
    assert [spec.shape for spec in session.outputs] == [(1, LONGEST, 3), (1, 3)]
    assert [spec.sizes for spec in session.outputs] == [("1", "seq", "3"), None]
    document = manifest.to_json()
    assert document["schema"] == 2
    assert Manifest.from_json(document) == manifest
    tap = next(name for name in session.taps if name == "layers.0.up")
    value = session.run(tokens(np.random.default_rng(0), 1, 9), [tap])[tap]
    assert value.shape[-2:] == (9, 64)


def test_verify_knows_several_sizes(session: mj.Session) -> None:
    checks = verify(session)
    assert {check.shape[1] for check in checks if check.name == "tokens"} == {1, 24, LONGEST}
    assert all(check.passed for check in checks)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((1, 71), (1, 71)), r"\[ids\] axis 1 \(seq\) must have 1 to 70 elements, but received 71"),
        (((1, 5), (1, 6)), r"\[mask\] axis 1 \(seq\) must have the 5 elements"),
        (((1, 0), (1, 0)), r"\[ids\] must have shape"),
        (((5,), (5,)), r"\[ids\] must have shape"),
    ],
)
def test_sizes_out_of_bounds(
    shapes: tuple[tuple[int, ...], ...], message: str, session: mj.Session
) -> None:
    given = {n: np.ones(s, np.int64) for n, s in zip(("ids", "mask"), shapes, strict=True)}
    with pytest.raises(UsageError, match=message):
        session.run(given)


def test_the_c_api(session: mj.Session) -> None:
    """Sizes start at their largest, refuse what is out of bounds, and shapes follow."""
    lib, context = session.program._lib, session.program._ctx  # type: ignore[attr-defined]
    lib.mj_size.restype = lib.mj_extent.restype = ctypes.c_int64
    lib.mj_tensor_bytes.restype = ctypes.c_size_t
    with mj.load(session.bundle.path) as fresh:
        ctx = fresh.program._ctx  # type: ignore[attr-defined]
        assert lib.mj_size(ctx, 0) == LONGEST
    session.run(tokens(np.random.default_rng(0), 1, 11))
    assert lib.mj_size(context, 0) == 11
    assert [lib.mj_extent(context, 2, axis) for axis in range(4)] == [1, 11, 3, -1]
    assert [lib.mj_tensor_bytes(context, i) for i in range(5)] == [88, 88, 132, 12, 0]
    for dim, size in ((0, 0), (0, LONGEST + 1), (0, -1), (1, 5)):
        assert lib.mj_set_size(context, dim, ctypes.c_int64(size)) == -1
    assert (lib.mj_size(context, 0), lib.mj_size(context, 1)) == (11, -1)


@pytest.mark.parametrize("threads", [1, 2])
def test_images_in_any_number(threads: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, batch = Images().eval(), Dim("batch", 1, 6)
    model = mj.convert(module, example_inputs=torch.randn(2, 3, 20, 20), dynamic={"x": {0: batch}})
    mj.build(model, out=tmp_path / "images.mjb", threads=threads).close()
    with mj.load(tmp_path / "images.mjb", threads=threads) as session:
        assert session.batch == 6
        for rows in (1, 2, 5, 6, 7, 15):  # beyond 6 in turn
            x = torch.randn(rows, 3, 20, 20)
            with torch.no_grad():
                want = module(x).numpy()
            np.testing.assert_allclose(session.run({"x": x.numpy()})["y"], want, rtol=0, atol=2e-6)


@pytest.mark.parametrize("target", ["host", "x86-64-v3"])
def test_a_vision_transformer_for_one_to_four_images(target: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, batch = Patches().eval(), Dim("batch", 1, 4)
    model = mj.convert(module, example_inputs=torch.randn(2, 3, 16, 16), dynamic={"x": {0: batch}})
    mj.build(model, target=target, out=tmp_path / "vit.mjb").close()
    with mj.load(tmp_path / "vit.mjb", threads=2) as session:
        x = torch.randn(9, 3, 16, 16)
        with torch.no_grad():
            want = module(x).numpy()
        every = session.run({"x": x.numpy()})["y"]
        np.testing.assert_allclose(every, want, rtol=0, atol=5e-6)
        for rows in (1, 2, 3, 4):
            np.testing.assert_array_equal(session.run({"x": x[:rows].numpy()})["y"], every[:rows])


def test_transformed_filters_give_the_bits_of_a_fixed_batch(tmp_path: Path) -> None:
    """Winograd's form: whole rounds of tiles, a short last one, and rounds of several images.

    Threads have rounds of their own in the first layer and share them in the second.
    """
    torch.manual_seed(0)
    layers = nn.Conv2d(32, 40, 3, padding=1), nn.ReLU(), nn.Conv2d(40, 896, 3, padding=1)
    module = nn.Sequential(*layers).eval()
    x = torch.randn(7, 32, 10, 9)
    places = {"input": {0: Dim("batch", 1, 7)}}
    mj.build(mj.convert(module, example_inputs=x, dynamic=places), out=tmp_path / "any.mjb").close()
    with mj.load(tmp_path / "any.mjb", threads=2) as session:
        weights = sum(k.weight_bytes for k in session.manifest.kernels)
        taken = weights > 1.5 * 4 * 9 * (32 * 40 + 40 * 896)
        assert taken == (get_target("host").isa.name in ("avx2", "avx512"))
        for rows in (1, 4, 7):
            fixed = mj.convert(module, example_inputs=x[:rows])
            mj.build(fixed, out=tmp_path / f"{rows}.mjb").close()
            with mj.load(tmp_path / f"{rows}.mjb", threads=1) as same:
                given = {session.inputs[0].name: x[:rows].numpy()}
                np.testing.assert_array_equal(
                    *(next(iter(s.run(given).values())) for s in (session, same))
                )


def test_onnx_with_two_named_dimensions(tmp_path: Path) -> None:
    path, out = tmp_path / "model.onnx", tmp_path / "model.mjb"
    save_onnx(path)
    named = ["--dim", "batch=1..4", "--dim", f"seq=1..{LONGEST}"]
    assert main(["build", str(path), "-o", str(out), "--quiet", *named]) == 0
    reference = onnxruntime.InferenceSession(str(path))
    with mj.load(out) as session:
        assert [str(dim) for dim in session.dims] == ["batch=1..4", "seq=1..70"]
        assert all(check.passed for check in verify(session))
        for rows, steps in ((1, 1), (2, 15), (3, 17), (4, 65), (1, 70), (7, 16)):
            x = np.random.default_rng(steps).standard_normal((rows, steps, 16)).astype(np.float32)
            got = session.run({"x": x})
            for name, y in zip(("y", "mean"), reference.run(None, {"x": x}), strict=True):
                np.testing.assert_allclose(got[name], y, rtol=0, atol=1e-5, err_msg=name)


def test_a_chain_whose_rows_are_two_dimensions(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(9, 33), nn.SiLU(), nn.Linear(33, 5), nn.Softmax(-1)).eval()
    places = {"input": [Dim("b", 1, 3), Dim("n", 2, 40), None]}
    model = mj.convert(module, example_inputs=torch.randn(2, 4, 9), dynamic=places)
    mj.build(model, out=tmp_path / "chain.mjb").close()
    with mj.load(tmp_path / "chain.mjb") as session:
        for shape in ((1, 2, 9), (3, 13, 9), (2, 40, 9)):
            x = torch.randn(shape)
            with torch.no_grad():
                want = module(x).numpy()
            np.testing.assert_allclose(
                session.run({"input": x.numpy()})["y"], want, rtol=0, atol=1e-6
            )


@pytest.mark.parametrize(
    ("dynamic", "message"),
    [
        ({"x": {0: Dim("b", 1, 4)}}, "inputs are ids, mask"),
        ({"ids": {2: Dim("b", 1, 4)}}, "axis of ids must be 0 to 1"),
        ({"ids": {1: Dim("seq", 1, 4)}}, "has size 24 along axis 1, outside of seq=1..4"),
        ({"ids": {1: SEQ}, "mask": {1: Dim("seq", 1, 9)}}, "one dimension has two bounds"),
        ({"ids": {1: 0.5}}, r"must be Dim\(name, min, max\)"),
        ([Dim("seq", 1, 4)], "names no dimension 'seq'"),
        ("seq", "must be a dict by input name"),
    ],
)
def test_what_convert_refuses(dynamic: Any, message: str, encoder: nn.Module) -> None:
    with pytest.raises((UsageError, UnsupportedError), match=message):
        mj.convert(encoder, example_inputs=examples(24), dynamic=dynamic)


class Causal(nn.Module):
    """Attention of every step to those before it."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(32, 96)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [B, N, 32] → [B, 2, N, 16]."""
        parts = self.qkv(x).view(*x.shape[:2], 3, 2, 16).permute(2, 0, 3, 1, 4)
        return nn.functional.scaled_dot_product_attention(*parts, is_causal=True)


def test_causal_attention(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Causal().eval()
    model = mj.convert(module, example_inputs=torch.randn(1, 12, 32), dynamic={"x": {1: SEQ}})
    mj.build(model, out=tmp_path / "causal.mjb").close()
    with mj.load(tmp_path / "causal.mjb") as session:
        for steps in SIZES:
            x = torch.randn(1, steps, 32)
            with torch.no_grad():
                want = module(x).numpy()
            np.testing.assert_allclose(
                session.run({"x": x.numpy()})["y"], want, rtol=0, atol=1e-6, err_msg=str(steps)
            )


class Slices(nn.Module):
    """Pieces of axes that vary, of a table, and from either end."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.randn(1, LONGEST, 4))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """x [B, N, 4]."""
        y = x + self.places[:, : x.shape[1]]
        steps = y[:, 1:] - y[:, :-1]
        return {"steps": steps, "y": y[:, 2:], "first": y[:, :2], "last": y[:, -2:], "all": y[:, :]}


def test_slices(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Slices().eval()
    dim = Dim("n", 4, LONGEST)
    model = mj.convert(module, example_inputs=torch.randn(1, 9, 4), dynamic={"x": {1: dim}})
    mj.build(model, out=tmp_path / "slices.mjb").close()
    with mj.load(tmp_path / "slices.mjb") as session:
        for steps in (4, 17, LONGEST):
            x = torch.randn(1, steps, 4)
            got = session.run({"x": x.numpy()})
            for name, y in module(x).items():
                np.testing.assert_array_equal(got[name], y.detach().numpy(), name)


def test_a_model_that_needs_one_size() -> None:
    class Fixed(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.reshape(2, 8)

    with pytest.raises(UnsupportedError, match=r"\[dynamic\] torch.export cannot trace Fixed"):
        mj.convert(Fixed(), example_inputs=torch.ones(4, 4), dynamic={"x": {0: Dim("b", 1, 8)}})


@pytest.mark.parametrize(
    ("target", "dtype"),
    [("cortex-m4", None), ("tensorrt", None), ("jetson-orin", None), ("host", "int8")],
)
def test_targets_that_want_fixed_sizes(
    target: str, dtype: str | None, encoder: nn.Module, tmp_path: Path
) -> None:
    model = mj.convert(encoder, example_inputs=examples(24), dynamic=PLACES)
    with pytest.raises(UnsupportedError, match=r"\[dynamic\] .*seq=1..70"):
        mj.build(model, target=target, dtype=dtype, out=tmp_path / "no.mjb")
    assert not list(tmp_path.iterdir())


def test_families_whose_kernels_have_one_size() -> None:
    with pytest.raises(UnsupportedError, match=r"\[dynamic\] kernels of family lmuformer"):
        mj.convert("kws-digits", dynamic=[Dim("batch", 1, 4)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda io: io["dims"].append({"name": "b", "min": 1, "max": 2}), "must be a size of an"),
        (lambda io: io["dims"].append(io["dims"][0]), "names must differ"),
        (lambda io: io["dims"][0].update(max=1 << 40), "must be an integer from"),
        (lambda io: io["dims"][0].update(max=LONGEST + 1), "has a largest size of"),
        (lambda io: io["dims"][0].update(name="a b"), "an identifier"),
        (lambda io: io["dims"][0].update(min=0), "must be an integer from 1"),
        (lambda io: io["inputs"][0].update(sizes=["1", "2*seq"]), "must be one dimension|largest"),
        (lambda io: io["inputs"][0].update(sizes=["1"]), "2 texts, one per axis"),
        (lambda io: io["outputs"][0].update(sizes=["1", "seq**9", "3"]), "no product of sizes"),
        (lambda io: io["outputs"][0].update(sizes=["1", "other", "3"]), "is no dimension"),
        (lambda io: io["outputs"][0].update(sizes=["1", "seq+-1*seq+0", "3"]), "largest size"),
        (lambda io: io["outputs"][0].update(sizes=["1", "9" * 40, "3"]), "too large a product"),
    ],
)
def test_hostile_manifests(change: Any, message: str, session: mj.Session) -> None:
    document = json.loads(session.manifest.to_bytes())
    change(document["io"])
    with pytest.raises(BundleError, match=message) as error:
        Manifest.from_json(document)
    assert "\n" not in str(error.value)
