"""The training loop of kws-digits: batches, loss, a moving average of weights, and validation."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from millijoule.audio import LogMel

from .teacher import Teacher
from .views import Views

_CONDITION_WEIGHTS = {"clean": 0.5, "noisy": 0.2, "telephone": 0.3}
_AVERAGING = 0.998  # of the moving average of weights, per step
_TEACHER_SHARE, _TEMPERATURE = 0.7, 2.0  # of the loss; of both networks' probabilities


@dataclass(frozen=True)
class Evaluation:
    """Features of one condition, the class of each row and the voice that spoke it."""

    x: Tensor
    label: np.ndarray
    voice: np.ndarray


def predict(model: nn.Module, x: Tensor, batch: int = 256) -> np.ndarray:
    """Logits ``[n, classes]`` in inference mode."""
    model.eval()
    with torch.no_grad():
        return np.concatenate([model(part.float()).numpy() for part in x.split(batch)])


def voice_accuracy(
    model: nn.Module, sets: dict[str, Evaluation], scale: LogMel
) -> dict[str, tuple[float, float]]:
    """Per condition, of formant and of natural voices: the mean of each voice's accuracy."""
    result = {}
    for condition, data in sets.items():
        logits = predict(model, (data.x.float() - scale.mean) / scale.std)
        right = logits.argmax(1) == data.label
        each = {str(v): float(right[data.voice == v].mean()) for v in set(data.voice)}
        formant = [a for voice, a in each.items() if voice.startswith("espeak")]
        natural = [a for voice, a in each.items() if not voice.startswith("espeak")]
        result[condition] = float(np.mean(formant)), float(np.mean(natural))
    return result


def score(accuracy: dict[str, tuple[float, float]]) -> float:
    """What epochs are chosen by: formant and natural voices count the same, clean sound most."""
    return sum(
        weight * sum(accuracy[condition]) / 2 for condition, weight in _CONDITION_WEIGHTS.items()
    )


def batches(
    clips: int, per_epoch: int, batch: int, generator: torch.Generator
) -> Iterator[list[Tensor]]:
    """Endless epochs, each a list of batches of rows; every clip is used before one is again."""
    rows = torch.empty(0, dtype=torch.int64)
    while True:
        while len(rows) < per_epoch:
            rows = torch.cat([rows, torch.randperm(clips, generator=generator)])
        yield [part for part in rows[:per_epoch].split(batch) if len(part) == batch]
        rows = rows[per_epoch:]


def distillation_loss(logits: Tensor, label: Tensor, teacher: Tensor | None) -> Tensor:
    """Cross entropy with smoothed classes, mixed with the teacher's probabilities if given."""
    loss = F.cross_entropy(logits, label, label_smoothing=0.05)
    if teacher is None:
        return loss
    target = F.log_softmax(teacher / _TEMPERATURE, 1)
    own = F.log_softmax(logits / _TEMPERATURE, 1)
    imitation = F.kl_div(own, target, log_target=True, reduction="batchmean") * _TEMPERATURE**2
    return (1 - _TEACHER_SHARE) * loss + _TEACHER_SHARE * imitation


@dataclass(frozen=True)
class Clips:
    """Training clips as drawn, their classes, who teaches them, and how they are presented."""

    x: Tensor
    label: Tensor
    teacher: Teacher | None
    scale: LogMel
    views: Views

    def view(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Model input of some rows, varied at random."""
        varied = self.views(self.x[rows].float(), generator)
        return (varied - self.scale.mean) / self.scale.std


def fit(
    model: nn.Module,
    clips: Clips,
    validation: dict[str, Evaluation],
    options: argparse.Namespace,
    sharpness: float,
    save: Callable[[nn.Module], None],
) -> None:
    """Train with a one-cycle schedule; ``save`` whenever validation is best.

    Validated and saved is the moving average of the weights of the last hundreds of steps.
    """
    generator = torch.Generator().manual_seed(options.seed)
    epochs = batches(len(clips.x), options.clips_per_epoch, options.batch, generator)
    steps = options.epochs * (options.clips_per_epoch // options.batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.rate, weight_decay=options.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.rate, total_steps=steps, pct_start=options.rise
    )
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(_AVERAGING), use_buffers=True)
    best = -1.0
    for epoch in range(options.epochs):
        start, losses = time.perf_counter(), []
        model.train()
        for rows in next(epochs):
            x = clips.view(rows, generator)
            logits = sharpness * model(x)
            teacher = None
            if clips.teacher is not None:
                with torch.no_grad():
                    teacher = clips.teacher(x)
            loss = distillation_loss(logits, clips.label[rows], teacher)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            average.update_parameters(model)
            losses.append(float(loss.detach()))
        if (epoch + 1) % options.validate_every and epoch != options.epochs - 1:
            continue
        accuracy = voice_accuracy(average.module, validation, clips.scale)
        line = " ".join(f"{name} {a:.4f} {b:.4f}" for name, (a, b) in accuracy.items())
        mean, seconds = score(accuracy), time.perf_counter() - start
        print(
            f"epoch {epoch} loss {np.mean(losses):.4f} {line} score {mean:.4f} {seconds:.0f} s",
            flush=True,
        )
        if mean > best:
            best = mean
            save(average.module)
