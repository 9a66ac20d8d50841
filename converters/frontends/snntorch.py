"""snnTorch networks: modules with ``Leaky`` or ``Synaptic`` neurons.

Two forms are understood. A module that computes *one step* (``nn.Sequential`` with
``init_hidden=True``, or ``forward(x, mem1, mem2, …)`` that passes states through) becomes a network
over ``x [B, N, F…]`` with outputs

- ``counts [B, C]``: spikes of the result summed over the steps (streaming: so far),
- ``spikes [B, N, C]``: the spikes themselves (streaming: of this step), 0 or 1, or the neuron's
  graded value,
- ``membrane [B, N, C]``: its potential, if the module returns it,

or ``y [B, N, …]`` where a step's result is no spikes. A module whose ``forward`` *loops over the
steps* gives what it returns (``y``, ``y0``, ``y1``… or the keys of a dict), batch first.
Streams start from zero states; states that a module was left with do not matter.

Equations of the neurons: Eshraghian et al. 2023, as snnTorch 1.0 computes them (the potential is
compared with ``>``; a delayed reset acts in the step after the spike). Source of the structure: the
module is recorded with its example input (see `trace`), folded (`unroll`), and the result is
compared with the module itself in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from millijoule.converters.frontends.neurons import NeuronSpec
from millijoule.converters.frontends.nodes import refuse
from millijoule.converters.frontends.rebuild import rebuild
from millijoule.converters.frontends.results import repeat_rows
from millijoule.converters.frontends.snntorch_neurons import fresh_copy, is_neuron, neuron_spec
from millijoule.converters.frontends.spiking import spiking_model
from millijoule.converters.macs import count_macs
from millijoule.converters.model import Model
from millijoule.errors import ModelError

VARIANT = "snntorch"


def has_neurons(module: nn.Module) -> bool:
    """Whether snnTorch neurons are in ``module``."""
    return any(is_neuron(m) for m in module.modules())


def convert_snntorch(
    module: nn.Module,
    example_inputs: Sequence[Any],
    *,
    name: str,
    streaming: bool = False,
    batch: int = 1,
) -> Model:
    """Convert a module with snnTorch neurons; see the module docstring for inputs and outputs.

    Args:
        example_inputs: the input of ``forward`` for modules that loop over time (two steps at
            least), ``x [B, N, F…]`` for modules that compute one step. States are left out.
        batch: 1 keeps the batch of the example; another number repeats (or cuts) its rows.

    Raises UnsupportedError for what cannot be rebuilt exactly, ModelError for unusable examples.
    """
    x = _only_input(example_inputs)
    specs = {path: neuron_spec(path, m) for path, m in module.named_modules() if is_neuron(m)}
    rebuilt = rebuild(module, x, specs)
    if batch not in (1, rebuilt.x.shape[0]):
        rows = repeat_rows(rebuilt.x, batch, 0)
        axis = rebuilt.net.time_axis
        rebuilt = rebuild(module, rows if axis is None else rows.movedim(1, axis), specs)
    return spiking_model(
        rebuilt.net,
        rebuilt.x,
        streaming=streaming,
        name=name,
        variant=VARIANT,
        hparams={"neurons": {path: _describe(spec) for path, spec in specs.items()}},
        parameters=sum(p.numel() for p in module.parameters()),
        reference_macs=_reference_macs(module, rebuilt.run, rebuilt.x.shape[0]),
    )


def _describe(spec: NeuronSpec) -> dict[str, Any]:
    """A neuron's rule for the manifest."""
    rule = spec.rule
    return {
        "model": "synaptic" if rule.synaptic else "leaky",
        "reset": rule.reset,
        "delayed": rule.delayed,
    }


def _only_input(example_inputs: Sequence[Any]) -> Tensor:
    if not example_inputs or not all(isinstance(x, Tensor) for x in example_inputs):
        raise ModelError("[snntorch] example_inputs must be a tuple of tensors, (x,)")
    x, *states = example_inputs
    if any(s.count_nonzero() for s in states):
        raise refuse("example states are not zero", "give the input only; states start at zero")
    if not x.is_floating_point():
        raise refuse(f"the example input is {x.dtype}", "give float32 inputs")
    return x.detach().float()


def _reference_macs(
    module: nn.Module, run: Callable[[nn.Module], Any], batch: int
) -> dict[str, int]:
    """Dense MACs of one sample over all steps, counted on the module itself."""
    copied = fresh_copy(module)
    return {path: macs // batch for path, macs in count_macs(copied, lambda: run(copied)).items()}
