"""Devices other than the processor that this Python runs on: emulated ones."""

from .devices import DEVICES, LOCAL, Device, get_device

__all__ = ["DEVICES", "LOCAL", "Device", "get_device"]
