"""NVML: energy counter (Volta and later) and power of discrete NVIDIA GPUs.

Two meters, never mixed: ``nvml`` reads ``nvmlDeviceGetTotalEnergyConsumption`` (mJ since the driver
was loaded); ``nvml-power`` samples ``nvmlDeviceGetPowerUsage`` (mW) on older cards. On Tegra NVML
starts and then answers NotSupported to both: read the rails with the ``jetson`` meter there. A100
and H100 sample only about a quarter of the time (arXiv 2312.02741), so that short kernels are
reliable only when repeated over a long window.
"""

from __future__ import annotations

import importlib
from typing import Any

from .meter import COUNTER, POWER, Channel, Meter, UnavailableError

REMEDY = "install the extra: pip install nvidia-ml-py"
UPDATE_S = 0.1


class NvmlMeter(Meter):
    """Energy of one GPU board.

    Args:
        index: GPU index as NVML counts them.
        power: Sample power instead of reading the energy counter.
        module: The NVML binding; default ``pynvml``, imported when first needed.
    """

    scope = "gpu"
    interval_s = UPDATE_S
    scale = 1e-3  # mJ → J, mW → W

    def __init__(self, index: int = 0, *, power: bool = False, module: Any = None) -> None:
        self.name = ("nvml-power" if power else "nvml") + (f":{index}" if index else "")
        self.kind = POWER if power else COUNTER
        self._index = index
        self._call = "nvmlDeviceGetPowerUsage" if power else "nvmlDeviceGetTotalEnergyConsumption"
        self._module = module
        self._handle: Any = None

    @property
    def covers(self) -> str:
        return f"GPU {self._index} board; host CPU and memory excluded"

    def channels(self) -> tuple[Channel, ...]:
        return (Channel(f"gpu-{self._index}"),)

    def read(self) -> tuple[float, ...]:
        handle = self._open()
        try:
            return (float(getattr(self._module, self._call)(handle)),)
        except self._module.NVMLError as error:
            raise UnavailableError(*self._explain(error)) from None

    def _open(self) -> Any:
        if self._handle is None:
            if self._module is None:
                self._module = _import_pynvml()
            try:
                self._module.nvmlInit()
                self._handle = self._module.nvmlDeviceGetHandleByIndex(self._index)
            except self._module.NVMLError as error:
                raise UnavailableError(
                    f"NVML: {error}", "check the driver with nvidia-smi"
                ) from None
        return self._handle

    def _explain(self, error: Exception) -> tuple[str, str]:
        reason = f"NVML {self._call}: {error}"
        if not isinstance(error, self._module.NVMLError_NotSupported):
            return reason, ""
        return reason, "on a Jetson use --energy jetson; on GPUs before Volta --energy nvml-power"


def _import_pynvml() -> Any:
    try:
        return importlib.import_module("pynvml")
    except ImportError:
        raise UnavailableError("the Python package nvidia-ml-py is not installed", REMEDY) from None
