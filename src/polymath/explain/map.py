"""The map of the whole model: boxes are layers, coloured lines are tasks on their way from the input to the answer.

Layers that several tasks share stand at the left, where the lines of their tasks run side by side; at the right every
task has a row of its own with what it alone holds, its name, its size, and which tasks it builds on.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence

from ..model.union import Share, Union
from .chart import drawing
from .map_nodes import Node
from .map_places import LEFT, Layout, Place, Scale, scale_for
from .markup import Html, amount, counted, join, tag, text
from .style import SVG_CSS

AGAIN = 560.0
"""A box that is taller than a screen says its words so often."""
LETTERS, BUILT, SIZE = 28, 200.0, 132.0
"""Most letters of a task's name; most room for what it builds on, and room for its size."""
LEGEND = (
    "A line is a task on its way from its input to its answer; a box is layers. A strong outline: used by "
    "several tasks; stacked boxes are alike copies (folds, members of an ensemble); dashed ones came from outside."
)
STYLE = """
.route{fill:none;stroke:hsl(var(--h) 58% var(--l));stroke-linecap:butt}
.dotted{fill:hsl(var(--h) 58% var(--l))}
.box rect{fill:var(--card);stroke:var(--muted)}.box.lent rect{stroke:var(--ink);stroke-width:1.2;fill-opacity:.62}
.box .under{fill:var(--fill)}.box.wild rect{stroke-dasharray:5 3}
svg .box text{fill:var(--ink);paint-order:stroke;stroke:var(--card);stroke-width:5px;stroke-linejoin:round}
svg .box .less{fill:var(--soft)}svg .side{fill:var(--soft)}
svg .task{fill:var(--ink);font-weight:600}
:root{--l:44%}@media (prefers-color-scheme:dark){:root{--l:64%}}
.row:hover rect.back{fill:var(--fill)}rect.back{fill:transparent}
"""


def whole_map(union: Union) -> Html:
    """The drawing, for a page. Raises ValueError for a store without tasks."""
    width, height, parts = _drawn(union)
    return drawing(parts, width, height, title=said(union), least=0.72 * width, natural=True)


def map_file(union: Union) -> str:
    """The drawing as an SVG file of its own."""
    width, height, parts = _drawn(union)
    legend = textwrap.wrap(LEGEND, int((width - 2 * LEFT) / 5.4))
    above = 68.0 + 14 * len(legend)
    head = [
        tag("text", "The whole model", x=LEFT, y=30, font_size=20, class_="strong"),
        tag("text", said(union), x=LEFT, y=51),
        *(tag("text", line, x=LEFT, y=70 + 14 * i, font_size=10.5) for i, line in enumerate(legend)),
    ]
    size = f"0 0 {round(width)} {round(height + above)}"
    ground = tag("rect", x=0, y=0, width=round(width), height=round(height + above), class_="ground")
    body = tag("g", join(parts), transform=f"translate(0 {above:g})")
    style = tag("style", Html(SVG_CSS))
    return tag(
        "svg",
        style,
        ground,
        *head,
        body,
        viewBox=size,
        width=round(width),
        height=round(height + above),
        xmlns="http://www.w3.org/2000/svg",
    )


def said(union: Union) -> str:
    """The whole model in one sentence."""
    alone = sum(union.share(name).parameters for name in union.tasks)
    saved = f"; {amount(alone)} if nothing were shared" if alone > union.all_parameters else ""
    what = f"{counted(len(union.tasks), 'task')}, {counted(len(union.genes), 'gene')}"
    return f"{what}, {amount(union.all_parameters)} parameters{saved}"


def _drawn(union: Union) -> tuple[float, float, list[Html]]:
    laid = Layout.of(union)
    order, scale, places, rows, right = laid.order, laid.scale, laid.places, laid.rows, laid.right
    hues = {name: round(360 * i / len(order)) for i, name in enumerate(order)}
    shares = {name: union.share(name) for name in order}
    width = right + named_width(order) + SIZE + built_width(shares.values(), scale)
    parts: list[Html] = [tag("style", Html(STYLE + _hover(order)))]
    parts += [_row(union, shares[name], rows[name], (right, width), hues[name], order) for name in order]
    parts += [
        line for name in order for line in _route(name, places, order, rows, right=right, hue=hues[name], scale=scale)
    ]
    parts += [_box(union, place, order, scale) for place in places]
    if laid.split:
        parts += [_word(LEFT, 14, "shared by several tasks"), _word(laid.split, 14, "held by one task alone")]
    parts += [
        _word(right + 16, 14, "task"),
        _word(right + named_width(order), 14, "parameters"),
        _word(right + named_width(order) + SIZE, 14, "builds on"),
    ]
    return width, laid.height, parts


def named_width(names: Sequence[str]) -> float:
    """Room for the names of tasks."""
    longest = max(min(len(name), LETTERS) for name in names)
    return 26 + 0.62 * (scale_for(len(names)).font + 1.5) * max(longest, 8)


def built_width(shares: Iterable[Share], scale: Scale) -> float:
    """Room for what tasks build on, up to `BUILT`."""
    longest = max(len(", ".join(share.builds_on)) for share in shares)
    return min(20 + 0.56 * scale.font * max(longest, len("builds on")), BUILT)


def _route(
    name: str,
    places: Sequence[Place],
    order: Sequence[str],
    rows: Mapping[str, float],
    *,
    right: float,
    hue: int,
    scale: Scale,
) -> list[Html]:
    """The lines of one task: from inputs through its boxes to its row."""
    mine = [place for place in places if name in place.slots]
    read = {source for place in mine for source in place.node.sources}
    steps = []
    for place in mine:
        y = place.y + place.slots[name]
        if place.node.ports:
            steps.append(f"M{place.x - 10:.1f} {y:.1f}H{place.x:.1f}")
        if not place.own:
            steps.append(f"M{place.x:.1f} {y:.1f}h{place.width:g}")
        for source in place.node.sources:
            before = places[source]
            steps.append(_curve(before.x + before.width, before.y + before.slots[name], place.x, y))
    for i, place in enumerate(places):
        if name in place.slots and i not in read:
            steps.append(_curve(place.x + place.width, place.y + place.slots[name], right, rows[name]))
    title = tag("title", name)
    number = order.index(name)
    line = tag(
        "path",
        title,
        d="".join(steps),
        class_=f"route t t{number}",
        style=f"--h:{hue}",
        stroke_width=f"{scale.line * 0.8:.2f}",
    )
    return [line]


def _curve(x1: float, y1: float, x2: float, y2: float) -> str:
    bend = min((x2 - x1) / 2, 46.0)
    turn = x1 + 2 * bend
    rest = f"H{x2:.1f}" if x2 - turn > 1 else ""
    return f"M{x1:.1f} {y1:.1f}C{x1 + bend:.1f} {y1:.1f} {turn - bend:.1f} {y2:.1f} {turn:.1f} {y2:.1f}{rest}"


def _box(union: Union, place: Place, order: Sequence[str], scale: Scale) -> Html:
    node, width = place.node, place.width
    number = {name: i for i, name in enumerate(order)}
    classes = "box t " + " ".join(f"t{number[name]}" for name in node.tasks)
    classes += "" if place.own else " lent"
    classes += " wild" if any(union.stored[name].imported for name in node.tasks) else ""
    parts = [tag("title", described(node))]
    if node.stack > 1:
        for shift in (5.0, 2.5):
            parts.append(_rect(place.x + shift, place.y - shift, width, place.height, "under"))
    parts.append(_rect(place.x, place.y, width, place.height, None))
    letters = int((width - 12) / (scale.font * 0.53))
    times = f" ×{node.stack}" if node.stack > 1 else ""
    first = text(node.words, letters - len(times)) + times
    second = f"{amount(node.parameters)}" + (f", {len(node.tasks)} tasks" if len(node.tasks) > 1 else "")
    middle = place.y + place.height / 2
    tall = place.height >= 2.3 * scale.font + 4
    if not tall:
        size = amount(node.parameters)
        first = text(node.words, max(letters - len(size) - 1 - len(times), 4)) + times
        parts.append(_word(place.x + 6, middle + 0.36 * scale.font, first, size=scale.font, kind=None))
        parts.append(
            _word(place.x + width - 5, middle + 0.36 * scale.font, size, size=scale.font, kind="less", anchor="end")
        )
    else:
        for y in _middles(place):
            parts.append(_word(place.x + 6, y - 2, first, size=scale.font, kind=None))
            parts.append(_word(place.x + 6, y + scale.font, second, size=scale.font, kind="less"))
    if node.ports and not place.own:
        ports = text(", ".join(node.ports), 9)
        for y in _middles(place):
            parts.append(_word(place.x - 14, y + 0.36 * scale.font, ports, size=scale.font, anchor="end"))
    return tag("g", join(parts), class_=classes)


def _middles(place: Place) -> list[float]:
    """Where a box says its words: in its middle, or in the middle of every screen that it fills."""
    times = max(1, round(place.height / AGAIN))
    return [place.y + place.height * (i + 0.5) / times for i in range(times)]


def described(node: Node) -> str:
    """A box in a sentence, for who points at it."""
    copies = f" ({node.stack} alike copies: folds or members of an ensemble)" if node.stack > 1 else ""
    held = ", ".join(node.tasks[:12]) + (f" and {len(node.tasks) - 12} more" if len(node.tasks) > 12 else "")
    reads = f" Reads {', '.join(node.ports)}." if node.ports else ""
    return (
        f"{node.words}: {counted(node.genes, 'gene')}{copies}, {node.parameters:,} parameters.{reads} Held by {held}."
    )


def _row(union: Union, share: Share, y: float, room: tuple[float, float], hue: int, order: Sequence[str]) -> Html:
    right, width = room
    after = right + named_width(order)
    number = order.index(share.name)
    scale = scale_for(len(order))
    size = scale.font + 1.5
    base = y + 0.36 * size
    own = (
        f"{amount(share.parameters)}, {amount(share.parameters_own)} its own"
        if share.parameters_shared
        else amount(share.parameters)
    )
    named = text(share.name, LETTERS)
    built = text(", ".join(share.builds_on), int((width - after - SIZE) / (scale.font * 0.53)))
    parts = [
        tag("title", _told(union, share)),
        tag(
            "rect", x=right, y=round(y - scale.row / 2, 1), width=round(width - right), height=scale.row, class_="back"
        ),
        tag("circle", cx=right, cy=round(y, 1), r=min(4.5, scale.row / 4), class_="dotted", style=f"--h:{hue}"),
        _word(right + 10, base, named, size=size, kind="task"),
        _word(after, base, own, size=scale.font),
        _word(after + SIZE, base, built, size=scale.font),
    ]
    return tag("g", join(parts), class_=f"row t t{number}")


def _told(union: Union, share: Share) -> str:
    note = union.stored[share.name].note
    by = f" Built upon by {counted(len(share.built_upon_by), 'task')}." if share.built_upon_by else ""
    on = f" Builds on {', '.join(share.builds_on)}." if share.builds_on else ""
    active = f" Active share of the whole model: {100 * share.active:.3g} %."
    return f"{share.name}: {note + ', ' if note else ''}{share.parameters:,} parameters.{on}{by}{active}"


def _hover(order: Sequence[str]) -> str:
    """Pointing at a task leaves its route alone; no script."""
    return "".join(f"svg:has(.row.t{i}:hover) .t:not(.t{i}){{opacity:.08}}" for i in range(len(order)))


def _rect(x: float, y: float, width: float, height: float, kind: str | None) -> Html:
    return tag("rect", x=round(x, 1), y=round(y, 1), width=width, height=round(height, 1), rx=4, class_=kind)


def _word(
    x: float, y: float, word: str, *, size: float = 10.5, kind: str | None = "side", anchor: str | None = None
) -> Html:
    return tag("text", word, x=round(x, 1), y=round(y, 1), font_size=size, class_=kind, text_anchor=anchor)
