"""What a search for parts gave, for people: the picture of the search, and a page about its winner.

Knows nothing of rules or cells: it is given words, numbers and tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from . import _write
from .chart import LEFT, Chart, spread
from .flow import Box, draw
from .markup import Html, counted, figure, join, number, tag, text
from .markup import table as table_of
from .style import CSS, SVG_CSS

SIZE = (980.0, 380.0)
COLOURS = 8
FIXED = "fixed"
DOTS = "full dots: first rungs; pale: later, dearer ones, whose scores are other and weigh more"
LEGEND_LINE = 20.0


@dataclass(frozen=True)
class Attempt:
    """One finished rung of one experiment."""

    number: int
    by: str
    """The generator that proposed it, or "fixed": what people made."""
    rung: int
    """0 is the first."""
    score: float | None
    """None: it died."""
    label: str


class Section(Protocol):
    """A part of the page: words, a graph and a table under them if it has boxes or rows."""

    @property
    def title(self) -> str: ...
    @property
    def said(self) -> str: ...
    @property
    def head(self) -> Sequence[str]: ...
    @property
    def rows(self) -> Sequence[Sequence[str]]: ...
    @property
    def boxes(self) -> Mapping[str, tuple[tuple[str, ...], tuple[str, ...], str]]: ...


def write_invention_picture(name: str, attempts: Sequence[Attempt], formula: str, path: str | Path) -> Path:
    """Writes the picture of a search as an SVG file and returns where it is. Raises BadInput if it cannot."""
    drawn, legend = _chart(attempts)
    top = 70 + SIZE[1] + 24
    parts = [
        _word(24, 34, f"The search {name}", size=20, kind="strong"),
        _word(24, 56, f"{_counts(attempts)}; {DOTS}"),
        tag("g", join(drawn.parts), transform="translate(0 70)"),
    ]
    for said, kind in legend:
        parts.append(tag("line", x1=LEFT, y1=top - 4, x2=LEFT + 22, y2=top - 4, class_=f"line {kind}"))
        parts.append(_word(LEFT + 30, top, said, kind="note"))
        top += LEGEND_LINE
    parts.append(_word(24, top + 20, text(formula, 130), size=15, kind="strong"))
    high = round(top + 44)
    svg = tag(
        "svg",
        tag("title", f"The search {name}"),
        tag("style", Html(SVG_CSS)),
        tag("rect", x=0, y=0, width=round(SIZE[0]), height=high, class_="ground"),
        join(parts),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {round(SIZE[0])} {high}",
        width=round(SIZE[0]),
        height=high,
    )
    return _write(Path(path), svg)


def write_invention_page(
    name: str, attempts: Sequence[Attempt], formula: str, sections: Sequence[Section], path: str | Path
) -> Path:
    """Writes the page about what a search found and returns where it is. Raises BadInput if it cannot."""
    drawn, legend = _chart(attempts)
    caption = (
        "A dot per finished rung (full: the first, pale: later ones); a line per generator: the best of its "
        "first rungs so far. Crosses at the foot died. " + "; ".join(said for said, _ in legend) + "."
    )
    body = [
        tag("header", tag("p", "Polymath invented", class_="over"), tag("h1", name), tag("p", formula, class_="lead")),
        tag(
            "main",
            *(_section(one) for one in sections),
            tag(
                "section",
                tag("h2", "The search"),
                tag("p", _counts(attempts)),
                figure(drawn.svg(f"The search {name}"), caption, wide=True),
            ),
        ),
    ]
    top = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{name} · Polymath"),
        tag("style", Html(CSS)),
    )
    page = "<!doctype html>\n" + tag("html", top, tag("body", *body), lang="en") + "\n"
    return _write(Path(path), page)


def _section(one: Section) -> Html:
    shown = [table_of(one.head, one.rows, numbers=range(1, len(one.head)))] if one.rows else []
    boxes = {name: Box(words, sources, kind) for name, (words, sources, kind) in one.boxes.items()}
    graph = [figure(draw(boxes, one.title), "Read from top to bottom.", wide=True)] if boxes else []
    return tag("section", tag("h2", one.title), tag("p", one.said), *graph, *shown)


def _counts(attempts: Sequence[Attempt]) -> str:
    first = [one for one in attempts if one.rung == 0]
    died = sum(one.score is None for one in first)
    return f"{counted(len(first), 'experiment')}, {died:,} died in their first rung"


def _chart(attempts: Sequence[Attempt]) -> tuple[Chart, list[tuple[str, str]]]:
    """The chart, and for each generator what it did and the class of its colour."""
    names = list(dict.fromkeys(one.by for one in attempts if one.by != FIXED))
    kinds = {by: f"arm{min(place, COLOURS)}" for place, by in enumerate(names)} | {FIXED: "arm-fixed"}
    scores = sorted(one.score for one in attempts if one.score is not None) or [0.0]
    low = scores[len(scores) // 4]
    last = max((one.number for one in attempts), default=1)
    chart = Chart((0.0, max(last, 1)), spread([low, scores[-1]]), x_label="experiment", y_label="score", size=SIZE)
    legend = []
    for by in [*names, FIXED]:
        own = [one for one in attempts if one.by == by]
        best: list[tuple[float, float]] = []
        for one in own:
            title = f"{one.number}: {text(one.label, 80)}"
            if one.score is None:
                chart.cross(one.number, kind=kinds[by], title=title)
                continue
            kind = kinds[by] if one.rung == 0 else f"{kinds[by]} pale"
            chart.dots([(one.number, one.score)], kind=kind, radius=2.4, titles=[f"{title}: {number(one.score)}"])
            if one.rung == 0 and (not best or one.score > best[-1][1]):
                best.append((one.number, one.score))
        if best and by != FIXED:
            chart.line([*best, (last, best[-1][1])], kind=kinds[by], stairs=True, title=by)
        if own:
            reached = f", best of the first rungs {number(best[-1][1])}" if best else ""
            who = "what people made, tried first" if by == FIXED else by
            legend.append((f"{who}: {counted(len(own), 'rung')}{reached}", kinds[by]))
    return chart, legend


def _word(x: float, y: float, word: str, *, size: float = 12, kind: str | None = None) -> Html:
    return tag("text", word, x=x, y=y, font_size=size, class_=kind)
