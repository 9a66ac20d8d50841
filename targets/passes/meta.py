"""What a kernel call means, carried through lowering as an attribute of its PrimFunc."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tvm import relax, tirx

from millijoule.converters.importer import relax_type
from millijoule.converters.ops import TensorType, VocabularyOp
from millijoule.converters.ops.vocabulary import Attrs
from millijoule.sizes import Dim, Size, parse_size
from millijoule.targets.kernels import KernelForm

META_KEY = "mj.meta"


@dataclass(frozen=True)
class KernelMeta:
    """Operator, layer and arithmetic of one call; ``results`` counts outputs before scratch.

    ``named``: the first result is what the layer returns, so that it can be read back as that.
    ``half``: it multiplies in float16; the name of its symbol ends in ``_f16``. ``tuned``: the
    digest of the tuning record that its schedule comes from, if one does. Arithmetic that varies
    with the sizes of a run is a `Size` (typed ``int``, as shapes are).
    """

    op: str
    layer: str
    results: int
    multiplies: int = 0
    adds: int = 0
    binary_ops: int = 0
    spike_operand: int | None = None
    adds_per_spike: float = 0.0
    tap: str | None = None
    second_tap: str | None = None
    scheduled: bool = True
    named: bool = True
    half: bool = False
    tuned: str = ""

    @staticmethod
    def of_vocabulary(
        op: VocabularyOp, attrs: Attrs, types: Sequence[TensorType], layer: str, scheduled: bool
    ) -> KernelMeta:
        """Meta of a vocabulary op's call."""
        counts = op.counts(attrs, types)
        second = op.second_tap(attrs) if op.second_tap else None
        return KernelMeta(
            op=op.name,
            layer=layer,
            results=len(op.results(attrs, types)),
            multiplies=counts.multiplies,
            adds=counts.adds,
            binary_ops=counts.binary_ops,
            spike_operand=counts.spike_operand,
            adds_per_spike=counts.adds_per_spike,
            tap=f"{op.tap}:{layer}" if op.tap else None,
            second_tap=f"{second}:{layer}" if second else None,
            scheduled=scheduled,
        )

    @staticmethod
    def of_function(func: tirx.PrimFunc) -> KernelMeta | None:
        """The meta that `call_kernel` attached, if any."""
        if not func.attrs or META_KEY not in func.attrs:
            return None
        return KernelMeta(**json.loads(str(func.attrs[META_KEY]), object_hook=_size_from))


def with_meta(func: tirx.PrimFunc, meta: KernelMeta) -> tirx.PrimFunc:
    """``func`` that carries ``meta``."""
    return func.with_attr(META_KEY, json.dumps(asdict(meta), sort_keys=True, default=_plain))


def _plain(value: Any) -> Any:
    """A `Size` as JSON values."""
    if not isinstance(value, Size):
        raise TypeError(f"{value!r} cannot be an attribute")
    return {"size": str(value), "dims": [(d.name, d.min, d.max) for d in sorted(value.dims)]}


def _size_from(value: dict[str, Any]) -> Any:
    """What `_plain` wrote; any other object stays as it is."""
    if value.keys() != {"size", "dims"}:
        return value
    return parse_size(value["size"], {name: Dim(name, a, b) for name, a, b in value["dims"]})


def call_kernel(
    builder: relax.BlockBuilder,
    form: KernelForm,
    args: Sequence[relax.Expr],
    results: Sequence[relax.TensorType],
    meta: KernelMeta,
) -> relax.Expr:
    """Emit the call of a scheduled kernel and return its result: a tensor, or a tuple if several.

    Scratch buffers are further outputs of the call, so that the memory plan provides them.
    """
    func = with_meta(form.func, meta)
    name = str(func.attrs["global_symbol"]) if "global_symbol" in func.attrs else meta.op
    gv = builder.add_func(func, name)
    outputs: list[Any] = [*results, *(relax_type(t) for t in form.scratch)]
    if len(outputs) == 1:
        return relax.call_tir(gv, list(args), outputs[0])
    both = builder.emit(relax.call_tir(gv, list(args), outputs))
    if len(results) == 1:
        return relax.TupleGetItem(both, 0)
    return relax.Tuple([builder.emit(relax.TupleGetItem(both, i)) for i in range(len(results))])
