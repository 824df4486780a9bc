"""What an expert would write by hand for small pictures and a clock: a residual net, one cycle, every known cheap trick.

After Page, "How to train your ResNet" (2018), and Jordan, "94% on CIFAR-10 in 3.29 seconds" (2024, arXiv:2404.00498): nine
layers, batch normalisation, one-cycle schedule (Smith 2018), Nesterov momentum, label smoothing, random crops,
mirroring in turns, cutout, an averaged copy of the weights, predictions averaged over shifts and mirrors. Made for two
CPU cores: bfloat16 where the processor multiplies it, channels_last, width chosen by measuring how many epochs fit,
smaller pictures in the first part of the run. The schedule follows the clock, so the run ends on time on any machine.
Pictures are standardised; the time to read them counts. Stands alone: nothing of Polymath is used.

Axes: B examples, C channels, H and W pixels.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "systems"))

import numpy
import torch
from job import Job, read_job, write_answer
from pictures import read
from torch import Tensor, nn
from torch.nn import functional

BATCH = 128
FLOOR_EPOCHS = 9  # the widest net that still sees the data so often is taken; fewer epochs cost more than width gives
FLOOR_EPOCHS_SMALL = 40  # the same below 20,000 rows, where an epoch is little
CHOOSING = 0.08  # share of the budget that measuring candidates may take
MOST_EPOCHS = 250  # tiny sets stop here: more epochs gave nothing
PEAK_RATE = 0.2
DECAY = 5e-4
SMOOTHING = 0.1
# (width, halve the resolution at the door), from dear to cheap
CANDIDATES = ((64, False), (48, False), (64, True), (32, False), (32, True), (24, True), (16, True))


def conv(inputs: int, outputs: int, *, pool: bool = False) -> nn.Sequential:
    """3x3 convolution, pooled before it is normalised (a quarter of the work), rectified."""
    parts: list[nn.Module] = [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)]
    parts += [nn.MaxPool2d(2)] if pool else []
    return nn.Sequential(*parts, nn.BatchNorm2d(outputs), nn.ReLU())


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(width, width), conv(width, width))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW + self.body(x_BCHW)


class Net(nn.Module):
    """ResNet-9 of a given width; `halve` folds 2x2 pixels into channels first and leaves out the first pooling."""

    def __init__(self, channels: int, classes: int, *, width: int, halve: bool) -> None:
        super().__init__()
        door = [nn.PixelUnshuffle(2), conv(4 * channels, width)] if halve else [conv(channels, width)]
        self.body = nn.Sequential(
            *door,
            conv(width, 2 * width, pool=not halve),
            Residual(2 * width),
            conv(2 * width, 4 * width, pool=True),
            conv(4 * width, 8 * width, pool=True),
            Residual(8 * width),
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(),
        )
        self.head = nn.Linear(8 * width, classes)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=torch.backends.mkldnn.is_available()):
            features = self.body(x_BCHW)
        return 0.125 * self.head(features.float())


def layout(x_BCHW: Tensor) -> Tensor:
    return x_BCHW.contiguous(memory_format=torch.channels_last)


def augment(x_BCHW: Tensor, *, mirrored: Tensor, cutout: int, random: torch.Generator) -> Tensor:
    """Random shifts by an eighth of the size (edges repeated), mirrors as told, one random square greyed."""
    batch, _, height, width = x_BCHW.shape
    most = height // 8
    padded = functional.pad(x_BCHW, (most,) * 4, mode="replicate")
    rows = torch.randint(0, 2 * most + 1, (batch, 1), generator=random) + torch.arange(height)
    columns = torch.randint(0, 2 * most + 1, (batch, 1), generator=random) + torch.arange(width)
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    cut = padded.permute(0, 2, 3, 1)[torch.arange(batch)[:, None, None], rows[:, :, None], columns[:, None, :]].permute(
        0, 3, 1, 2
    )
    if cutout:
        top = torch.randint(0, height - cutout + 1, (batch, 1, 1), generator=random)
        left = torch.randint(0, width - cutout + 1, (batch, 1, 1), generator=random)
        down, across = torch.arange(height)[None, :, None], torch.arange(width)[None, None, :]
        hole = (down >= top) & (down < top + cutout) & (across >= left) & (across < left + cutout)
        cut = cut.masked_fill(hole[:, None], 0.0)
    return layout(cut)


def optimizer(net: nn.Module) -> torch.optim.SGD:
    """Nesterov momentum; weight decay on matrices only."""
    matrices = [weight for weight in net.parameters() if weight.ndim > 1]
    others = [weight for weight in net.parameters() if weight.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=0.0, momentum=0.9, nesterov=True)


def seconds_per_step(net: nn.Module, x_BCHW: Tensor, y_B: Tensor) -> float:
    """Best of two steps after one to warm up."""
    rule, found = optimizer(net), []
    for _ in range(3):
        began = time.monotonic()
        rule.zero_grad(set_to_none=True)
        functional.cross_entropy(net(x_BCHW), y_B).backward()
        rule.step()
        found.append(time.monotonic() - began)
    return min(found[1:])


def choose(
    x_BCHW: Tensor, y_B: Tensor, *, classes: int, seconds: Callable[[], float], rows: int
) -> tuple[Net, int, bool]:
    """The widest candidate that sees the rows often enough in the time left; cheap ones are measured first."""
    chosen: tuple[Net, int, bool] | None = None
    least, until = FLOOR_EPOCHS if rows >= 20_000 else FLOOR_EPOCHS_SMALL, seconds() * (1.0 - CHOOSING)
    for width, halve in reversed(CANDIDATES):
        net = Net(x_BCHW.shape[1], classes, width=width, halve=halve).to(memory_format=torch.channels_last)
        cost = seconds_per_step(net, x_BCHW, y_B) * rows / BATCH
        if chosen is not None and (seconds() < until or seconds() / cost < least):
            break
        chosen = (
            Net(x_BCHW.shape[1], classes, width=width, halve=halve).to(memory_format=torch.channels_last),
            width,
            halve,
        )
    assert chosen is not None, "there is at least one candidate"
    return chosen


def rate(progress: float) -> float:
    """One cycle: up over the first fifth, then down to nothing."""
    return PEAK_RATE * (progress / 0.2 if progress < 0.2 else (1.0 - progress) / 0.8)


def shrunk(x_BCHW: Tensor, *, progress: float, halve: bool) -> Tensor:
    """Three quarters of the size in the first 40 % of the run: early steps need no detail and cost half."""
    size = x_BCHW.shape[-1] * 3 // 4 // 4 * 4
    if progress >= 0.4 or size < (16 if halve else 12):
        return x_BCHW
    return layout(functional.interpolate(x_BCHW, size=(size, size), mode="bilinear", antialias=True))


def follow(average: Tensor, live: Tensor, updates: Tensor) -> Tensor:
    """Moving average over the last tenth of the updates so far, but never more than about fifty of them."""
    return average + (live - average) * max(0.02, 1.0 / (1.0 + 0.1 * float(updates)))


def train(net: Net, x_BCHW: Tensor, y_B: Tensor, *, job: Job, reserve: float, halve: bool) -> tuple[Net, int]:
    """Train by the clock; returns the averaged copy and the epochs made."""
    random = torch.Generator().manual_seed(job.seed)
    mirror = bool(job.options.get("mirror", False))
    rule = optimizer(net)
    averaged = torch.optim.swa_utils.AveragedModel(net, avg_fn=follow, use_buffers=True)
    began, whole, steps = time.monotonic(), job.left() - reserve, 0
    rows, progress, order = len(y_B), 0.0, torch.empty(0, dtype=torch.int64)
    first_mirror, total = torch.rand(rows, generator=random) < 0.5, MOST_EPOCHS * max(1, rows // BATCH)
    net.train()
    while progress < 1.0:
        if len(order) < min(BATCH, rows):
            order = torch.cat([order, torch.randperm(rows, generator=random)])
        picked, order = order[:BATCH], order[BATCH:]
        turned = (
            first_mirror[picked] ^ bool((steps * BATCH // rows) % 2)
            if mirror
            else torch.zeros(len(picked), dtype=torch.bool)
        )
        batch = augment(
            x_BCHW[picked],
            mirrored=turned,
            cutout=x_BCHW.shape[-1] // 4 if rows * 12 < steps * BATCH or rows < 20_000 else 0,
            random=random,
        )
        for group in rule.param_groups:
            group["lr"] = rate(progress)
        rule.zero_grad(set_to_none=True)
        functional.cross_entropy(
            net(shrunk(batch, progress=progress, halve=halve)), y_B[picked], label_smoothing=SMOOTHING
        ).backward()
        rule.step()
        steps += 1
        if steps % 5 == 0:
            averaged.update_parameters(net)
        progress = max((time.monotonic() - began) / whole, steps / total)
    return averaged.module, steps * BATCH // rows


@torch.inference_mode()
def predict(net: Net, x_BCHW: Tensor, *, mirror: bool) -> Tensor:
    """Mean log probabilities over the picture, two shifts and their mirrors, turned back into probabilities [B,K]."""
    net.eval()

    def views(x: Tensor) -> Tensor:
        padded = functional.pad(x, (1,) * 4, mode="replicate")
        height, width = x.shape[-2:]
        shifts = [x, padded[..., :height, :width], padded[..., 2 : 2 + height, 2 : 2 + width]]
        shifts += [view.flip(3) for view in shifts] if mirror else []
        return torch.stack([net(layout(view)).log_softmax(1) for view in shifts]).mean(0)

    return torch.cat([views(part) for part in x_BCHW.split(500)]).softmax(1)


def main() -> None:
    job = read_job()
    torch.manual_seed(job.seed)
    pictures, labels = read(job.train)
    classes = sorted(set(labels))
    y_B = torch.tensor([classes.index(label) for label in labels])
    mean = pictures.mean(axis=(0, 1, 2), dtype=numpy.float64).astype(numpy.float32)
    deviation = pictures[:5000].std(axis=(0, 1, 2), dtype=numpy.float64).astype(numpy.float32) + 1.0

    def tensor(raw: numpy.ndarray) -> Tensor:
        return torch.from_numpy((raw - mean) / deviation).permute(0, 3, 1, 2)

    x_BCHW = tensor(pictures)
    reserve = 1.0
    first = slice(0, min(BATCH, len(y_B)))
    net, width, halve = choose(
        layout(x_BCHW[first]), y_B[first], classes=len(classes), seconds=lambda: job.left() - reserve, rows=len(y_B)
    )
    net, epochs = train(net, x_BCHW, y_B, job=job, reserve=reserve, halve=halve)
    fitted = time.monotonic()
    shares = predict(net, tensor(read(job.test)[0]), mirror=bool(job.options.get("mirror", False)))
    values = [classes[index] for index in shares.argmax(1).tolist()]
    size = sum(weight.numel() for weight in net.parameters())
    write_answer(
        {job.target: {"values": values, "classes": classes, "probabilities": shares.tolist()}},
        fitted=fitted,
        packages=("torch",),
        model_bytes=4 * size,
        notes={"width": width, "halve": halve, "epochs": epochs, "parameters": size},
    )


if __name__ == "__main__":
    main()
