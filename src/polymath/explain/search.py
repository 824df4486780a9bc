"""The picture of a search: how the score grew with work, who proposed what, and the best path that was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..model.path import Path
from .chart import LEFT, Chart, spread
from .flow import draw, flow, skips
from .graph import MOST_GENES, gene_boxes
from .markup import SHARES, Html, amount, counted, figure, join, metric_name, more, number, score, table, tag, text
from .material import Material, Tried
from .style import SVG_CSS

FIXED = "fixed"
"""Generator of what is always tried first."""
COLOURS = 8
"""Generators with a colour of their own; the rest share one."""
FEW = 80
"""Experiments up to which dots are large."""
SIZE = (980.0, 380.0)
LEGEND_COLUMNS, LEGEND_LINE = 2, 20.0


@dataclass(frozen=True)
class Arm:
    """What one generator proposed, and how that went."""

    name: str
    kind: str
    """Class of its colour."""
    tried: tuple[Tried, ...]
    best: tuple[tuple[float, float], ...]
    """(work of the whole search, best score of its experiments so far), where it grew."""

    @property
    def num_failed(self) -> int:
        return sum(1 for one in self.tried if one.failed)


def arms(material: Material) -> list[Arm]:
    """The generators of a task's experiments, the one with the best experiment first."""
    by_name: dict[str, list[Tried]] = {}
    for one in material.experiments:
        by_name.setdefault(one.generator, []).append(one)
    of = {one.number: one.generator for one in material.experiments}
    best: dict[str, list[tuple[float, float]]] = {name: [] for name in by_name}
    for work, value, number_ in material.steps:
        points = best[of[number_]]
        if not points or material.better(value, points[-1][1]):
            points.append((work, value))
    sign = -1.0 if material.summary.greater_is_better else 1.0

    def rank(name: str) -> tuple[bool, float, str]:
        return not best[name], sign * best[name][-1][1] if best[name] else 0.0, name

    names = sorted(by_name, key=rank)
    searchers = [name for name in names if name != FIXED]
    kinds = {name: f"arm{min(i, COLOURS)}" for i, name in enumerate(searchers)} | {FIXED: "arm-fixed"}
    return [Arm(name, kinds[name], tuple(by_name[name]), tuple(best[name])) for name in names]


def over_work(material: Material) -> Html | None:
    """The picture and its legend, for the page; None where fewer than two rungs gave a score."""
    drawn = _chart(material)
    if drawn is None:
        return None
    caption = (
        "A dot per experiment where its last rung ended (full: trained to its end, pale: cut); a line per generator: "
        "the best of its experiments so far. Crosses at the foot failed. What lies beyond the scale stands on its edge."
    )
    metric = material.summary.metric
    rows: list[list[object]] = []
    for arm in arms(material):
        found = arm.best[-1] if arm.best else None
        name = tag("span", _swatch(), text(arm.name, 40), class_=f"arm {arm.kind}")
        rows.append(
            [
                name,
                f"{len(arm.tried):,}",
                f"{arm.num_failed:,}",
                "–" if found is None else score(metric, found[1]),
                "–" if found is None else number(found[0], 3),
                number(_own_work(arm), 3),
            ]
        )
    head = ["chosen by", "experiments", "failed", f"best {metric_name(metric)}", "found at work", "own work"]
    legend = table(head, rows, numbers=range(1, 6))
    return figure(join([drawn.svg(f"{metric_name(metric)} over work"), legend]), caption, wide=True)


def best_path(material: Material) -> Html | None:
    """The path of the best experiment as a graph, with the choices behind it."""
    best = material.best
    path = _drawable(best)
    if best is None or path is None:
        return None
    title = f"The best experiment: number {best.number}, {text(best.label, 80)}"
    boxes = gene_boxes(path)
    said = f"{_chosen(best).capitalize()}; alone it reaches {score(material.summary.metric, best.score)}."
    if skips(boxes):
        said += " Orange lines are skip connections: they pass by layers that lead the same way."
    parts: list[object] = [tag("h3", title), figure(draw(boxes, title), said, wide=True)]
    if best.choices:
        named = f"Its {counted(len(best.choices), 'choice')}"
        parts.append(more(named, table(["choice", "made"], [(text(n, 60), text(v, 80)) for n, v in best.choices])))
    return join(parts)


def picture(material: Material) -> Html:
    """The picture alone, as a file: the chart with its legend, and the best path under it."""
    name, metric = text(material.record.name), material.summary.metric
    found = arms(material)
    failed = sum(arm.num_failed for arm in found)
    head = f"{counted(len(material.experiments), 'experiment')}, {failed:,} failed"
    parts = [_word(24, 34, f"The search for {name}", size=20, kind="strong"), _word(24, 56, head)]
    drawn, top = _chart(material), 70.0
    if drawn is not None:
        parts.append(tag("g", join(drawn.parts), transform=f"translate(0 {top:g})"))
        top += SIZE[1] + 24
        for i, arm in enumerate(found):
            x, y = LEFT + (i % LEGEND_COLUMNS) * 440, top + (i // LEGEND_COLUMNS) * LEGEND_LINE
            parts.append(tag("line", x1=x, y1=y - 4, x2=x + 22, y2=y - 4, class_=f"line {arm.kind}"))
            parts.append(_word(x + 30, y, _said(arm, metric), kind="note"))
        top += -(-len(found) // LEGEND_COLUMNS) * LEGEND_LINE + 8
        parts.append(_word(LEFT, top, "Dots: experiments (pale: cut before their end). Crosses: failures.", size=11))
        top += 22
    width, best = SIZE[0], material.best
    path = _drawable(best)
    if best is not None and path is not None:
        wide, high, boxes = flow(gene_boxes(path))
        said = f"The best: number {best.number}, {_chosen(best)}, {metric_name(metric)} {score(metric, best.score)}"
        parts.append(_word(24, top + 20, said, size=15, kind="strong"))
        width = max(width, wide + 48)
        parts.append(tag("g", join(boxes), transform=f"translate({(width - wide) / 2:.1f} {top + 40:.1f})"))
        top += high + 64
    ground = tag("rect", x=0, y=0, width=round(width), height=round(top), class_="ground")
    return tag(
        "svg",
        tag("title", f"The search for {name}"),
        tag("style", Html(SVG_CSS)),
        ground,
        join(parts),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {round(width)} {round(top)}",
        width=round(width),
        height=round(top),
    )


def _chosen(one: Tried) -> str:
    return "always tried first" if one.generator == FIXED else f"proposed by {text(one.generator, 40)}"


def _drawable(best: Tried | None) -> Path | None:
    """The path of an experiment, unless there is none or it is too large for a drawing."""
    path = None if best is None or best.path is None else Path.model_validate(best.path)
    return None if path is None or len(path.genes) > 3 * MOST_GENES else path


def useful_range(material: Material, values: Sequence[float]) -> tuple[float, float]:
    """Range without hopeless experiments: from the best to a bit beyond the median of those better than a constant."""
    sign = 1.0 if material.summary.greater_is_better else -1.0
    signed = sorted(sign * value for value in values)
    best, middle = signed[-1], signed[len(signed) // 2]
    low = max(signed[0], best - 2.5 * (best - middle)) if best > middle else signed[0]
    return spread([sign * low, sign * best])


def _chart(material: Material) -> Chart | None:
    steps = material.steps
    if len(steps) < 2:
        return None
    ends = [one.when for one in material.experiments]
    x = (max(min(steps[0][0], *ends), max(ends) / 1e6, 1e-9), max(steps[-1][0], *ends, 1e-9))
    middle = sorted(ends)[len(ends) // 2]
    name = metric_name(material.summary.metric)
    chart = Chart(
        x,
        useful_range(material, [value for _, value, _ in steps]),
        x_label="work of all experiments together",
        y_label=f"validation: {name}",
        size=SIZE,
        log_x=middle < 0.1 * x[1],  # else most of the picture would be empty
        percent=(False, material.summary.metric in SHARES),
    )
    radius = 4.0 if len(ends) <= FEW else 2.4
    found = arms(material)
    for arm in reversed(found):  # the best on top
        for one in arm.tried:
            said = f"{one.number} {text(one.label, 60)}"
            if one.failed or one.score is None:
                chart.cross(one.when, kind=arm.kind, title=f"{said}: {text(one.failed, 80)}")
                continue
            kind = f"{arm.kind}{'' if one.complete else ' pale'}"
            title = f"{said}: {score(material.summary.metric, one.score)}"
            chart.dots([(one.when, one.score)], kind=kind, radius=radius, titles=[title])
    for arm in reversed(found):
        if arm.best:
            chart.line([*arm.best, (x[1], arm.best[-1][1])], kind=arm.kind, stairs=True, title=arm.name)
    return chart


def _own_work(arm: Arm) -> float:
    return sum(one.work for one in arm.tried)


def _said(arm: Arm, metric: str) -> str:
    best = f", best {score(metric, arm.best[-1][1])} at work {number(arm.best[-1][0], 3)}" if arm.best else ""
    failed = f", {arm.num_failed:,} failed" if arm.num_failed else ""
    return f"{text(arm.name, 24)}: {amount(len(arm.tried))}{failed}{best}"


def _swatch() -> Html:
    return tag("i", class_="swatch")


def _word(x: float, y: float, word: str, *, size: float = 12, kind: str | None = None) -> Html:
    return tag("text", word, x=x, y=y, font_size=size, class_=kind)
