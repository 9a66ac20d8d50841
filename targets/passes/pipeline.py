"""The passes of a CPU target, in order: ours on whole operators, then TVM's towards static code."""

from __future__ import annotations

from collections.abc import Mapping

import tvm
from tvm import relax

from millijoule.targets.kernels import CPU_KERNELS
from millijoule.targets.passes.attention import lower_attention
from millijoule.targets.passes.binary import lower_binary
from millijoule.targets.passes.concat import lower_concat
from millijoule.targets.passes.conv import lower_conv
from millijoule.targets.passes.dense import lower_dense
from millijoule.targets.passes.fold_norm import fold_norm
from millijoule.targets.passes.group_norm import lower_group_norm
from millijoule.targets.passes.layer_norm import lower_layer_norm
from millijoule.targets.passes.layout import channels_last
from millijoule.targets.passes.legalise import legalise
from millijoule.targets.passes.ordering import lower_ordering
from millijoule.targets.passes.pool import lower_pool
from millijoule.targets.passes.products import lower_products
from millijoule.targets.passes.reshape import merge_reshapes
from millijoule.targets.passes.resize import lower_resize
from millijoule.targets.passes.scatter import lower_scatter
from millijoule.targets.passes.schedule import Tuned, schedule_rest
from millijoule.targets.passes.storage import store_half
from millijoule.targets.passes.vocabulary import lower_vocabulary
from millijoule.targets.target import Isa, Target


def lower_for_cpu(
    module: tvm.IRModule,
    target: Target,
    layers: Mapping[str, str],
    *,
    naive: bool = False,
    half: bool = False,
    tuned: Tuned | None = None,
) -> tvm.IRModule:
    """Relax module of whole operators → kernels and planned memory, ready for `cpu.plan`.

    ``layers`` names the torch module behind a Relax variable (see `converters.importer`).
    ``naive``: leave our kernels of dense layers and vocabulary ops out. ``half``: keep weights and
    what lies between kernels in float16 (see `storage`). ``tuned``: asked for schedules in front of
    the rules.
    """
    transform = relax.transform
    passes = [
        transform.CanonicalizeBindings(),
        transform.DeadCodeElimination(),
        *([] if naive else _products(target.isa, layers, half)),
        fold_norm(),
        channels_last(),
        transform.CanonicalizeBindings(),  # cancelled transposes leave aliases behind
        transform.DeadCodeElimination(),
        lower_ordering,
        lower_scatter,
        lower_concat(target.isa),
        *([] if naive else _kernels(target.isa, layers, half)),
        lower_vocabulary({} if naive else CPU_KERNELS, target.isa),
        *fuse(target.isa),
        *([] if naive else [schedule_rest(target, layers, tuned), transform.DeadCodeElimination()]),
        *([store_half(), transform.DeadCodeElimination()] if half else []),
        *plan_memory(),
    ]
    with target.tvm():
        return tvm.transform.Sequential(passes)(module)


def fuse(isa: Isa) -> list[tvm.transform.Pass]:
    """What is left of ordinary operators → fused TIR functions."""
    transform = relax.transform
    return [
        merge_reshapes(),
        transform.CanonicalizeBindings(),
        transform.DeadCodeElimination(),
        transform.FoldConstant(),
        legalise(isa),
        transform.AnnotateTIROpPattern(),
        transform.FoldConstant(),
        transform.FuseOps(),
        transform.FuseTIR(),
        transform.DeadCodeElimination(),
        transform.RewriteDataflowReshape(),  # a reshape is a view, not a kernel
    ]


def plan_memory() -> list[tvm.transform.Pass]:
    """Calls in order, on storage with offsets."""
    transform = relax.transform
    return [
        transform.ToNonDataflow(),
        transform.RemovePurityChecking(),
        transform.CallTIRRewrite(),
        transform.CanonicalizeBindings(),
        transform.StaticPlanBlockMemory(),
    ]


def _products(isa: Isa, layers: Mapping[str, str], half: bool) -> list[tvm.transform.Pass]:
    """Passes over products of computed values, in front of what cancels transposes."""
    clean = relax.transform.DeadCodeElimination()
    return [lower_attention(isa, layers, half=half), clean, lower_products(isa, layers), clean]


def _kernels(isa: Isa, layers: Mapping[str, str], half: bool) -> list[tvm.transform.Pass]:
    """Passes that replace ordinary operators by kernels."""
    return [
        lower_conv(isa, layers, half=half),
        lower_pool(isa),
        lower_resize(isa),
        lower_binary(isa),
        lower_dense(isa, layers, half=half),
        lower_layer_norm(isa, layers),
        lower_group_norm(isa, layers),
        relax.transform.DeadCodeElimination(),  # additions that norms took along
    ]
