"""The passes of a GPU target, in order: those of a CPU on whole operators, the rest is bound.

Kernels are written for an `Isa` whose ``gpu`` is true. What has none (attention, pooling, resizing,
concatenation) stays an ordinary operator, is fused with its neighbours, and bound by `schedule`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tvm
from tvm import relax

from millijoule.targets.jetson.cuda import cuda_target
from millijoule.targets.jetson.schedule import schedule
from millijoule.targets.kernels.gpu import GPU_KERNELS
from millijoule.targets.passes.binary import lower_binary
from millijoule.targets.passes.conv import lower_conv
from millijoule.targets.passes.dense import lower_dense
from millijoule.targets.passes.fold_norm import fold_norm
from millijoule.targets.passes.layout import channels_last
from millijoule.targets.passes.ordering import lower_ordering_for
from millijoule.targets.passes.pipeline import fuse, plan_memory
from millijoule.targets.passes.products import lower_products
from millijoule.targets.passes.scatter import lower_scatter_for
from millijoule.targets.passes.schedule import Scheduled, name_rest
from millijoule.targets.passes.vocabulary import lower_vocabulary
from millijoule.targets.target import Target


def lower_for_cuda(module: tvm.IRModule, target: Target, layers: Mapping[str, str]) -> tvm.IRModule:
    """Relax module of whole operators → bound kernels and planned memory, ready for `cpu.plan`.

    ``layers`` names the torch module behind a Relax variable (see `converters.importer`).
    """
    transform = relax.transform
    passes = [
        transform.CanonicalizeBindings(),
        transform.DeadCodeElimination(),
        lower_products(target.isa, layers),
        transform.DeadCodeElimination(),
        fold_norm(),
        channels_last(),
        transform.CanonicalizeBindings(),  # cancelled transposes leave aliases behind
        transform.DeadCodeElimination(),
        lower_ordering_for(target.isa),
        lower_scatter_for(target.isa),
        lower_conv(target.isa, layers),
        lower_binary(target.isa),
        lower_dense(target.isa, layers),
        lower_vocabulary(GPU_KERNELS, target.isa),
        *fuse(target.isa),
        name_rest(layers, lambda _, func, __: Scheduled(func)),
        transform.DeadCodeElimination(),
        _bind(cuda_target(target.sm)),
        *plan_memory(),
    ]
    return tvm.transform.Sequential(passes)(module)


def _bind(backend: Any) -> tvm.transform.Pass:
    """`schedule` as a pass."""

    @tvm.transform.module_pass(opt_level=0, name="BindThreads")
    def bind(module: tvm.IRModule, _: Any) -> tvm.IRModule:
        return schedule(module, backend)

    return bind
