"""What was tried and what it cost: scores over work, learning curves, every experiment, and what died of what."""

from __future__ import annotations

from collections.abc import Sequence

from .chart import Chart, spread
from .markup import (
    SHARES,
    Html,
    amount,
    duration,
    figure,
    join,
    metric_name,
    more,
    number,
    score,
    section,
    table,
    tag,
    text,
)
from .material import Material, Tried
from .search import best_path, over_work, useful_range

MOST_LISTED = 25
"""Experiments listed at once."""
MOST_CURVES = 30
"""Learning curves drawn: beyond that a picture shows nothing."""
KINDS = ("one", "two", "three")
"""Looks of the best curves; the others are grey."""


def tried(material: Material) -> Html:
    """The section on experiments."""
    if not material.experiments:
        return section(
            "tried", "What was tried", tag("p", "The ledger holds no experiment of this task.", class_="soft")
        )
    summary = material.summary
    died = [one for one in material.experiments if one.failed]
    seconds = sum(one.seconds for one in material.experiments)
    said = (
        f"{len(material.experiments):,} experiments, {len(died):,} of which failed; together {duration(seconds)} "
        f"of computing and {number(summary.work)} work units (1 unit = 1 billion multiplications)."
    )
    figures = tag("div", over_work(material), *_curves(material), class_="figures")
    return section(
        "tried",
        "What was tried, and what it cost",
        tag("p", said),
        figures,
        best_path(material),
        _leaderboard(material),
        _failures(died),
    )


def _curves(material: Material) -> list[Html]:
    learned = [one for one in material.experiments if len([p for p in one.curve if p.score is not None]) > 1]
    if not learned:
        return []
    sign = -1.0 if material.summary.greater_is_better else 1.0
    ranked = sorted(learned, key=lambda one: sign * one.score if one.score is not None else float("inf"))[:MOST_CURVES]
    looks = {one.number: (KINDS[i] if i < len(KINDS) else "muted") for i, one in enumerate(ranked)}
    name = metric_name(material.summary.metric)
    scores = [(one, [(p.work, p.score) for p in one.curve if p.score is not None]) for one in reversed(ranked)]
    losses = [(one, [(p.work, p.loss) for p in one.curve if p.loss is not None]) for one in reversed(ranked)]
    result = []
    for series, label, what in ((scores, f"validation: {name}", name), (losses, "training loss", "training loss")):
        drawn = [(one, points) for one, points in series if len(points) > 1]
        if not drawn:
            continue
        work = [w for _, points in drawn for w, _ in points]
        values = [v for _, points in drawn for _, v in points]
        y = (
            useful_range(material, values)
            if series is scores
            else spread(sorted(values)[: max(2, int(0.97 * len(values)))])
        )
        in_percent = series is scores and material.summary.metric in SHARES
        log = min(work) > 0 and max(work) / min(work) > 200
        chart = Chart((min(work), max(work)), y, x_label="work", y_label=label, log_x=log, percent=(False, in_percent))
        for one, points in drawn:
            chart.line(points, kind=looks[one.number], title=f"{one.number}: {one.label}")
        result.append(figure(chart.svg(f"Learning curves: {what}"), _legend(ranked)))
    return result


def _legend(ranked: Sequence[Tried]) -> Html:
    colours = {"one": "var(--one)", "two": "var(--two)", "three": "var(--three)"}
    items: list[object] = []
    for look, one in zip(KINDS, ranked, strict=False):
        items.append(tag("span", "● ", style=f"color:{colours[look]}"))
        items.append(f"{one.number} {text(one.label, 60)}  ")
    rest = len(ranked) - len(KINDS)
    if rest > 0:
        items += [tag("span", "● ", style="color:var(--muted)"), f"{rest} others"]
    return join(items)


def _leaderboard(material: Material) -> Html:
    alive = [one for one in material.experiments if not one.failed and one.score is not None]
    sign = -1.0 if material.summary.greater_is_better else 1.0
    ranked = sorted(alive, key=lambda one: (sign * (one.score or 0.0), one.number))
    head = [
        "no.",
        "what",
        "chosen by",
        metric_name(material.summary.metric),
        "rungs",
        "work",
        "time",
        "parameters",
        "weight",
    ]
    numbers = (0, 3, 4, 5, 6, 7)
    rows = [_line(material, one) for one in ranked]
    parts = [tag("h3", "Leaderboard"), table(head, rows[:MOST_LISTED], numbers=numbers)]
    if rest := rows[MOST_LISTED:]:
        parts.append(more(f"{len(rest):,} more experiments", table(head, rest, numbers=numbers)))
    return join(parts)


def _line(material: Material, one: Tried) -> list[object]:
    share = round(100 * one.weight)
    meter = tag("span", tag("i", style=f"width:{share}%"), class_="meter", title=f"{share} % of the final path")
    return [
        one.number,
        text(one.label, 90),
        one.generator,
        score(material.summary.metric, one.score),
        one.rungs,
        number(one.work),
        duration(one.seconds),
        "–" if one.parameters is None else amount(one.parameters),
        meter if one.weight else "",
    ]


def _failures(died: Sequence[Tried]) -> Html | None:
    if not died:
        return None
    rows = [
        [one.number, text(one.label, 90), text(one.failed, 200), number(one.work), duration(one.seconds)]
        for one in died
    ]
    head = ["no.", "what", "why", "work", "time"]
    title = tag("h3", "Failures")
    said = tag("p", "An experiment that dies costs its own rung and nothing else.", class_="soft")
    parts = [title, said, table(head, rows[:MOST_LISTED], numbers=(0, 3, 4))]
    if rest := rows[MOST_LISTED:]:
        parts.append(more(f"{len(rest):,} more failures", table(head, rest, numbers=(0, 3, 4))))
    return join(parts)
