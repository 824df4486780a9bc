"""The rules of nnU-Net v2 (2-D) in plain PyTorch, given seconds instead of 250,000 steps: the strong recipe to beat.

python benchmarks/experts/unet.py FOLDER --seconds 60 --threads 2 [--seed 0]

Fixed by its authors (Isensee et al. 2021, arXiv 1904.08128, and the source of v2): two 3x3 convolutions a stage,
instance norm, leaky ReLU, 32 features doubling to 512, halved while a side is 8 or more, z-score per picture, cross-
entropy with batch Dice, deep supervision with halving weights (the lowest dropped), SGD with Nesterov momentum 0.99,
rate 0.01 falling as (1 - t)^0.9, decay 3e-5, a third of the parts around the foreground, mirroring on both axes while
training and answering, brightness, contrast and gamma. Patch: the picture, at most 512 a side; batch 2, the smallest that its rules allow, so that there are many steps.
Ours: the rate falls by the clock, not by steps; where the four mirrored passes over the test pictures would take more
than a third of the seconds, one is made and said so. Scores are printed as JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

VOID = 255
BATCH = 2


def load(folder: Path, codes: dict[int, int]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Pictures float32 [C, H, W] with mean 0 and deviation 1, and class codes [H, W]."""
    table = np.full(256, VOID, dtype=np.uint8)
    for value, code in codes.items():
        table[value] = code
    pictures, labels = [], []
    for file in sorted((folder / "images").glob("*.png")):
        array = np.asarray(Image.open(file), dtype=np.float32)
        array = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
        pictures.append((array - array.mean((1, 2), keepdims=True)) / (array.std((1, 2), keepdims=True) + 1e-6))
        labels.append(table[np.asarray(Image.open(folder / "labels" / file.name))])
    return pictures, labels


def block(inputs: int, outputs: int, step: int) -> nn.Sequential:
    """Two convolutions, the first halving where `step` is 2."""
    layers: list[nn.Module] = []
    for place in range(2):
        layers += [
            nn.Conv2d(inputs if place == 0 else outputs, outputs, 3, step if place == 0 else 1, 1),
            nn.InstanceNorm2d(outputs, affine=True),
            nn.LeakyReLU(0.01, inplace=True),
        ]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Gives logits at every level of the way up, the finest first."""

    def __init__(self, channels: int, classes: int, depth: int) -> None:
        super().__init__()
        widths = [min(32 * 2**level, 512) for level in range(depth + 1)]
        self.down = nn.ModuleList(
            block(channels if level == 0 else widths[level - 1], width, 1 if level == 0 else 2)
            for level, width in enumerate(widths)
        )
        self.up = nn.ModuleList(nn.ConvTranspose2d(widths[n + 1], widths[n], 2, 2) for n in range(depth))
        self.meet = nn.ModuleList(block(2 * widths[n], widths[n], 1) for n in range(depth))
        self.heads = nn.ModuleList(nn.Conv2d(widths[n], classes, 1) for n in range(depth))

    def forward(self, x: Tensor) -> list[Tensor]:
        seen = []
        for part in self.down:
            x = part(x)
            seen.append(x)
        found = []
        for level in reversed(range(len(self.up))):
            x = self.up[level](x)[:, :, : seen[level].shape[2], : seen[level].shape[3]]
            x = self.meet[level](torch.cat([x, seen[level]], 1))
            found.append(self.heads[level](x))
        return found[::-1]


def padded(x: Tensor, multiple: int) -> Tensor:
    """The picture filled up so that it can be halved without a rest."""
    height, width = (-n % multiple for n in x.shape[2:])
    return F.pad(x, (0, width, 0, height))


def loss_of(logits: Tensor, codes: Tensor, classes: int) -> Tensor:
    """Cross-entropy plus one minus the mean Dice of the batch, background left out of the Dice."""
    known = codes != VOID
    target = codes.masked_fill(~known, 0).long()
    cross = (F.cross_entropy(logits, target, reduction="none") * known).sum() / known.sum().clamp_min(1)
    share = logits.softmax(1) * known[:, None]
    truth = F.one_hot(target, classes).movedim(-1, 1) * known[:, None]
    dice = 2 * (share * truth).sum((0, 2, 3)) / ((share + truth).sum((0, 2, 3)) + 1e-5)
    return cross - dice[1:].mean()


def batch_of(
    pictures: list[np.ndarray], labels: list[np.ndarray], patch: int, random: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Parts of pictures, mirrored, lighter, darker; a third of them around a pixel of a class that is not the first."""
    xs, ys = [], []
    for place in random.integers(0, len(pictures), BATCH):
        x, y = pictures[place], labels[place]
        height, width = (min(patch, n) for n in y.shape)
        top, left = (int(random.integers(0, n - m + 1)) for n, m in zip(y.shape, (height, width), strict=True))
        there = np.argwhere((y > 0) & (y != VOID)) if random.random() < 1 / 3 else np.empty((0, 2), int)
        if len(there):
            row, column = there[random.integers(len(there))]
            top, left = (
                int(np.clip(at - size // 2, 0, n - size))
                for at, size, n in zip((row, column), (height, width), y.shape, strict=True)
            )
        x, y = x[:, top : top + height, left : left + width], y[top : top + height, left : left + width]
        for axis in (1, 2):
            if random.random() < 0.5:
                x, y = np.flip(x, axis), np.flip(y, axis - 1)
        x = x * random.uniform(0.75, 1.25) if random.random() < 0.15 else x
        xs.append(np.ascontiguousarray(x, dtype=np.float32))
        ys.append(np.ascontiguousarray(y))
    return torch.from_numpy(np.stack(xs)), torch.from_numpy(np.stack(ys))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, required=True, help="for training and answering")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--void", type=int, nargs="*", default=[])
    given = parser.parse_args()
    begin = time.monotonic()
    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    random = np.random.default_rng(given.seed)
    files = sorted((given.folder / "train" / "labels").glob("*.png"))
    values = sorted({int(v) for file in files for v in np.unique(np.asarray(Image.open(file)))} - set(given.void))
    codes = {value: code for code, value in enumerate(values)}
    pictures, labels = load(given.folder / "train", codes)
    patch = min(512, max(labels[0].shape))
    depth = min(7, int(np.log2(min(patch, *labels[0].shape) / 4)))
    net = UNet(len(pictures[0]), len(values), depth)
    rule = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.99, nesterov=True, weight_decay=3e-5)
    weights = np.array([0.5**level for level in range(depth - 1)] + [0.0])
    weights /= weights.sum()
    test = load(given.folder / "test", codes)
    pixels = sum(one.size for one in test[1])
    steps, training, answering, mirrored = 0, 0.0, 0.0, True
    while (gone := time.monotonic() - begin) < given.seconds - answering:
        for group in rule.param_groups:
            group["lr"] = 0.01 * (1 - gone / given.seconds) ** 0.9
        started = time.monotonic()
        x, y = batch_of(pictures, labels, patch, random)
        found = net(padded(x, 2**depth))
        whole = F.pad(y, (0, -y.shape[2] % 2**depth, 0, -y.shape[1] % 2**depth), value=VOID)
        loss = torch.zeros(())
        for weight, logits in zip(weights, found, strict=True):
            if weight:
                small = F.interpolate(whole[:, None].float(), logits.shape[2:], mode="nearest")[:, 0].to(torch.uint8)
                loss = loss + weight * loss_of(logits, small, len(values))
        rule.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 12)
        rule.step()
        steps += 1
        training += time.monotonic() - started
        # A pass without gradients takes a third of a step: the time of the answers is kept back.
        once = training / steps / 3 * pixels / (BATCH * y.shape[1] * y.shape[2])
        mirrored = 4 * once <= given.seconds / 3
        answering = 4 * once if mirrored else once
    counts = np.zeros((len(values), len(values)), dtype=np.int64)
    net.eval()
    with torch.inference_mode():
        for x, y in zip(*test, strict=True):
            given_x = torch.from_numpy(x)[None]
            total = torch.zeros(())
            for axes in ((), (2,), (3,), (2, 3)) if mirrored else ((),):
                seen = net(padded(given_x.flip(axes), 2**depth))[0][:, :, : y.shape[0], : y.shape[1]]
                total = total + seen.softmax(1).flip(axes)
            said, known = total.argmax(1)[0].numpy(), y != VOID
            counts += np.bincount(y[known].astype(int) * len(values) + said[known], minlength=counts.size).reshape(
                counts.shape
            )
    right, both = counts.diagonal(), counts.sum(0) + counts.sum(1)
    scores = {
        "mean_iou": float(np.nanmean(right / np.maximum(both - right, 1))),
        "f1": float(2 * right[1] / max(both[1], 1)),
    }
    told = {"steps": steps, "mirrored": mirrored, "seconds": round(time.monotonic() - begin, 1)}
    print(json.dumps({"scores": scores, **told}))


if __name__ == "__main__":
    main()
