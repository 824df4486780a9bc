"""Where the map of the whole model puts what: shared layers at the left, at the right a row for every task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ..model.union import Union
from .map_nodes import Node, nodes

GAPS = (40.0, 24.0)
"""Behind boxes, among shared and among own layers."""
WIDEST, NARROWEST, ROOM = 150.0, 104.0, 560.0
"""Of boxes, and what they share at either side."""
BETWEEN, TOP, LEFT, INPUTS = 56.0, 30.0, 14.0, 54.0
"""From the last shared column to the own ones; room above, at the left, and for names of inputs."""
BOXES = 1.25
"""From one box to the next below it, in heights of a box."""


@dataclass
class Place:
    """A node in the drawing."""

    node: Node
    own: bool
    column: int
    x: float = 0.0
    y: float = 0.0
    """Of its upper edge."""
    height: float = 0.0
    width: float = 0.0
    slots: dict[str, float] = field(default_factory=dict)
    """Task -> where its line passes, from the upper edge."""


@dataclass(frozen=True)
class Scale:
    """Sizes by how many tasks there are."""

    line: float
    """Of a task's line."""
    row: float
    """Least height of a task's row."""
    box: float
    """Least height of a box."""
    font: float

    @property
    def lines(self) -> int:
        """Lines of words in a box."""
        return 2 if self.box >= 30 else 1


def scale_for(tasks: int) -> Scale:
    """Few tasks are drawn large, two hundred small."""
    if tasks <= 12:
        return Scale(line=5.0, row=44.0, box=34.0, font=11.0)
    if tasks <= 60:
        return Scale(line=2.6, row=26.0, box=20.0, font=10.5)
    return Scale(line=1.3, row=17.0, box=13.5, font=9.5)


@dataclass(frozen=True)
class Layout:
    """All nodes in their places. Raises ValueError for a store without tasks."""

    order: list[str]
    """Tasks from the first row to the last."""
    scale: Scale
    places: list[Place]
    rows: dict[str, float]
    """Task -> middle of its row."""
    height: float
    split: float
    """Where layers of single tasks begin; 0 = nothing is shared."""
    right: float
    """Where layers end."""

    @classmethod
    def of(cls, union: Union) -> Layout:
        if not union.paths:
            raise ValueError("a store without tasks has no map")
        found = nodes(union)
        scale = scale_for(len(union.paths))
        order = task_order(union, found)
        places = _placed(found)
        rows, height = _rows(places, order, scale)
        split, right = _columns(places)
        _settle(places, order, rows, scale)
        return cls(order, scale, places, rows, height, split, right)


def task_order(union: Union, found: Sequence[Node]) -> list[str]:
    """Relatives beside each other: by the boxes that they share, those of most tasks first; loners at the end."""
    shared: dict[str, list[tuple[int, int]]] = {name: [] for name in union.paths}
    for place, node in enumerate(found):
        if len(node.tasks) > 1:
            for name in node.tasks:
                shared[name].append((-len(node.tasks), place))
    place_of = {name: place for place, name in enumerate(union.paths)}
    return sorted(shared, key=lambda name: (not shared[name], sorted(shared[name]), place_of[name]))


def _placed(found: Sequence[Node]) -> list[Place]:
    """Columns by how far a node is from what it begins with, counted among shared and among own nodes."""
    places: list[Place] = []
    for node in found:
        own = len(node.tasks) == 1
        before = [places[source].column + 1 for source in node.sources if places[source].own == own]
        places.append(Place(node, own, max(before, default=0)))
    return places


def _rows(places: Sequence[Place], order: Sequence[str], scale: Scale) -> tuple[dict[str, float], float]:
    """Middle of every task's row, and the height of all."""
    most: dict[tuple[str, int], int] = {}
    for place in places:
        if place.own:
            key = (place.node.tasks[0], place.column)
            most[key] = most.get(key, 0) + 1
    tall = {name: max((n for (task, _), n in most.items() if task == name), default=1) for name in order}
    rows, y = {}, TOP
    for name in order:
        height = max(scale.row, tall[name] * scale.box * BOXES)
        rows[name] = y + height / 2
        y += height
    return rows, y + 8


def _columns(places: Sequence[Place]) -> tuple[float, float]:
    """Sets x of every place; gives where own columns begin (0 if nothing is shared) and end."""
    many = max((place.column + 1 for place in places if not place.own), default=0)
    deep = max((place.column + 1 for place in places if place.own), default=0)
    shared, own = (
        min(max(ROOM / max(columns, 1) - gap, NARROWEST), WIDEST)
        for columns, gap in zip((many, deep), GAPS, strict=True)
    )
    x = LEFT + INPUTS
    split = x + many * (shared + GAPS[0]) - GAPS[0] + BETWEEN if many else x
    for place in places:
        place.width, gap = (own, GAPS[1]) if place.own else (shared, GAPS[0])
        place.x = (split if place.own else x) + place.column * (place.width + gap)
    return (split if many else 0.0), split + deep * (own + GAPS[1]) + 10


def _settle(places: Sequence[Place], order: Sequence[str], rows: Mapping[str, float], scale: Scale) -> None:
    """Sets y and height: beside the rows of a node's tasks, never over another node of its column.

    Where the tasks of each node of a shared column have rows beside each other, it is as tall as these and every line
    runs straight to its row.
    """
    rank = {name: i for i, name in enumerate(order)}
    columns: dict[tuple[bool, int], list[Place]] = {}
    for place in places:
        columns.setdefault((place.own, place.column), []).append(place)
    for (own, _), column in columns.items():
        if own or not _spread(column, rows, scale):
            _stack(column, rows, rank, scale)


def _spread(column: Sequence[Place], rows: Mapping[str, float], scale: Scale) -> bool:
    """Each node beside all rows of its tasks; False, and nothing done, where other tasks have rows in between."""
    spans = [
        (min(rows[task] for task in place.node.tasks), max(rows[task] for task in place.node.tasks), place)
        for place in column
    ]
    spans.sort(key=lambda span: span[:2])
    others = any(
        first < y < last and task not in place.node.tasks for first, last, place in spans for task, y in rows.items()
    )
    if others or any(one[1] >= other[0] for one, other in pairwise(spans)):
        return False
    for first, last, place in spans:
        place.y, place.height = first - scale.box / 2, last - first + scale.box
        place.slots = {task: rows[task] - place.y for task in place.node.tasks}
    return True


def _stack(column: list[Place], rows: Mapping[str, float], rank: Mapping[str, int], scale: Scale) -> None:
    """Each node as near to the middle of its rows as the others let it be, its lines side by side."""
    for place in column:
        lines = len(place.node.tasks) * scale.line
        place.height = max(scale.box, lines + 4)
        for i, name in enumerate(sorted(place.node.tasks, key=rank.__getitem__)):
            place.slots[name] = (place.height - lines) / 2 + (i + 0.5) * scale.line
    wanted = {id(p): sum(rows[t] for t in p.node.tasks) / len(p.node.tasks) for p in column}
    column.sort(key=lambda p: wanted[id(p)])
    gap = scale.box * (BOXES - 1) * 0.8
    groups: list[tuple[float, int]] = []  # mean of (wanted - offset), nodes: isotonic regression
    offsets = [0.0]
    for one, other in pairwise(column):
        offsets.append(offsets[-1] + (one.height + other.height) / 2 + gap)
    for place, offset in zip(column, offsets, strict=True):
        mean, count = wanted[id(place)] - offset, 1
        while groups and groups[-1][0] > mean:
            before, n = groups.pop()
            mean, count = (before * n + mean * count) / (n + count), n + count
        groups.append((mean, count))
    means = [max(mean, TOP + column[0].height / 2) for mean, count in groups for _ in range(count)]
    for place, mean, offset in zip(column, means, offsets, strict=True):
        place.y = mean + offset - place.height / 2
