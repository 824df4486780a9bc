"""HTML and SVG that cannot be broken by what stands in the data: everything is escaped unless it is `Html` already."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence

from ..spec import printable

EMPTY = frozenset({"meta", "img", "line", "rect", "circle", "path", "polyline"})
"""Elements without content."""


class Html(str):
    """Text that is markup: written as it stands."""

    __slots__ = ()


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """One element. `class_` becomes class, other underscores hyphens; None leaves an attribute out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in EMPTY and not children:
        return Html(f"<{name}{given}/>")
    return Html(f"<{name}{given}>{join(children)}</{name}>")


def join(parts: Iterable[object], separator: str = "") -> Html:
    """Parts one after the other."""
    return Html(html.escape(separator).join(markup(part) for part in parts if part is not None))


def markup(value: object) -> Html:
    """A value as markup: `Html` as it is, anything else as escaped text."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def text(value: object, limit: int = 60) -> str:
    """A value from the data, on one line and cut."""
    return printable(" ".join(str(value).split()), limit=limit)


def table(head: Sequence[object], rows: Iterable[Sequence[object]], *, numbers: Sequence[int] = ()) -> Html:
    """A table that scrolls sideways on a phone; columns at `numbers` are set flush right."""

    def cell(kind: str, place: int, value: object) -> Html:
        return tag(kind, value, class_="number" if place in numbers else None)

    top = tag("thead", tag("tr", *(cell("th", i, value) for i, value in enumerate(head))))
    body = tag("tbody", *(tag("tr", *(cell("td", i, v) for i, v in enumerate(row))) for row in rows))
    return tag("div", tag("table", top, body), class_="scroll")


def figure(picture: Html, caption: object, *, wide: bool = False) -> Html:
    """A drawing and what it shows."""
    return tag("figure", picture, tag("figcaption", caption), class_="wide" if wide else None)


def section(name: str, title: str, *children: object) -> Html:
    """A part of the page that can be linked to."""
    return tag("section", tag("h2", title), *children, id=name)


def more(summary: object, *children: object) -> Html:
    """Something that opens when asked for; needs no script."""
    return tag("details", tag("summary", summary), *children)


def number(value: float | None, digits: int = 4) -> str:
    """A number for people: four significant digits, thousands apart; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e9 or size < 1e-4:
        return f"{value:.{digits - 1}g}"
    places = max(0, digits - 1 - math.floor(math.log10(size)))
    shown = f"{value:,.{places}f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def amount(value: float) -> str:
    """A count, short: 950, 12.3 k, 4.5 M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e4)):
        if value >= size:
            return f"{number(value / (1e3 if unit == 'k' else size), 3)} {unit}"
    return f"{value:,.0f}"


def counted(count: int, word: str) -> str:
    """'1 row', '2 rows'."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 100:
        return f"{number(seconds, 3)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def score(metric: str, value: float | None) -> str:
    """A score as it is usually said: shares as percent."""
    if value is not None and metric in SHARES:
        return f"{number(100 * value, 3)} %"
    return number(round(value, 4) if value is not None and abs(value) < 1e-3 else value)


SHARES = frozenset({"accuracy", "balanced_accuracy", "subset_accuracy"})
NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "log_loss": "log loss",
    "f1_macro": "F1, mean over classes",
    "f1_micro": "F1, all labels together",
    "auc": "area under the curve",
    "rmse": "root mean squared error",
    "mae": "mean absolute error",
    "r2": "variance explained (R²)",
    "subset_accuracy": "rows with all labels right",
    "average_precision": "average precision",
    "skill": "skill",
}


def metric_name(metric: str) -> str:
    """A metric by the name people know."""
    return NAMES.get(metric, metric.replace("_", " "))
