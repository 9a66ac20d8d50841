"""float16 programs on an emulated Cortex-A76: products in halves, everything else in float32."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import millijoule as mj
from fixtures.devices import require
from millijoule.session import Session

ROWS, WIDTH = 49, 200
# (inputs, outputs): around vectors of 8, tiles of 16 columns and blocks of 64 products
SIZES = [(1, 1), (8, 7), (15, 17), (63, 16), (64, 33), (65, 15), (192, 192), (200, 20)]
LARGEST = SIZES.index((192, 192))
ROUNDING = 2.0**-11  # of a half, relative


class Layers(nn.Module):
    """Layers side by side on rows and on an image."""

    def __init__(self) -> None:
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(*size) for size in SIZES)
        self.steps = nn.Conv1d(65, 18, 3, padding=1)
        self.direct = nn.Conv2d(17, 40, 3, stride=2, padding=1)
        self.point = nn.Conv2d(17, 9, 1)
        self.depthwise = nn.Conv2d(17, 17, 3, padding=1, groups=17)

    def products(self) -> Iterator[tuple[nn.Module, str]]:
        """Layers that sum products, and what they read."""
        for layer in self.linears:
            yield layer, "x"
        yield self.steps, "steps"
        for layer in (self.direct, self.point, self.depthwise):
            yield layer, "image"

    def forward(self, x: Tensor, image: Tensor) -> tuple[Tensor, ...]:
        """Results of `products`, the first row alone, and what is computed in float32."""
        rows = [layer(x[..., : layer.in_features]) for layer in self.linears]
        images = [self.direct(image), self.point(image), self.depthwise(image)]
        heads = x[:, :, :64].reshape(1, ROWS, 2, 32).transpose(1, 2)
        attended = nn.functional.scaled_dot_product_attention(heads, heads, heads)
        return (
            *rows,
            self.steps(x[..., :65].transpose(1, 2)),
            *images,
            self.linears[LARGEST](x[:, :1, :192]),
            nn.functional.gelu(nn.functional.layer_norm(x, (WIDTH,))).softmax(-1),
            attended,
        )


@pytest.fixture(scope="module")
def case(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Session, Layers, list[Tensor]]]:
    """The program on its device, the module, and inputs that halves hold exactly."""
    require("qemu:cortex-a76")
    torch.manual_seed(0)
    module = Layers().eval().requires_grad_(False)
    inputs = [torch.randn(1, ROWS, WIDTH).half().float(), torch.randn(1, 17, 9, 11).half().float()]
    path = tmp_path_factory.mktemp("half") / "model.mjb"
    model = mj.convert(module, example_inputs=tuple(inputs))
    mj.build(model, target="cortex-a76", dtype="float16", out=path).close()
    with mj.load(path, device="qemu:cortex-a76") as session:
        yield session, module, inputs


@pytest.fixture(scope="module")
def outputs(case: tuple[Session, Layers, list[Tensor]]) -> list[np.ndarray]:
    """What the device computes."""
    session, _, inputs = case
    names = [spec.name for spec in session.inputs]
    return list(session.run(dict(zip(names, [i.numpy() for i in inputs], strict=True))).values())


def test_products(case: tuple[Session, Layers, list[Tensor]], outputs: list[np.ndarray]) -> None:
    """Within 16 roundings of the root of the sum of squared products: what 64 of them add up to.

    The weights are rounded to halves first, as the program stores them.
    """
    _, module, (x, image) = case
    sources = {"image": image, "steps": x[..., :65].transpose(1, 2), "x": x}
    for got, (layer, source) in zip(outputs, module.products(), strict=False):
        operand = sources[source]
        if isinstance(layer, nn.Linear):
            operand = operand[..., : layer.in_features]
        expected, size = (_apply(layer, operand, power) for power in (1, 2))
        allowed = ROUNDING * (np.abs(expected) + 16 * np.sqrt(size)) + 1e-4
        assert got.dtype == np.float32
        assert (np.abs(got - expected) <= allowed).all(), layer


def _apply(layer: nn.Module, x: Tensor, power: int) -> np.ndarray:
    """The layer in float64, or with ``power`` 2 on squares: the sum of its squared products."""
    twin = copy.deepcopy(layer).double()
    with torch.no_grad():
        twin.weight.copy_(layer.weight.half().double() ** power)
        if power == 2:
            twin.bias.zero_()
        return twin(x.double() ** power).numpy()


def test_everything_else_is_float32(
    case: tuple[Session, Layers, list[Tensor]], outputs: list[np.ndarray]
) -> None:
    """Norm, GELU, softmax: rounded where they are stored, not where they are summed."""
    _, module, inputs = case
    *_, row, soft, attended = module(*inputs)
    np.testing.assert_allclose(outputs[-2], soft.numpy(), atol=4 * ROUNDING * float(soft.max()))
    # scores err by what 32 products in halves do, and weights of the mean by as much, relatively
    np.testing.assert_allclose(
        outputs[-1], attended.numpy(), atol=8 * ROUNDING * float(inputs[0].abs().max())
    )
    assert row.shape == outputs[-3].shape


def test_bits_do_not_depend_on_the_number_of_rows(outputs: list[np.ndarray]) -> None:
    np.testing.assert_array_equal(outputs[-3], outputs[LARGEST][:, :1])


def test_instructions_and_types(case: tuple[Session, Layers, list[Tensor]]) -> None:
    """Half an instruction of float32's floor per multiply-add, and half the bytes of weights."""
    session, _, _ = case
    kernels = session.manifest.kernels
    assert session.manifest.target.dtype == "float16"
    linear = max(range(len(kernels)), key=lambda i: kernels[i].multiplies)
    assert kernels[linear].name.endswith("_linear_f16")
    assert kernels[linear].weight_bytes == 2 * 192 * 192 + 4 * 192
    rows = mj.profile(session).to_dict()["instructions"]["kernels"]
    assert rows[linear]["instructions"] <= 1.5 / 8 * kernels[linear].multiplies
