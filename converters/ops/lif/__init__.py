"""``lif``: affine (folded batch norm) + leaky integrate-and-fire, scanned along time, with state.

For every step t and channel c, with z the input after the affine and v the membrane potential::

    z = scale·x[t] + shift
    synaptic:          i ← synapse·i + z ;  z = i
    delayed or settle: r = [v fires]                    (delayed: the spike of the step before)
    charge "blend":    u = v + (z − v)·decay            (decay = 1/τ; LMUFormer, spikingjelly, NIR)
    charge "leak":     u = decay·v + z                  (snnTorch: decay = β)
    delayed reset:     zero: u ← u·(1 − r) ; subtract: u ← u − r·threshold
    settle:            u ← u − r·threshold
    s[t] = [u fires],  fires = (u ≥ threshold), or (u > threshold) when strict
    immediate reset:   zero: u ← s ? reset : u ; subtract: u ← u − s·threshold
    settle:            u ← u − (s − r)·threshold        (snnTorch: subtract, reset_delay=False)
    v ← u

Where ``valid[t] == 0`` the step does not happen: s[t] = 0 and the state is kept. That is how a
streaming model lets its delay lines fill and drain without disturbing its neurons.

Operands: ``x [B, N, C]`` float32; ``params [6, C]`` float32 with rows scale, shift, decay,
threshold, reset, synapse; ``state [B, S, C]`` float32 (S=1: v; S=2: v, i); ``valid [N]`` int32.
Results: ``spikes [B, N, C]`` uint8 (or float32, for training), ``state' [B, S, C]``.

``lif_record`` is the same op with a third result, ``membrane [B, N, C]``: the potential of every
step ``before`` the immediate reset or ``after`` it (attribute ``record``). Models that read
potentials out use it; elsewhere potentials never leave the registers. A step that does not happen
records the potential that is kept.

Sources: Fang et al. 2021 (spikingjelly, multi-step LIF with decayed input, hard reset), used by
LMUFormer (arXiv 2402.04882); Eshraghian et al. 2023 (snnTorch Leaky, Synaptic); Pedersen et al.
2024 (NIR LIF, CubaLIF, IF).
"""

from millijoule.converters.ops.lif.op import LIF, LIF_RECORD
from millijoule.converters.ops.lif.reference import lif_record_reference, lif_reference
from millijoule.converters.ops.lif.rule import LifRule
from millijoule.converters.ops.lif.torch_op import lif, lif_record, pack_params

__all__ = [
    "LIF",
    "LIF_RECORD",
    "LifRule",
    "lif",
    "lif_record",
    "lif_record_reference",
    "lif_reference",
    "pack_params",
]
