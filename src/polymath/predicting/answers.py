"""From encoded rows through a path to answers: raw predictions batch by batch, and what is said of them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..spec import Json

if TYPE_CHECKING:
    from ..model.build import PathModule
    from ..model.decode.settings import Decoding
    from ..problem import Dataset, Feature, Problem

BATCH = 256
BATCH_PIXELS = 400_000
"""Pixels of the pictures of a batch where every pixel is answered."""
Truth: TypeAlias = Mapping[str, "tuple[Feature, np.ndarray]"]
"""Output -> its feature and the encoded targets of the rows at hand."""


def by_row(
    found: Mapping[str, Sequence[Mapping[str, Json]]], rows: np.ndarray, bad: Mapping[int, str], *, count: int
) -> list[dict[str, Json]]:
    """An answer for each of `count` rows, from those of the rows that could be used; {"error": why} for the others."""
    result: list[dict[str, Json]] = [{"error": bad.get(row, "cannot be used")} for row in range(count)]
    for place, row in enumerate(rows.tolist()):
        result[row] = {output: dict(answers[place]) for output, answers in found.items()}
    return result


def said(
    module: PathModule,
    problem: Problem,
    inputs: Mapping[str, np.ndarray],
    *,
    calibration: Mapping[str, Mapping[str, Any]],
    device: str = "cpu",
    decoding: Decoding | None = None,
) -> dict[str, list[dict[str, Json]]]:
    """Output -> what is said about every row of encoded inputs: {value, ...}; `decoding`: how texts are looked for."""
    found: dict[str, list[dict[str, Json]]] = {}
    at_once = [feature.name for feature in problem.outputs if not feature.generated]
    if at_once:
        raw = forward(module, inputs, device=device, outputs=at_once)
    for feature in problem.outputs:
        how = calibration.get(feature.name, {})
        if feature.generated:
            from ..model.decode import generate

            found[feature.name] = generate(module, problem, feature, inputs, how, device=device, decoding=decoding)
        else:
            found[feature.name] = feature.decode(raw[feature.name], how)
    return found


def truth_of(dataset: Dataset, rows: np.ndarray) -> Truth:
    """The truth about some rows of a dataset."""
    return {one.name: (one, np.asarray(dataset.targets[one.name][rows])) for one in dataset.problem.outputs}


def forward(
    module: PathModule,
    inputs: Mapping[str, np.ndarray],
    *,
    device: str = "cpu",
    truth: Truth | None = None,
    outputs: Collection[str] | None = None,
) -> dict[str, np.ndarray]:
    """Raw predictions {output: [N, ...]} of a path in eval mode, batch by batch; with `truth`, what is kept of them.

    `outputs`: only these; None = all.
    """
    import torch

    count = len(next(iter(inputs.values()))) if inputs else 0
    parts: dict[str, list[np.ndarray]] = {name: [] for name in outputs or module.outputs}
    size = batch_size(module)
    with torch.inference_mode():
        for begin in range(0, count, size):
            batch = {
                port: torch.from_numpy(np.ascontiguousarray(array[begin : begin + size])).to(device)
                for port, array in inputs.items()
                if port in module.ports
            }
            for name, value in module(batch, outputs).items():
                if truth is not None and name in truth:
                    feature, targets = truth[name]
                    value = feature.kept(value.float(), torch.from_numpy(targets[begin : begin + size]).to(device))
                parts[name].append(value.float().cpu().numpy())
    return {name: np.concatenate(part) if part else np.zeros((0, 1), np.float32) for name, part in parts.items()}


def batch_size(module: PathModule) -> int:
    """Rows that are predicted at a time: fewer where pictures are large."""
    pixels = max((math.prod(form.size) for form in module.ports.values() if form.kind == "map"), default=1)
    return max(1, min(BATCH, BATCH_PIXELS // pixels)) if pixels > 96 * 96 else BATCH
