"""A pass that rewrites function ``main`` and may add kernels to its module."""

from __future__ import annotations

from collections.abc import Callable

import tvm
from tvm.relax.expr_functor import PyExprMutator


def rewrite_main(
    name: str, mutator_of: Callable[[tvm.IRModule], PyExprMutator]
) -> tvm.transform.Pass:
    """The pass ``name``; ``mutator_of(module)`` is made anew for every module."""

    @tvm.transform.module_pass(opt_level=0, name=name)
    def run(mod: tvm.IRModule, _: tvm.transform.PassContext) -> tvm.IRModule:
        mutator = mutator_of(mod)
        main = mutator.visit_expr(mod["main"])
        result = mutator.builder_.get()
        result.update_func(result.get_global_var("main"), main)
        return result

    return run
