"""Answers at every pixel: pictures beside the truth and what was said, the worst first, and the score of every class.

Axes: C channels or classes, H height, W width of the canvas.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from ..model.build import PathModule, build
from ..model.decode.views import mean_answers, views_of
from ..problem import Dataset
from ..problem.features import Image, PixelMap
from ..problem.features._masks import palette
from ..problem.features._pixels import PixelTarget
from ..problem.features.pixel_map import VOID
from .markup import Html, number, table, tag, text
from .material import Material
from .mistakes import picture

WORST, USUAL = 6, 3
"""Pictures shown: the worst, and some from the middle."""
VIEWED = {
    2: "as it is and mirrored",
    4: "as it is, mirrored, and both upside down",
    8: "as it is, mirrored, both upside down, and these turned by a quarter",
}
Asked = tuple[PathModule, int]
"""The path, and of how many views its answers are the mean."""
SIDE = 240
"""Rows of pixels of a picture on the page at most; of larger ones every second or third is shown."""
INK = 0.55
"""How much of its own colour a class has where it lies over a picture."""


def of_pixels(
    material: Material, feature: PixelTarget, *, rows: np.ndarray, raw: np.ndarray, target: np.ndarray
) -> list[Html]:
    """Parts of the page about one output. `raw`: kept predictions [N, C, P]; `rows`: their places in the dataset."""
    parts = [_classes(material, feature)] if isinstance(feature, PixelMap) else []
    each = _scores(feature, raw, target)
    order = np.argsort(each, kind="stable")
    middle = len(order) // 2
    chosen = [("Worst pictures", order[:WORST])]
    if len(order) >= WORST + USUAL:
        chosen.append(("Usual pictures", order[middle : middle + USUAL]))
    if material.dataset is None or material.fetch is None:
        said = "The pictures are not shown: the data are no longer in the cache, and a store holds no rows."
        return [*parts, tag("p", said, class_="warn soft")]
    what = "share of pixels that are right" if isinstance(feature, PixelMap) else "correlation with the truth"
    module = build(material.path, material.problem.all_ports, fetch=material.fetch).eval()
    views = views_of(material.record.calibration)
    if views > 1:
        parts.append(
            tag("p", f"Every answer is the mean over {views} views of its picture: {VIEWED[views]}.", class_="soft")
        )
    for title, places in chosen:
        cards = [
            tag(
                "div",
                *_card((module, views), material.dataset, feature, int(rows[place]), float(each[place]), what),
                class_="mistake",
            )
            for place in places
        ]
        about = "From left to right: the picture, the truth, what was said."
        parts += [tag("h3", title), tag("p", about, class_="soft"), tag("div", *cards, class_="mistakes broad")]
    return parts


def _classes(material: Material, feature: PixelMap) -> Html:
    """Intersection over union of every class, with its colour and its share of the pixels."""
    scores: Mapping[str, float | None] = {}
    for split in ("test", "validation"):
        scores = scores or material.record.scores.get(split, {}).get(feature.name, {})
    colours = np.frombuffer(palette(), dtype=np.uint8).reshape(-1, 3)
    lines = []
    for code, name in enumerate(feature.classes):
        red, green, blue = colours[code + 1]
        patch = tag("span", "■", style=f"color:rgb({red},{green},{blue})")
        share = feature.shares[code]
        lines.append((patch, text(name), f"{100 * share:.1f} %", number(scores.get(f"iou {name}"), 3)))
    return table(("", "class", "share of the pixels", "intersection over union"), lines, numbers=(2, 3))


def _scores(feature: PixelTarget, raw: np.ndarray, target: np.ndarray) -> np.ndarray:
    """One number per picture, higher is better, from its kept pixels."""
    name = "accuracy" if isinstance(feature, PixelMap) else "pearson"
    found = [feature.scores(raw[n : n + 1], target[n : n + 1])[name] for n in range(len(raw))]
    return np.asarray(np.nan_to_num(np.array(found), nan=-1.0))


def _card(asked: Asked, dataset: Dataset, feature: PixelTarget, row: int, score: float, what: str) -> Iterator[Html]:
    said = _said(asked, dataset, feature, row)
    target = np.asarray(dataset.targets[feature.name][row])
    held = np.argwhere(feature.holds(target[None])[0])
    bottom, right = (held.max(0) + 1) if len(held) else target.shape[-2:]
    shown = _shown(dataset, row)[:, :bottom, :right]
    truth, said = target[..., :bottom, :right], said[..., :bottom, :right]
    panels = [shown, *(_drawn(feature, one, shown, like=truth) for one in (truth, said))]
    height = max(panel.shape[1] for panel in panels)
    gap = np.full((3, height, 4), 255, dtype=np.uint8)
    wide = [np.broadcast_to(panel, (3, *panel.shape[1:])) for panel in panels]
    strip = np.concatenate([wide[0], gap, wide[1], gap, wide[2]], axis=2)
    strip = strip[:, :: (step := max(1, -(-height // SIDE))), ::step]
    yield tag("div", picture(np.ascontiguousarray(strip), feature.name), class_="shown strip")
    yield tag("div", tag("p", f"{what} {number(score, 3)} · row {row + 1:,}", class_="soft"), class_="said")


def _said(asked: Asked, dataset: Dataset, feature: PixelTarget, row: int) -> np.ndarray:
    """Codes [H, W], or standardised numbers [C, H, W], that the path gives for a row."""
    module, views = asked
    inputs = {
        port: torch.from_numpy(np.array(dataset.inputs[port][row : row + 1]))
        for port in module.ports
        if port in dataset.inputs
    }
    with torch.inference_mode():
        how = {output.name: output.averaged for output in dataset.problem.outputs}
        answers = mean_answers(module, inputs, views=views, how=how)
        raw: np.ndarray = answers[feature.name][0].float().numpy()
    return np.asarray(raw.argmax(0)) if isinstance(feature, PixelMap) else raw


def _shown(dataset: Dataset, row: int) -> np.ndarray:
    """The first picture of a row, uint8 [3, H, W]."""
    first = next(feature for feature in dataset.problem.inputs if isinstance(feature, Image))
    pixels = np.asarray(dataset.inputs[dataset.problem.port_of(first)][row])
    return np.asarray(np.broadcast_to(pixels, (3, *pixels.shape[1:])) if len(pixels) == 1 else pixels)


def _drawn(feature: PixelTarget, values: np.ndarray, shown: np.ndarray, *, like: np.ndarray) -> np.ndarray:
    """Classes as colours over the picture; numbers as greys, from the least to the largest of the truth."""
    if isinstance(feature, PixelMap):
        colours = np.frombuffer(palette(), dtype=np.uint8).reshape(-1, 3)
        ink = np.moveaxis(colours[np.where(values == VOID, 0, values + 1)], -1, 0).astype(np.float32)
        mixed = INK * ink + (1 - INK) * shown
        return np.asarray(np.where(values == VOID, shown, mixed), dtype=np.uint8)
    low, high = _range(like[0])
    grey = np.nan_to_num((values[0] - low) / max(high - low, 1e-9)).clip(0, 1) * 255
    return np.asarray(np.broadcast_to(grey.astype(np.uint8), (3, *grey.shape)))


def _range(values: np.ndarray) -> Sequence[float]:
    finite = values[np.isfinite(values)]
    return [float(one) for one in np.percentile(finite, (1, 99))] if finite.size else [0.0, 1.0]
