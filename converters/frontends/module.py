"""Any torch module: torch.export, then `import_program`.

The model's inputs are named like the arguments of ``forward``; its outputs are the keys of the dict
or dataclass that ``forward`` returns, else ``y`` or ``y0, y1, …`` (see `results.named_outputs`).
Shapes are those of the example inputs, and axis 0 is the batch. Modules with snnTorch neurons take
their own way, see `snntorch`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from millijoule.converters.dynamic import Dynamic
from millijoule.converters.frontends.examples import Examples, Flat, read_examples
from millijoule.converters.frontends.exported import first_line, other_sizes, output_types, trace
from millijoule.converters.frontends.results import named_outputs
from millijoule.converters.frontends.snntorch import convert_snntorch, has_neurons
from millijoule.converters.importer import import_program
from millijoule.converters.macs import count_macs
from millijoule.converters.model import Model, Sample
from millijoule.converters.ops import TensorType
from millijoule.errors import ModelError, UnsupportedError, UsageError

FAMILY = "torch"


def convert_module(
    module: Any,
    example_inputs: Any,
    *,
    name: str | None = None,
    streaming: bool = False,
    batch: int = 1,
    dynamic: Dynamic = Dynamic(),  # noqa: B008 (frozen)
) -> Model:
    """Convert a torch module, or a NIR graph.

    Args:
        module: an ``nn.Module``, or a ``nir.NIRGraph``. It is left as it is; training mode is
            ignored.
        example_inputs: tensors (or arrays) of the shapes to build for, in the order of ``forward``;
            a single tensor stands for itself; a dict, alone or as the last item, holds keyword
            arguments, of which numbers, strings, bools and None stay constants. The tensors
            become the bundle's sample.
        name: name of the model (default: the class's).
        streaming: only for spiking networks.
        batch: 1 keeps the batch of the example; another number repeats (or cuts) its rows.
        dynamic: axes of inputs whose size may vary. Examples need sizes within the bounds.

    Raises ModelError for bad examples or a module that does not run, UnsupportedError for an
    operator that cannot be imported (naming it and its source line), and for streaming of a module
    that has no steps.
    """
    if type(module).__module__.split(".")[0] == "nir":
        from millijoule.converters.frontends.nir import convert_nir

        return convert_nir(
            module, example_inputs=example_inputs, name=name, streaming=streaming, batch=batch
        )
    if not isinstance(module, nn.Module):
        raise ModelError(
            f"[module] source must be a torch.nn.Module or a nir.NIRGraph, "
            f"but is {type(module).__name__}"
        )
    name = name or type(module).__name__
    dynamic = dynamic.placed({})  # a module names no dimensions
    examples = read_examples(module, example_inputs)
    if dynamic and (streaming or has_neurons(module)):
        raise UnsupportedError(
            f"[dynamic] {name} is a spiking network, whose time loop has a fixed length; build it "
            "for a fixed size, or with --streaming for any length"
        )
    if has_neurons(module):
        tensors = list(examples.tensors.values())
        return convert_snntorch(module, tensors, name=name, streaming=streaming, batch=batch)
    if streaming:
        raise UnsupportedError(
            f"[streaming] {name} is an ordinary module, which has no step form; build it without "
            "--streaming, or write it as a spiking network"
        )
    if dynamic and batch != 1:
        raise UsageError("[dynamic] batch is fixed, so make axis 0 dynamic, or leave batch out")
    return _convert(module, examples.rows(batch), name, dynamic)


def _convert(module: nn.Module, examples: Examples, name: str, dynamic: Dynamic) -> Model:
    was_training = {path for path, m in module.named_modules() if m.training}
    try:
        return _export(module.eval(), examples, name, dynamic)
    finally:
        for path, m in module.named_modules():
            m.training = path in was_training


def _export(module: nn.Module, examples: Examples, name: str, dynamic: Dynamic) -> Model:
    inputs = tuple(examples.tensors.values())
    outputs = _run(module, examples, name)
    program, symbols = trace(Flat(module, examples).eval(), examples.tensors, dynamic, name)
    relax, layers = import_program(program, symbols)
    macs = count_macs(module, lambda: examples.call(module, inputs))
    more = tuple(
        Sample(_arrays(x), _arrays(_run(module, examples.of(x), name)))
        for x in other_sizes(examples.tensors, dynamic)
    )
    return Model(
        name=name,
        module=relax,
        layers=layers,
        inputs=tuple(
            (n, TensorType(dynamic.shape(n, x.shape), _type(x).dtype))
            for n, x in examples.tensors.items()
        ),
        outputs=output_types(outputs, relax),
        sample_inputs=_arrays(examples.tensors),
        sample_outputs=_arrays(outputs),
        more_samples=more,
        family=FAMILY,
        parameters=sum(p.numel() for p in module.parameters()),
        reference_macs={path: n // inputs[0].shape[0] for path, n in macs.items()},
    )


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: x.numpy() for name, x in tensors.items()}


def _run(module: nn.Module, examples: Examples, name: str) -> dict[str, Tensor]:
    """Outputs by name; ModelError if the module fails on its examples."""
    try:
        with torch.no_grad():
            returned = examples.call(module, list(examples.tensors.values()))
    except Exception as error:  # user code may raise anything
        raise ModelError(
            f"[module] {name} fails on its example inputs {examples.shapes}: {first_line(error)}"
        ) from error
    outputs = named_outputs(returned)
    for key, value in outputs.items():
        if not isinstance(value, Tensor):
            raise UnsupportedError(
                f"[module] output {key!r} of {name} must be a tensor, but is {type(value).__name__}"
            )
        if not value.isfinite().all():
            raise ModelError(f"[module] output {key!r} of {name} is NaN or infinite on the example")
    return outputs


def _type(tensor: Tensor) -> TensorType:
    return TensorType(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
