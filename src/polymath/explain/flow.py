"""Boxes and arrows from top to bottom: what takes what. An arrow that passes a rank gets a lane beside its boxes.

The usual four steps (Sugiyama, Tagawa and Toda 1981): ranks, lanes for long arrows, an order with few crossings, places
close to the neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from .chart import drawing
from .markup import Html, join, tag

WIDTH, LANE, GAP, BETWEEN = 186.0, 16.0, 22.0, 34.0
"""Of a box and of a lane; between neighbours, and between ranks."""
HEAD, LINE = 28.0, 14.0
"""Height of a box with one line, and of every line more."""
SWEEPS = 8


@dataclass(frozen=True)
class Box:
    """One box: its lines of words (the first is its name) and the boxes that it takes."""

    words: tuple[str, ...]
    sources: tuple[str, ...]
    kind: str = ""
    title: str = ""
    """Shown when the pointer rests on it."""

    @property
    def height(self) -> float:
        return HEAD + LINE * (len([word for word in self.words if word]) - 1) + (6 if len(self.words) > 1 else 0)


@dataclass
class _Node:
    """A box, or a bend of a long arrow: what stands in a rank."""

    name: str
    rank: int
    width: float
    above: list[tuple[str, float]]
    """What it is linked to in the rank before, and how much it should stand in line with that."""
    below: list[tuple[str, float]]
    x: float = 0.0


def draw(boxes: Mapping[str, Box], title: str) -> Html:
    """The drawing of boxes that stand in an order in which each comes after what it takes."""
    width, height, parts = flow(boxes)
    return drawing(parts, width, height, title=title, least=min(0.75 * width, 1100), natural=True)


def flow(boxes: Mapping[str, Box]) -> tuple[float, float, list[Html]]:
    """Width, height and parts of the drawing."""
    nodes, routes = _nodes(boxes)
    ranks: list[list[str]] = [[] for _ in range(max(node.rank for node in nodes.values()) + 1)]
    for name, node in nodes.items():
        ranks[node.rank].append(name)
    _order(ranks, nodes)
    _place(ranks, nodes)
    left = min(node.x - node.width / 2 for node in nodes.values()) - 8
    for node in nodes.values():
        node.x -= left
    width = max(node.x + node.width / 2 for node in nodes.values()) + 8
    tops, y = [], 4.0
    heights = [max((boxes[n].height for n in names if n in boxes), default=0.0) for names in ranks]
    for high in heights:
        tops.append(y)
        y += high + BETWEEN
    parts = [_arrow(route, nodes, boxes, tops, heights) for route in _spread(routes, nodes, skips(boxes))]
    parts += [_box(box, nodes[name].x, tops[nodes[name].rank]) for name, box in boxes.items()]
    return width, y - BETWEEN + 4, parts


def _nodes(boxes: Mapping[str, Box]) -> tuple[dict[str, _Node], list[list[str]]]:
    """Boxes in ranks by how far they are from what goes in, and every arrow as the nodes that it passes."""
    rank: dict[str, int] = {}
    for name, box in boxes.items():
        rank[name] = max((rank[source] + 1 for source in box.sources if source in rank), default=0)
    for name in reversed(list(boxes)):  # what goes in stands just above where it is taken
        takers = [rank[other] for other, box in boxes.items() if name in box.sources]
        if takers and not any(source in rank for source in boxes[name].sources):
            rank[name] = min(takers) - 1
    nodes = {name: _Node(name, rank[name], WIDTH, [], []) for name in boxes}
    routes = []
    for name, box in boxes.items():
        for source in dict.fromkeys(s for s in box.sources if s in rank):
            bends = [f"{source}\n{name}\n{level}" for level in range(rank[source] + 1, rank[name])]
            for bend, level in zip(bends, range(rank[source] + 1, rank[name]), strict=True):
                nodes[bend] = _Node(bend, level, LANE, [], [])
            route = [source, *bends, name]
            for one, other in pairwise(route):
                straight = 8.0 if one in bends and other in bends else 1.0 if bends else 50.0
                nodes[one].below.append((other, straight))
                nodes[other].above.append((one, straight))
            routes.append(route)
    return nodes, routes


def _order(ranks: list[list[str]], nodes: Mapping[str, _Node]) -> None:
    """Within each rank, beside what they are linked to: fewer arrows cross. Lanes stand to the right of their boxes."""
    for names in ranks:
        names.sort(key=lambda name: nodes[name].width == LANE)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for names in ranks[1:] if down else ranks[-2::-1]:
            near = ranks[nodes[names[0]].rank + (-1 if down else 1)]
            place = {name: i for i, name in enumerate(near)}
            own = {name: i for i, name in enumerate(names)}

            def middle(name: str, place: dict[str, int] = place, own: dict[str, int] = own, down: bool = down) -> float:
                linked = [place[other] for other, _ in (nodes[name].above if down else nodes[name].below)]
                return sum(linked) / len(linked) if linked else own[name]

            names.sort(key=middle)


def _place(ranks: Sequence[Sequence[str]], nodes: Mapping[str, _Node]) -> None:
    """Where each node stands: in its rank's order, never overlapping, in line with what it is linked to."""
    for names in ranks:
        _settle([nodes[name] for name in names], [0.0] * len(names))
    for sweep in range(2 * SWEEPS):
        for names in ranks if sweep % 2 == 0 else ranks[::-1]:
            wanted = []
            for name in names:
                node = nodes[name]
                links = [*node.above, *node.below] if sweep >= SWEEPS else node.above if sweep % 2 == 0 else node.below
                wanted.append(_median([(nodes[other].x, weight) for other, weight in links], node.x))
            _settle([nodes[name] for name in names], wanted)


def _median(values: Sequence[tuple[float, float]], otherwise: float) -> float:
    """Weighted: half of the weight lies on either side."""
    ordered, half = sorted(values), sum(weight for _, weight in values) / 2
    passed = 0.0
    for i, (value, weight) in enumerate(ordered):
        passed += weight
        if abs(passed - half) < 1e-9:
            return (value + ordered[i + 1][0]) / 2
        if passed > half:
            return value
    return otherwise


def _settle(nodes: Sequence[_Node], wanted: Sequence[float]) -> None:
    """Puts a rank's nodes as near as can be to where they want to be (isotonic regression of their free room)."""
    offsets = [0.0]
    for one, other in pairwise(nodes):
        offsets.append(offsets[-1] + (one.width + other.width) / 2 + GAP)
    groups: list[tuple[float, float, int]] = []  # mean, weight, nodes
    for node, want, offset in zip(nodes, wanted, offsets, strict=True):
        mean, weight, count = want - offset, 1.0 if node.width == LANE else 50.0, 1
        while groups and groups[-1][0] > mean:
            before = groups.pop()
            mean = (before[0] * before[1] + mean * weight) / (before[1] + weight)
            weight, count = before[1] + weight, before[2] + count
        groups.append((mean, weight, count))
    means = [mean for mean, _, count in groups for _ in range(count)]
    for node, mean, offset in zip(nodes, means, offsets, strict=True):
        node.x = mean + offset


@dataclass(frozen=True)
class _Route:
    """The nodes that an arrow passes, and where it leaves its first and reaches its last, beside their middles."""

    names: tuple[str, ...]
    leaves: float
    reaches: float
    skip: bool


def skips(boxes: Mapping[str, Box]) -> set[tuple[str, str]]:
    """Arrows (from, to) that pass by boxes which lead the same way: skip connections."""
    before: dict[str, set[str]] = {}
    for name, box in boxes.items():
        before[name] = set(box.sources).union(*(before.get(source, set()) for source in box.sources))
    return {
        (source, name)
        for name, box in boxes.items()
        for source in box.sources
        if any(source in before.get(other, ()) for other in box.sources)
    }


def _spread(routes: Sequence[Sequence[str]], nodes: Mapping[str, _Node], passing: set[tuple[str, str]]) -> list[_Route]:
    """Arrows side by side where several leave or reach one box."""
    shift: dict[tuple[int, str], dict[int, float]] = {}
    for end in (0, 1):
        at: dict[str, list[int]] = {}
        for i, route in enumerate(routes):
            at.setdefault(route[-end], []).append(i)
        for name, found in at.items():
            found.sort(key=lambda i: nodes[routes[i][1 if end == 0 else -2]].x)
            step = min(18.0, 0.7 * WIDTH / max(len(found), 1))
            shift[end, name] = {i: (place - (len(found) - 1) / 2) * step for place, i in enumerate(found)}
    return [
        _Route(tuple(route), shift[0, route[0]][i], shift[1, route[-1]][i], (route[0], route[-1]) in passing)
        for i, route in enumerate(routes)
    ]


def _arrow(
    route: _Route, nodes: Mapping[str, _Node], boxes: Mapping[str, Box], tops: Sequence[float], heights: Sequence[float]
) -> Html:
    first, *bends, last = (nodes[name] for name in route.names)
    x, y = first.x + route.leaves, tops[first.rank] + boxes[first.name].height
    steps = [f"M{x:.1f} {y:.1f}"]
    if y < tops[first.rank] + heights[first.rank]:
        y = tops[first.rank] + heights[first.rank]
        steps.append(f"V{y:.1f}")
    for node in bends:
        steps.append(_curve(x, y, node.x, tops[node.rank]))
        x, y = node.x, tops[node.rank] + heights[node.rank]
        steps.append(f"V{y:.1f}")
    x, end = (last.x + route.reaches), tops[last.rank]
    before = bends[-1].x if bends else first.x + route.leaves
    steps.append(_curve(before, y, x, end - 6))
    kind = "edge skip" if route.skip else "edge"
    point = f"M{x - 3.6:.1f} {end - 7:.1f}L{x:.1f} {end:.1f}L{x + 3.6:.1f} {end - 7:.1f}Z"
    return join([tag("path", d="".join(steps), class_=kind), tag("path", d=point, class_="point")])


def _curve(x1: float, y1: float, x2: float, y2: float) -> str:
    bend = (y2 - y1) / 2
    return f"C{x1:.1f} {y1 + bend:.1f} {x2:.1f} {y2 - bend:.1f} {x2:.1f} {y2:.1f}"


def _box(box: Box, middle: float, top: float) -> Html:
    words = [word for word in box.words if word]
    parts = [tag("title", box.title)] if box.title else []
    parts.append(tag("rect", x=round(middle - WIDTH / 2, 1), y=round(top, 1), width=WIDTH, height=box.height, rx=9))
    for i, word in enumerate(words):
        y = round(top + 18.5 + (LINE * i + 1 if i else 0), 1)
        small = {"font_size": 10.5} if i else {"class_": "name"}
        parts.append(tag("text", word, x=round(middle, 1), y=y, text_anchor="middle", **small))
    return tag("g", join(parts), class_=f"gene {box.kind}".strip())
