"""What was to be learned: every column with its type, role and statistics, and what was not used and why."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from ..problem.features import Category, Date, Feature, Image, Labels, Number, Text
from .markup import Html, amount, counted, join, metric_name, more, number, section, table, tag, text
from .material import Material

MOST_COLUMNS = 40
"""Columns shown at once; the others open on request."""


def problem(material: Material) -> Html:
    """The section on columns and on rows not used."""
    described = material.problem
    rows: list[list[object]] = []
    for role, features in (("output", described.outputs), ("input", described.inputs)):
        for feature in features:
            pill = tag("span", role, class_=f"pill {role}")
            rows.append([tag("b", text(feature.name)), pill, feature.type, statistics(feature)])
    head = ["column", "role", "type", "what is known of it"]
    hidden = rows[MOST_COLUMNS:]
    parts: list[object] = [table(head, rows[:MOST_COLUMNS])]
    if hidden:
        parts.append(more(f"{len(hidden):,} more columns", table(head, hidden)))
    goal = ", ".join(
        metric_name(described.metric_of(f.name).name) + (f" of {text(f.name)}" if len(described.outputs) > 1 else "")
        for f in described.outputs
    )
    parts.insert(
        0,
        tag(
            "p",
            f"{counted(len(described.inputs), 'input')}, {len(described.outputs):,} to predict; what counts: {goal}.",
        ),
    )
    parts.append(_ignored(material))
    parts.append(_unused(material))
    return section("problem", "What was to be learned", *parts)


def statistics(feature: Feature) -> str:
    """What was measured of a column on the rows learned from, in a few words."""
    if isinstance(feature, Number) and feature.mean is not None and feature.deviation is not None:
        return f"mean {number(feature.mean)}, standard deviation {number(feature.deviation)}"
    if isinstance(feature, Category) and feature.classes is not None:
        return _names("class", feature.classes, more_than=feature.rare)
    if isinstance(feature, Labels) and feature.classes is not None:
        return _names("label", feature.classes)
    if isinstance(feature, Image) and feature.height and feature.width:
        return f"{feature.height} x {feature.width} pixels, {'colour' if feature.channels == 3 else 'grey'}"
    if isinstance(feature, Text) and feature.length and feature.subwords is not None:
        return f"up to {feature.length:,} subwords of {amount(feature.subwords.size)}"
    if isinstance(feature, Date) and feature.mean is not None and feature.deviation is not None:
        cycles = f"; place in the {', '.join(feature.cycles)}" if feature.cycles else ""
        return f"around {day(feature.mean)}, give or take {number(feature.deviation / 86_400, 3)} days{cycles}"
    given = feature.model_dump(mode="json", exclude={"name", "type"}, exclude_defaults=True)
    return text(
        ", ".join(f"{name} {value}" for name, value in given.items() if not isinstance(value, (list, dict))), 120
    )


def day(seconds: float) -> str:
    """Seconds since 1970 as a date, with the time of day if it has one."""
    try:
        moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=round(seconds))
    except OverflowError:
        return number(seconds)
    return moment.strftime("%Y-%m-%d") if moment.time() == datetime.time() else moment.strftime("%Y-%m-%d %H:%M")


def _names(word: str, names: tuple[Any, ...], *, more_than: bool = False) -> str:
    shown = ", ".join(text(name, 24) for name in names[:8])
    plural = f"{word}es" if word.endswith("s") else f"{word}s"
    return f"{'more than ' if more_than else ''}{len(names):,} {plural}: {shown}{', …' if len(names) > 8 else ''}"


def _ignored(material: Material) -> Html | None:
    ignored = material.problem.ignored
    if not ignored:
        return None
    rows = [[tag("b", text(one.column)), text(one.reason, 200)] for one in ignored]
    return join([tag("h3", "Columns not used"), table(["column", "why"], rows)])


def _unused(material: Material) -> Html:
    title = tag("h3", "Rows and values not used")
    if not material.record.unused:
        return join([title, tag("p", "Every row and every value could be used.", class_="soft")])
    rows = [
        [
            f"{int(one['count']):,}",
            f"{one['what']}{'s' if one['count'] != 1 else ''}",
            text(one["reason"], 160),
            _example(one),
        ]
        for one in sorted(material.record.unused, key=lambda one: (one["what"] != "row", -int(one["count"])))
    ]
    said = "A value that cannot be used counts as missing; its row is used all the same."
    return join(
        [title, tag("p", said, class_="soft"), table(["how many", "", "why", "for example"], rows, numbers=(0,))]
    )


def _example(one: Mapping[str, Any]) -> str:
    found = one.get("example")
    if not found:
        return ""
    file = str(found.get("file") or "").rsplit("/", 1)[-1]
    where = [text(file)] if file else []
    where += [f"row {found['row']}"] if found.get("row") is not None else []
    where += [f"column {text(found['column'])}"] if found.get("column") else []
    value = f": {text(found['value'])}" if found.get("value") else ""
    return ", ".join(where) + value
