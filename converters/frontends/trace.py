"""Recording a forward pass with its values: torch.fx, but sizes are numbers and loops unroll.

A proxy here knows the tensor it stands for, so ``for t in range(x.size(0))`` or ``for frame in x``
run as they stand. Layers of torch.nn and the modules that the caller names stay whole.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

VALUE = "mj.value"  # key in node.meta of the value that a node had
_SIZES = ("size", "dim", "numel", "nelement", "ndimension")
_ATTRIBUTES = ("shape", "dtype", "device", "ndim", "requires_grad", "is_cuda", "layout")


class ValueProxy(fx.Proxy):
    """A proxy that knows its value."""

    value: Any = None

    def __getattr__(self, name: str) -> Any:
        if name in _ATTRIBUTES:
            return getattr(self.value, name)
        return super().__getattr__(name)

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[Any]:
        return iter([self[i] for i in range(len(self.value))])


class ValueTracer(fx.Tracer):
    """Records ``root(*inputs)``; modules for which ``is_whole(module)`` holds are not entered."""

    def __init__(self, inputs: Sequence[Tensor], is_whole: Callable[[nn.Module], bool]) -> None:
        super().__init__()
        self._inputs, self._is_whole = list(inputs), is_whole

    def record(self, root: nn.Module) -> fx.Graph:
        """The graph; every node's value is in ``node.meta[VALUE]``."""
        with torch.no_grad():
            return self.trace(root)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Layers of torch.nn, and what the caller wants whole."""
        return self._is_whole(m) or super().is_leaf_module(m, module_qualified_name)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Parameters are used as they are; they become constants where a graph needs them."""
        return attr_val

    def create_arg(self, a: Any) -> Any:
        """Tensors become constants, with the value that they have now."""
        argument = super().create_arg(a)
        if isinstance(a, Tensor) and isinstance(argument, fx.Node):
            argument.meta[VALUE] = a.detach().clone()
        return argument

    def proxy(self, node: fx.Node) -> ValueProxy:
        """A proxy without a value yet; `create_proxy` adds it."""
        return ValueProxy(node, self)

    def call_module(
        self, m: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Modules on plain tensors just run."""
        found: list[ValueProxy] = []
        fx.node.map_aggregate(
            (args, kwargs), lambda a: found.append(a) if isinstance(a, ValueProxy) else None
        )
        if not found:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def create_proxy(
        self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **more: Any
    ) -> Any:
        """Record a node and compute its value; sizes are values only."""
        if kind == "placeholder":
            return self._placeholder(kind, target, args, kwargs, *rest, **more)
        values, named = fx.node.map_aggregate((args, kwargs), _value_of)
        if kind == "call_method" and target in _SIZES:
            return getattr(values[0], target)(*values[1:], **named)
        proxy = super().create_proxy(kind, target, args, kwargs, *rest, **more)
        proxy.value = self._compute(kind, target, values, named)
        proxy.node.meta[VALUE] = proxy.value
        return proxy

    def _placeholder(
        self, kind: str, target: str, args: Any, kwargs: Any, *rest: Any, **more: Any
    ) -> Any:
        """The next input; without one, the argument's default or None, which is then no node."""
        if target.startswith("*"):
            return super().create_proxy(kind, target, args, kwargs, *rest, **more)
        if not self._inputs:
            default = args[0] if args else None
            return None if default is inspect.Parameter.empty else default
        proxy = super().create_proxy(kind, target, args, kwargs, *rest, **more)
        proxy.value = self._inputs.pop(0)
        proxy.node.meta[VALUE] = proxy.value
        return proxy

    def _compute(self, kind: str, target: Any, args: Any, kwargs: Any) -> Any:
        if kind == "call_function":
            return target(*args, **kwargs)
        if kind == "call_method":
            return getattr(args[0], target)(*args[1:], **kwargs)
        if kind == "call_module":
            return self.root.get_submodule(target).forward(*args, **kwargs)
        assert kind == "get_attr"
        return operator.attrgetter(target)(self.root)


def _value_of(argument: Any) -> Any:
    return argument.value if isinstance(argument, ValueProxy) else argument
