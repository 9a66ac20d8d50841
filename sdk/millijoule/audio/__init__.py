"""Audio front ends of keyword spotting: resampling and log-mel features, with NumPy alone."""

from millijoule.audio.frontend import LogMelFrontend, frontend_from_manifest
from millijoule.audio.logmel import Bands, LogMel, LogMelStream
from millijoule.audio.resample import resample

__all__ = [
    "Bands",
    "LogMel",
    "LogMelFrontend",
    "LogMelStream",
    "frontend_from_manifest",
    "resample",
]
