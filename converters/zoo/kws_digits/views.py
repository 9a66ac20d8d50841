"""Another view of a drawn clip at every step: cheap changes of log-mel frames, in torch.

Drawing a clip takes milliseconds, so a pool of clips is drawn once; what varies here makes every
epoch see it anew. Values at the front end's floor are digital silence and stay there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from millijoule.audio import LogMel


@dataclass(frozen=True)
class Views:
    """How far clips are changed; the defaults are those of the card's recipe."""

    floor: float
    """Natural logarithm that digital silence has."""
    low_hz: float
    high_hz: float
    warp: float = 0.12
    """Largest logarithm of the factor by which formants and pitch move."""
    curve: float = 0.7
    """Standard deviation of each of a smooth spectrum's four cosines, logarithm of power."""
    shift: int = 6
    """Most frames by which a clip moves in time."""
    bands: int = 5
    frames: int = 10
    """Widest stripe of bands and of frames that is blanked (SpecAugment, arXiv 1904.08779)."""
    share: float = 0.5
    """Of the clips that are warped, and of those whose spectrum is curved."""
    blank: float = 0.5
    """Share of the clips that get each kind of stripes."""

    @classmethod
    def of(cls, features: LogMel, share: float = 0.5, blank: float = 0.5) -> Views:
        """For the clips of a front end."""
        floor = math.log(features.floor)
        return cls(floor, features.low_hz, features.high_hz, share=share, blank=blank)

    def _some(self, size: int, generator: torch.Generator) -> Tensor:
        return (torch.rand(size, 1, 1, generator=generator) < self.share).float()

    def _warped(self, x: Tensor, generator: torch.Generator) -> Tensor:
        size, frames, bands = x.shape
        factor = (2 * torch.rand(size, 1, generator=generator) - 1) * self.warp
        factor = torch.exp(factor * self._some(size, generator)[:, :, 0])
        low, high = (1127 * math.log1p(hz / 700) for hz in (self.low_hz, self.high_hz))
        width = (high - low) / (bands + 1)
        centres = low + width * torch.arange(1, bands + 1)
        moved = 1127 * torch.log1p(torch.expm1(centres / 1127) * factor)
        place = ((moved - centres[0]) / width).clamp(0, bands - 1)  # [size, bands]
        lower = place.long().clamp(max=bands - 2)
        share = (place - lower)[:, None]
        index = lower[:, None].expand(size, frames, bands)
        return x.gather(2, index) * (1 - share) + x.gather(2, index + 1) * share

    def _curves(self, size: int, bands: int, generator: torch.Generator) -> Tensor:
        order = torch.arange(1, 5)[:, None]
        cosines = torch.cos(math.pi * order * (torch.arange(bands) + 0.5) / bands)
        strength = torch.randn(size, 1, 4, generator=generator) * self.curve
        return (strength @ cosines) * self._some(size, generator)

    def _moved(self, x: Tensor, generator: torch.Generator) -> Tensor:
        size, frames, bands = x.shape
        by = torch.randint(-self.shift, self.shift + 1, (size, 1), generator=generator)
        source = (torch.arange(frames) - by).clamp(0, frames - 1)
        return x.gather(1, source[:, :, None].expand(size, frames, bands))

    def _stripe(self, size: int, count: int, widest: int, generator: torch.Generator) -> Tensor:
        """Bool ``[size, count]``: one run of each row, none where the clip is left alone."""
        width = torch.randint(0, widest + 1, (size, 1), generator=generator)
        width = width * (torch.rand(size, 1, generator=generator) < self.blank)
        first = torch.rand(size, 1, generator=generator) * (count - width + 1)
        place = torch.arange(count)
        return (place >= first.long()) & (place < first.long() + width)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Log-mel float32 ``[clips, frames, bands]``, before and after."""
        size, frames, bands = x.shape
        x = self._moved(self._warped(x, generator), generator)
        silent = x < self.floor + 0.01
        x = torch.where(silent, x, (x + self._curves(size, bands, generator)).clamp(min=self.floor))
        blank = self._stripe(size, bands, self.bands, generator)[:, None, :]
        blank = blank | self._stripe(size, frames, self.frames, generator)[:, :, None]
        return torch.where(blank, x.mean((1, 2), keepdim=True), x)


def quietest(x: Tensor, floor: float, share: float) -> Tensor:
    """Rows of the ``share`` of clips float16 ``[clips, frames, bands]`` that have the least noise.

    A clip's noise is the tenth part of its frames that is softest, below its loudest frame; frames
    of digital silence, at ``floor``, do not count.
    """
    level = torch.cat([part.float().mean(2) for part in x.split(4000)])
    sound = level.masked_fill(level < floor + 0.01, math.nan)
    noise = sound.nanquantile(0.1, dim=1) - level.amax(1)
    noise = noise.nan_to_num(-math.inf)  # nothing but silence
    return noise.argsort()[: round(share * len(x))].sort().values
