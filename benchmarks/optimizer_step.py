"""Claim: a step of a rule written as an expression costs at most twice a step of PyTorch's fused AdamW.

    python benchmarks/optimizer_step.py [--quick] [--no-compile] [--rounds 60]

One million parameters, in two shapes: a few large layers, and many small ones. One thread. Rounds of ten steps, ours and
PyTorch's in turns, in processor time; the figure is the quickest round of ours over the quickest of PyTorch's fused
AdamW, for other load makes both slower and neither quicker. Beside it the median over rounds of ours over the one of
AdamW right before it. `eager` needs nothing; `compiled` is `compiled=True`, whose first step is
timed too. PyTorch's own other forms stand beside: that is what an optimizer written with operations on lists costs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch

import common
import reporting

sys.path.insert(0, str(common.ROOT / "src"))

import polymath

MUST, AIM = 2.0, 1.2
NAME = "optimizer_step"
STEPS = 10
SHAPES = {
    "large layers": [(512, 784), (512,), (512, 512), (512,), (512, 512), (512,), (128, 512), (128,), (10, 128), (10,)],
    "small layers": [
        shape for _ in range(20) for shape in ((192, 64), (192,), (64, 64), (64,), (128, 128), (128, 128))
    ],
}
RULES = ["adam", "adamw", "sgd", "momentum", "lion", "rmsprop", "powersign", "powersign_linear", "addsign"]
Make = Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]


def parameters(shapes: list[tuple[int, ...]]) -> list[torch.nn.Parameter]:
    """Weights with gradients, the same at every call."""
    generator = torch.Generator().manual_seed(0)
    found = [torch.nn.Parameter(0.02 * torch.randn(shape, generator=generator)) for shape in shapes]
    for weight in found:
        weight.grad = 0.01 * torch.randn(weight.shape, generator=generator)
    return found


def milliseconds(optimizer: torch.optim.Optimizer) -> float:
    """Of one step, in processor time."""
    began = time.process_time()
    for _ in range(STEPS):
        optimizer.step()
    return (time.process_time() - began) / STEPS * 1000


def against_fused(make: Make, shapes: list[tuple[int, ...]], *, rounds: int) -> tuple[float, float, float, float]:
    """Milliseconds and ratio (quickest rounds), the median ratio of rounds, seconds of the first step."""
    fused = torch.optim.AdamW(parameters(shapes), lr=1e-3, fused=True)
    mine = make(parameters(shapes))
    began = time.perf_counter()
    mine.step()
    first = time.perf_counter() - began
    milliseconds(fused), milliseconds(mine)
    pairs = [(milliseconds(fused), milliseconds(mine)) for _ in range(rounds)]
    quickest_of_theirs, quickest = (min(times) for times in zip(*pairs, strict=True))
    return quickest, quickest / quickest_of_theirs, statistics.median(ours / theirs for theirs, ours in pairs), first


def makers(rules: list[str], *, compiled: bool) -> dict[str, Make]:
    """What is measured, by name."""

    def rule(name: str, *, compiled: bool) -> Make:
        decay = 0.01 if name in ("adam", "lion") else 0.0
        return lambda weights: polymath.optimizer(
            name, weights, lr=1e-3, weight_decay=decay, total_steps=10**6, compiled=compiled
        )

    found: dict[str, Make] = {
        "PyTorch AdamW, fused": lambda weights: torch.optim.AdamW(weights, fused=True),
        "PyTorch AdamW, foreach": lambda weights: torch.optim.AdamW(weights, foreach=True),
        "PyTorch AdamW, one by one": lambda weights: torch.optim.AdamW(weights, foreach=False),
    }
    found |= {f"{name}, eager": rule(name, compiled=False) for name in rules}
    if compiled:
        found |= {f"{name}, compiled": rule(name, compiled=True) for name in rules}
    return found


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="5 rounds, nothing compiled: does it run?")
    made.add_argument("--no-compile", action="store_true", help="leave out what torch.compile makes")
    made.add_argument("--rounds", type=int, help="of each (default 60; with --quick 5)")
    made.add_argument("--rules", nargs="+", choices=sorted(RULES), default=RULES, help="default: all")
    chosen = made.parse_args()
    torch.set_num_threads(1)
    rounds = chosen.rounds or (5 if chosen.quick else 60)
    rows = []
    for shape, shapes in SHAPES.items():
        for name, make in makers(chosen.rules, compiled=not (chosen.quick or chosen.no_compile)).items():
            spent, ratio, median, first = against_fused(make, shapes, rounds=rounds)
            ours = not name.startswith("PyTorch")
            verdicts = [reporting.verdict(ratio <= limit) if ours else "-" for limit in (MUST, AIM)]
            rows.append([shape, name, f"{spent:.2f}", f"{ratio:.2f}", f"{median:.2f}", f"{first:.1f}", *verdicts])
            print(f"{shape:<14}{name:<28}{spent:8.2f} ms{ratio:8.2f} x", flush=True)
    header = ("parameters", "what", "ms per step", "over fused AdamW", "median of rounds", "first step, s")
    body = [
        *reporting.table((*header, f"must be <= {MUST:g}", f"aim <= {AIM:g}"), rows),
        "A rule that is Adam, AdamW or RMSProp is run by PyTorch's own kernel, and so is such a step within a larger rule. Every "
        "other function costs a pass over the weights.",
        "",
    ]
    sizes = ", ".join(f"{shape}: {sum(p.numel() for p in parameters(s))} in {len(s)}" for shape, s in SHAPES.items())
    file = reporting.page(
        NAME,
        body,
        title="What a step of an expression costs",
        about=(__doc__ or "").split("\n\n")[-1].strip(),
        told=[f"PyTorch {torch.__version__}, one thread; parameters ({sizes}); {rounds} rounds of {STEPS} steps"],
        quick=chosen.quick,
    )
    print(f"report: {file}")


if __name__ == "__main__":
    main()
