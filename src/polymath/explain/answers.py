"""Where the answers of each output are right and wrong: what suits its kind, drawn from the evidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, softmax

from ..problem.features import Category, Feature, Labels, Number
from ..problem.features._pixels import PixelTarget
from ..problem.features.common import key
from .chart import Chart, drawing, spread
from .markup import Html, figure, join, more, number, section, table, tag, text
from .material import Evidence, Material
from .mistakes import Mistake, mistakes
from .pixels import of_pixels

MOST_CLASSES = 20
"""Classes in the confusion matrix: the most frequent."""
MOST_POINTS = 1_500
"""Points in a scatter plot."""
NUM_BINS = 10
"""Of the reliability diagram."""
FEWEST_IN_BIN = 8
"""Answers in a bin whose share of right ones says anything; with fewer the dot is grey."""


@dataclass(frozen=True)
class Judged:
    """Rows of one output whose truth is known."""

    material: Material
    feature: Feature
    split: str
    rows: np.ndarray
    raw: np.ndarray
    target: np.ndarray


def answers(material: Material) -> Html:
    """One section per output."""
    evidence = material.evidence
    if evidence is None:
        said = "The answers behind the scores are kept when learning is over; this task has none yet."
        return section("answers", "Right and wrong", tag("p", said, class_="soft"))
    parts: list[object] = []
    for feature in material.problem.outputs:
        judged = _known(material, evidence, feature)
        if len(material.problem.outputs) > 1:
            parts.append(tag("h3", text(feature.name)))
        if not len(judged.rows):
            parts.append(tag("p", f"No {evidence.split} row holds the truth for {text(feature.name)}.", class_="soft"))
            continue
        parts.append(tag("p", f"From {len(judged.rows):,} {evidence.split} rows.", class_="soft"))
        parts += _kind(feature)(judged)
    return section("answers", "Right and wrong", *parts)


def _known(material: Material, evidence: Evidence, feature: Feature) -> Judged:
    target = evidence.targets[feature.name]
    known = np.flatnonzero(feature.known(target))
    raw = evidence.raw[feature.name][known].astype(np.float64)
    return Judged(material, feature, evidence.split, evidence.rows[known], raw, feature.single(target[known]))


def _kind(feature: Feature) -> Callable[[Judged], list[Html]]:
    if isinstance(feature, Category):
        return _category
    if isinstance(feature, Number):
        return _number
    if isinstance(feature, Labels):
        return _labels
    if isinstance(feature, PixelTarget):
        return _pixels
    return lambda judged: []


def _pixels(judged: Judged) -> list[Html]:
    assert isinstance(judged.feature, PixelTarget)
    raw = judged.raw.astype(np.float32)
    return of_pixels(judged.material, judged.feature, rows=judged.rows, raw=raw, target=judged.target)


def _temperature(judged: Judged) -> float:
    return float(judged.material.record.calibration.get(judged.feature.name, {}).get("temperature", 1.0))


# Categories ------------------------------------------------------------------------------------------------------
def _category(judged: Judged) -> list[Html]:
    assert isinstance(judged.feature, Category)
    names = [text(key(one), 24) for one in judged.feature.classes or ()]
    share = softmax(judged.raw / _temperature(judged), axis=1)
    said, truth = share.argmax(axis=1), judged.target.astype(np.int64)
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(counts, (truth, said), 1)
    figures = tag("div", _confusion(counts, names), _reliability(share.max(axis=1), said == truth), class_="figures")
    wrong = np.flatnonzero(said != truth)
    worst = wrong[np.argsort(-share[wrong, said[wrong]], kind="stable")]
    found = [
        Mistake(
            int(judged.rows[i]),
            said=names[said[i]],
            truth=names[truth[i]],
            note=f"{100 * share[i, said[i]]:.0f} % sure; {100 * share[i, truth[i]]:.0f} % for the truth",
        )
        for i in worst[:12]
    ]
    return [
        figures,
        _per_class(counts, names),
        mistakes(judged.material, found, total=len(wrong), title="Most confident mistakes"),
    ]


def _confusion(counts: np.ndarray, names: list[str]) -> Html:
    """Rows are the truth, columns the answers; the darker the more of the row's examples."""
    order = np.argsort(-counts.sum(axis=1), kind="stable")[:MOST_CLASSES]
    order = np.sort(order)
    shown = counts[np.ix_(order, order)]
    size = float(np.clip(420 / max(len(order), 1), 22, 70))
    left = 14 + 6.6 * min(max((len(names[i]) for i in order), default=1), 18)
    top = 12 + (left - 14) * 0.72 + 10
    totals = np.maximum(counts.sum(axis=1), 1)
    parts = []
    for row, i in enumerate(order):
        middle, across = round(top + (row + 0.5) * size, 1), round(left + (row + 0.5) * size, 1)
        word = names[i][:18]
        parts.append(tag("text", word, x=round(left - 8, 1), y=middle + 4, text_anchor="end", class_="name"))
        turned = f"rotate(-45 {across} {top - 8:.1f})"
        parts.append(tag("text", word, x=across - 2, y=round(top - 8, 1), class_="name", transform=turned))
        for column, j in enumerate(order):
            place = (left + column * size, top + row * size)
            note = f"{names[i]} taken for {names[j]}"
            parts.append(
                _cell(place, size, int(shown[row, column]), float(shown[row, column] / totals[i]), i == j, note)
            )
    end = left + size * len(order)
    picture = drawing(
        parts, end + 24, top + size * len(order) + 6, title="Confusion matrix", least=min(end + 24, 560) * 0.8
    )
    more_classes = f" The {len(order)} most frequent of {len(names)} classes." if len(names) > len(order) else ""
    return figure(picture, f"Confusion: a row is the truth, a column the answer.{more_classes}")


def _cell(place: tuple[float, float], size: float, count: int, share: float, right: bool, note: str) -> Html:
    """One square: its look says right or wrong, its depth the share of the row."""
    x, y = round(place[0], 1), round(place[1], 1)
    look = ("right" if right else "wrong") if count else "none"
    depth = round(0.08 + 0.84 * share**0.6, 3) if count else None
    said = tag("title", f"{note}: {count:,} ({100 * share:.0f} %)")
    side = round(size - 2, 1)
    square = tag("rect", said, x=x, y=y, width=side, height=side, rx=3, class_=look, fill_opacity=depth)
    if not count:
        return square
    font = round(min(12.0, size * 0.42, 1.5 * size / len(str(count))), 1)
    middle = {"x": round(x + side / 2, 1), "y": round(y + side / 2 + font * 0.36, 1), "font_size": font}
    kind = "over-dark" if (depth or 0) > 0.55 else "name"
    return join([square, tag("text", count, **middle, text_anchor="middle", class_=kind, pointer_events="none")])


def _reliability(sure: np.ndarray, right: np.ndarray) -> Html:
    """How often it is right where it says that it is p percent sure; ECE = mean distance from the diagonal."""
    places = np.clip((sure * NUM_BINS).astype(int), 0, NUM_BINS - 1)
    counts = np.bincount(places, minlength=NUM_BINS)
    mean_right = np.bincount(places, weights=right, minlength=NUM_BINS) / np.maximum(counts, 1)
    mean_sure = np.bincount(places, weights=sure, minlength=NUM_BINS) / np.maximum(counts, 1)
    error = float(np.sum(counts * np.abs(mean_right - mean_sure)) / max(counts.sum(), 1))
    chart = Chart(
        (0.0, 1.0),
        (0.0, 1.0),
        x_label="how sure it was",
        y_label="how often it was right",
        percent=(True, True),
        size=(480, 380),
    )
    used = counts > 0
    chart.bars(
        [(b / NUM_BINS, (b + 1) / NUM_BINS, counts[b] / counts.max()) for b in np.flatnonzero(used)], kind="soft"
    )
    chart.line([(0, 0), (1, 1)], kind="dash")
    sound = counts >= FEWEST_IN_BIN
    for kind, bins in (("muted", np.flatnonzero(used & ~sound)), ("two", np.flatnonzero(sound))):
        points = [(float(mean_sure[b]), float(mean_right[b])) for b in bins]
        if kind == "two":
            chart.line(points, kind=kind)
        chart.dots(points, kind=kind, radius=4, titles=[f"{counts[b]:,} rows" for b in bins])
    honest = (
        "so its probabilities mean what they say" if error < 0.03 else "the nearer to the dashed line the more honest"
    )
    caption = f"Reliability: expected calibration error {100 * error:.1f} %, {honest}. Pale bars: answers that sure."
    return figure(chart.svg("Reliability diagram"), caption)


def _per_class(counts: np.ndarray, names: list[str]) -> Html:
    right, truly, said = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    rows = []
    order = np.arange(len(names)) if len(names) <= MOST_CLASSES else np.argsort(-truly, kind="stable")
    for i in order:
        if not truly[i] and not said[i]:
            continue
        others = counts[i].copy()
        others[i] = 0
        often = f"{names[int(others.argmax())]} ({others.max():,})" if others.any() else ""
        f1 = 2 * right[i] / (truly[i] + said[i])
        rows.append(
            [
                names[i],
                f"{truly[i]:,}",
                _percent(right[i], said[i]),
                _percent(right[i], truly[i]),
                number(float(f1), 3),
                often,
            ]
        )
    head = ["class", "rows", "precision", "recall", "F1", "most often taken for"]
    return _cut(tag("h3", "Class by class"), head, rows, (1, 2, 3, 4))


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"


def _cut(title: Html, head: list[str], rows: list[list[str]], numbers: tuple[int, ...]) -> Html:
    """A table whose tail opens on request."""
    parts = [title, table(head, rows[:MOST_CLASSES], numbers=numbers)]
    if rest := rows[MOST_CLASSES:]:
        parts.append(more(f"{len(rest):,} more", table(head, rest, numbers=numbers)))
    return tag("div", *parts)


# Numbers ---------------------------------------------------------------------------------------------------------
def _number(judged: Judged) -> list[Html]:
    feature = judged.feature
    assert isinstance(feature, Number) and feature.mean is not None and feature.deviation is not None
    truth = judged.target.reshape(-1).astype(np.float64) * feature.deviation + feature.mean
    given = judged.raw.reshape(-1) * feature.deviation + feature.mean
    residual = given - truth
    calibration = judged.material.record.calibration.get(feature.name, {})
    drawn = [_scatter(truth, given, feature.name), _residuals(residual, feature.name)]
    parts = [tag("div", *drawn, class_="figures"), _coverage(residual, calibration, judged.split)]
    worst = np.argsort(-np.abs(residual), kind="stable")[:12]
    found = [
        Mistake(
            int(judged.rows[i]),
            said=number(given[i]),
            truth=number(truth[i]),
            note=f"off by {number(abs(residual[i]), 3)}",
        )
        for i in worst
    ]
    return [*parts, mistakes(judged.material, found, total=None, title="Farthest from the truth")]


def _scatter(truth: np.ndarray, given: np.ndarray, name: str) -> Html:
    few = np.unique(np.linspace(0, len(truth) - 1, min(len(truth), MOST_POINTS)).astype(np.int64))
    low, high = spread([*truth[few], *given[few]])
    chart = Chart((low, high), (low, high), x_label=f"true {text(name, 30)}", y_label="predicted", size=(480, 400))
    chart.line([(low, low), (high, high)], kind="dash")
    titles = [f"true {number(t)}, predicted {number(g)}" for t, g in zip(truth[few], given[few], strict=True)]
    chart.dots(zip(truth[few].tolist(), given[few].tolist(), strict=True), kind="faint", radius=2.8, titles=titles)
    sample = f" ({len(few):,} of {len(truth):,} rows)" if len(few) < len(truth) else ""
    return figure(
        chart.svg(f"Predicted against true {text(name, 30)}"),
        f"Predicted against true{sample}; on the dashed line they agree.",
    )


def _residuals(residual: np.ndarray, name: str) -> Html:
    low, high = np.quantile(residual, [0.005, 0.995])
    if not high > low:
        low, high = spread(residual)
    counts, edges = np.histogram(
        np.clip(residual, low, high), bins=min(40, max(8, round(len(residual) ** 0.5))), range=(low, high)
    )
    chart = Chart(
        (float(low), float(high)),
        (0.0, 1.08 * float(counts.max())),
        x_label="predicted - true",
        y_label="rows",
        size=(480, 400),
    )
    chart.bars([(float(a), float(b), float(c)) for a, b, c in zip(edges[:-1], edges[1:], counts, strict=True)])
    if low < 0 < high:
        chart.line([(0.0, 0.0), (0.0, 1.08 * float(counts.max()))], kind="dash")
    middle, side = float(np.median(residual)), "too high" if residual.mean() > 0 else "too low"
    mean = f"mean {number(abs(float(residual.mean())), 3)} {side}"
    caption = f"Errors: median {number(middle, 3)}, {mean}. The outermost bars hold what lies beyond."
    return figure(chart.svg(f"Histogram of the errors of {text(name, 30)}"), caption)


def _coverage(residual: np.ndarray, calibration: object, split: str) -> Html:
    half = calibration.get("half_width") if hasattr(calibration, "get") else None
    if half is None:
        return tag("p", "This output comes without intervals.", class_="soft")
    level = float(calibration.get("level", 0.9)) if hasattr(calibration, "get") else 0.9
    inside = float(np.mean(np.abs(residual) <= half))
    head = tag("h3", "Intervals")
    said = (
        f"Every answer comes with an interval of ± {number(half)} that should hold the truth "
        f"{100 * level:.0f} times in 100; "
        f"on these {split} rows it did {number(100 * inside, 3)} times in 100."
    )
    note = " By construction, for it was measured on them." if split == "validation" else ""
    return tag("div", head, tag("p", said + note))


# Labels ----------------------------------------------------------------------------------------------------------
def _labels(judged: Judged) -> list[Html]:
    feature = judged.feature
    assert isinstance(feature, Labels)
    names = [text(key(one), 30) for one in feature.classes or ()]
    share = expit(judged.raw / _temperature(judged))
    threshold = float(judged.material.record.calibration.get(feature.name, {}).get("threshold", 0.5))
    said, truth = share >= threshold, judged.target.astype(bool)
    right, truly, given = (said & truth).sum(axis=0), truth.sum(axis=0), said.sum(axis=0)
    rows = []
    for i in np.argsort(-truly, kind="stable"):
        either = truly[i] + given[i]
        f1 = number(float(2 * right[i] / either), 3) if either else "–"
        rows.append(
            [names[i], f"{truly[i]:,}", f"{given[i]:,}", _percent(right[i], given[i]), _percent(right[i], truly[i]), f1]
        )
    head = ["label", "true for", "said of", "precision", "recall", "F1"]
    wrong = (said != truth).sum(axis=1)
    loss = np.where(truth, -np.log(np.maximum(share, 1e-12)), -np.log(np.maximum(1 - share, 1e-12))).sum(axis=1)
    worst = [int(i) for i in np.argsort(-loss, kind="stable")[:12] if wrong[i]]
    found = [
        Mistake(
            int(judged.rows[i]),
            said=_listed(names, said[i]),
            truth=_listed(names, truth[i]),
            note=f"{wrong[i]} label{'s' if wrong[i] != 1 else ''} wrong",
        )
        for i in worst
    ]
    return [
        _cut(tag("h3", "Label by label"), head, rows, (1, 2, 3, 4, 5)),
        mistakes(judged.material, found, total=int((wrong > 0).sum()), title="Worst mistakes"),
    ]


def _listed(names: list[str], chosen: np.ndarray) -> str:
    return text(", ".join(names[i] for i in np.flatnonzero(chosen)), 90) or "none"
