"""Small charts as SVG: data coordinates in, markup out. Colours come from the page's style: dark mode too."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from .markup import Html, join, number, tag

Point = tuple[float, float]
LEFT, RIGHT, TOP, BOTTOM = 72.0, 24.0, 12.0, 42.0
"""Margins, in the units of the drawing."""


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers between two others, evenly apart."""
    if not high > low:
        return [low]
    raw = (high - low) / most
    if raw < 8 * math.ulp(max(abs(low), abs(high))):  # there are hardly any numbers between the two
        return [low, high]
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(step * i, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def spread(values: Iterable[float], *, room: float = 0.05) -> tuple[float, float]:
    """Smallest and largest finite value with some room around; never an empty range."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    around = (high - low) * room or max(abs(high), 1e-9) * 0.1
    return low - around, high + around


class Chart:
    """One pair of axes. Call `line`, `dots`, `bars`, ... and then `svg`."""

    def __init__(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        *,
        x_label: str,
        y_label: str,
        size: tuple[float, float] = (480.0, 280.0),
        log_x: bool = False,
        percent: tuple[bool, bool] = (False, False),
    ) -> None:
        self.width, self.height = size
        self.log_x = log_x and x[0] > 0
        self.x, self.y, self.percent = (self._warp(x[0]), self._warp(x[1])), y, percent
        self.parts: list[Html] = []
        self._axes(x, x_label, y_label)

    def _warp(self, value: float) -> float:
        return math.log10(max(value, 1e-12)) if self.log_x else value

    def at(self, point: Point) -> Point:
        """Data -> drawing; what lies outside is put on the edge."""
        across = (self._warp(point[0]) - self.x[0]) / ((self.x[1] - self.x[0]) or 1.0)
        up = (point[1] - self.y[0]) / ((self.y[1] - self.y[0]) or 1.0)
        across, up = min(max(across, 0.0), 1.0), min(max(up, 0.0), 1.0)
        inner_width, inner_height = self.width - LEFT - RIGHT, self.height - TOP - BOTTOM
        return round(LEFT + across * inner_width, 1), round(TOP + (1 - up) * inner_height, 1)

    def _axes(self, x: tuple[float, float], x_label: str, y_label: str) -> None:
        bottom, right = self.height - BOTTOM, self.width - RIGHT
        for value in nice_ticks(*self.y, most=5):
            _, place = self.at((x[0], value))
            self.parts.append(tag("line", x1=LEFT, y1=place, x2=right, y2=place, class_="grid"))
            self._word(LEFT - 8, place + 4, self._tick(value, 1), anchor="end")
        for value in self._x_ticks(x):
            place, _ = self.at((value, self.y[0]))
            self.parts.append(tag("line", x1=place, y1=bottom, x2=place, y2=bottom + 4, class_="axis"))
            self._word(place, bottom + 17, self._tick(value, 0), anchor="middle")
        self.parts.append(tag("line", x1=LEFT, y1=bottom, x2=right, y2=bottom, class_="axis"))
        self._word((LEFT + right) / 2, self.height - 6, x_label, anchor="middle", kind="label")
        middle = (TOP + bottom) / 2
        turned = f"rotate(-90 12 {middle})"
        self.parts.append(tag("text", y_label, x=12, y=middle, text_anchor="middle", class_="label", transform=turned))

    def _x_ticks(self, x: tuple[float, float]) -> list[float]:
        if not self.log_x:
            return nice_ticks(*x, most=6)
        powers = range(math.ceil(self.x[0] - 1e-9), math.floor(self.x[1] + 1e-9) + 1)
        every = max(1, math.ceil(len(powers) / 6))
        found = [10.0**power for power in powers if power % every == 0]
        return found if len(found) > 1 else [x[0], x[1]]

    def _tick(self, value: float, axis: int) -> str:
        return f"{number(100 * value, 3)} %" if self.percent[axis] else number(value, 3)

    def _word(self, x: float, y: float, word: str, *, anchor: str, kind: str | None = None) -> None:
        self.parts.append(tag("text", word, x=round(x, 1), y=round(y, 1), text_anchor=anchor, class_=kind))

    def line(self, points: Sequence[Point], *, kind: str = "one", stairs: bool = False, title: str = "") -> None:
        """A line through the points; `stairs`: level until the next one."""
        if not points:
            return
        places = [self.at(point) for point in points]
        commands = [f"M{places[0][0]} {places[0][1]}"]
        for across, up in places[1:]:
            commands.append(f"H{across}V{up}" if stairs else f"L{across} {up}")
        children = (tag("title", title),) if title else ()
        self.parts.append(tag("path", *children, d="".join(commands), class_=f"line {kind}"))

    def dots(
        self, points: Iterable[Point], *, kind: str = "one", radius: float = 3.0, titles: Sequence[str] = ()
    ) -> None:
        """A dot for each point, with a word that shows when the pointer rests on it."""
        for i, point in enumerate(points):
            across, up = self.at(point)
            children = (tag("title", titles[i]),) if i < len(titles) else ()
            self.parts.append(tag("circle", *children, cx=across, cy=up, r=radius, class_=f"dot {kind}"))

    def cross(self, x: float, *, kind: str = "one", title: str = "") -> None:
        """A cross on the lower edge: something that has no height."""
        across, up = self.at((x, self.y[0]))
        children = (tag("title", title),) if title else ()
        ends = f"M{across - 3:g} {up - 7:g}l6 6m0-6l-6 6"
        self.parts.append(tag("path", *children, d=ends, class_=f"cross {kind}"))

    def bars(self, bars: Iterable[tuple[float, float, float]], *, kind: str = "one") -> None:
        """Bars (from, to, height) that stand on the lower edge."""
        for begin, end, height in bars:
            left, top = self.at((begin, height))
            right, bottom = self.at((end, self.y[0]))
            width = max(right - left - 1, 0.6)
            self.parts.append(
                tag("rect", x=left, y=top, width=round(width, 1), height=round(bottom - top, 1), class_=f"bar {kind}")
            )

    def word(self, point: Point, word: str, *, anchor: str = "start") -> None:
        """A word beside a point."""
        across, up = self.at(point)
        self._word(across + (6 if anchor == "start" else -6), up - 6, word, anchor=anchor, kind="note")

    def svg(self, title: str) -> Html:
        """The finished drawing; `title` is read aloud in its place."""
        return drawing(self.parts, self.width, self.height, title=title)


def drawing(
    parts: Iterable[Html], width: float, height: float, *, title: str, least: float | None = None, natural: bool = False
) -> Html:
    """Parts as one SVG that fills its place; below `least` pixels it scrolls instead of shrinking.

    `natural`: it is never enlarged.
    """
    style = f"min-width:{round(least)}px" if least else ""
    style += f";max-width:{round(width)}px;margin:auto" if natural else ""
    picture = tag(
        "svg",
        tag("title", title),
        join(parts),
        viewBox=f"0 0 {round(width)} {round(height)}",
        role="img",
        style=style or None,
        xmlns="http://www.w3.org/2000/svg",
    )
    return tag("div", picture, class_="scroll")
