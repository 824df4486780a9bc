"""Claim: our fit loop makes at least 0.95 of the examples per second that a hand-written loop makes on the same net and batch.

python benchmarks/throughput.py [--quick] [--repeats 5]

The same module, built by polymath from one description, is trained by `polymath.train.fit` and by a plain PyTorch loop
(index, forward, backward, SGD step; no augmentation, no average, no watch over the loss). Turns alternate, so that other
load on the machine falls on both; reported is ours over theirs in seconds of the processor, turn by turn.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import common

sys.path.insert(0, str(common.ROOT / "src"))

import numpy
import torch
from torch import nn
from torch.nn import functional

import data
import single
from polymath import learning
from polymath.learning import compose
from polymath.model.build import build
from polymath.problem import Dataset
from polymath.search.spaces.rows import problem_space
from polymath.train import fit
from polymath.train.augment import Augmenter
from polymath.train.batches import Order, Source
from polymath.train.recipe import GradientRecipe

PARTS = {"pictures": ("fashion", "label"), "rows": ("flights", "carrier")}
BATCH = 128
MUST = 0.95


def default(name: str, options: Any, high: Any = None, *, log: bool = False) -> Any:
    """The space's first answer to every choice: the net that polymath tries first."""
    return options[0] if high is None else options


def hand_written(module: nn.Module, data_of: Dataset, *, output: str, steps: int, precision: str) -> float:
    """Seconds of `steps` plain steps."""
    inputs = {port: torch.from_numpy(numpy.array(array)) for port, array in data_of.inputs.items()}
    y_B = torch.from_numpy(numpy.array(data_of.targets[output]))
    rule = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
    module.train()
    order = torch.randperm(len(y_B))
    began = time.process_time()
    for step in range(steps):
        start = step * BATCH % (len(y_B) - BATCH)
        rows = order[start : start + BATCH]
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            prediction = module({port: x[rows] for port, x in inputs.items()})[output]
        logits, target = prediction.float(), y_B[rows].long()
        if logits.ndim == 3:  # members of an ensemble in one net: each has its own loss
            logits, target = logits.flatten(0, 1), target.repeat_interleave(logits.shape[1])
        loss = functional.cross_entropy(logits, target)
        rule.zero_grad(set_to_none=True)
        loss.backward()
        rule.step()
    return time.process_time() - began


def ours(module: nn.Module, data_of: Dataset, *, steps: int, precision: str) -> float:
    """Seconds of `steps` steps of polymath's loop, its watch over the loss and its moving average included."""
    recipe = GradientRecipe(rule="sgd", learning_rate=0.01, weight_decay=5e-4, batch=BATCH, precision=precision)
    source = Source(data_of.inputs, data_of.targets, device=torch.device("cpu"))
    order = Order(numpy.arange(len(next(iter(data_of.targets.values())))), batch=BATCH, seed=0)
    augmenter = Augmenter(recipe.augmentation, {}, {})
    outputs = {feature.name: feature for feature in data_of.problem.outputs}
    training = fit.start(module, recipe)
    plan = fit.Plan(steps=steps, rate=(1.0, 0.0), first=True, seed=0)
    began = time.process_time()
    fit.train(training, recipe, plan, source=source, order=order, augmenter=augmenter, outputs=outputs)
    return time.process_time() - began


def measure(part: str, *, chosen: single.Options, folder: Path) -> list[single.Measured]:
    """Ours over the hand-written loop, turn by turn, for each precision the processor is good at."""
    name, output = PARTS[part]
    cut = data.split(name, seed=0, cache=chosen.cache, train_rows=4_000)
    wishes = learning.Wishes(name=part, targets=(output,))
    _, held = compose.prepare(str(cut.train), wishes, cache=folder, listener=learning.Silent())
    path, _ = problem_space(default, held.problem, rows=len(held.rows))
    steps = 8 if chosen.quick else 40 if part == "pictures" else 400
    found = []
    for precision in ("float32", "bfloat16") if part == "pictures" else ("float32",):
        shares, speeds = [], []
        for turn in range(chosen.repeats + 1):
            made = [build(path, dict(held.problem.ports)).to(memory_format=torch.channels_last) for _ in range(2)]
            for module in made:
                module.prepare(
                    {port: torch.from_numpy(numpy.array(array[:256])) for port, array in held.inputs.items()}
                )
            plain = hand_written(made[0], held, output=output, steps=steps, precision=precision)
            own = ours(made[1], held, steps=steps, precision=precision)
            if turn or chosen.quick:  # the first turn warms up
                shares.append(plain / own)
                speeds.append(steps * BATCH / own)
        note = f"{statistics.median(speeds):,.0f} examples/s"
        found.append(single.Measured(f"{part}, {precision}", tuple(shares), "x", must=MUST, more=True, note=note))
    return found


def main() -> None:
    chosen = single.options("throughput", about=__doc__, parts=list(PARTS))
    folder = chosen.cache / "runs" / "throughput"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    torch.set_num_threads(common.cores())
    found = [measured for part in chosen.only for measured in measure(part, chosen=chosen, folder=folder)]
    about = " ".join((__doc__ or "").split("\n\n")[2].split())
    single.write("throughput", title="Training throughput", about=about, found=found, chosen=chosen)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
