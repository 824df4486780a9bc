"""The map of the whole model as a page of its own, and as plain data."""

from __future__ import annotations

from typing import Any

from ..model.union import Union
from .map import LEGEND, said, whole_map
from .map_nodes import nodes
from .markup import Html, amount, figure, number, section, table, tag, text
from .style import CSS

WIDE = "main,header,footer{max-width:1880px}"


def map_page(union: Union) -> str:
    """The whole page: no script, nothing from elsewhere. Raises ValueError for a store without tasks."""
    drawn = figure(whole_map(union), LEGEND, wide=True)
    body = tag(
        "body",
        tag("header", tag("p", "One growing model", class_="over"), tag("h1", "The whole model"), _facts(union)),
        tag("main", section("map", "Who shares what", drawn), section("tasks", "All tasks", _table(union))),
        tag("footer", f"Written by Polymath: {said(union)}."),
    )
    top = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", "The whole model · Polymath"),
        tag("style", Html(CSS + WIDE)),
    )
    return "<!doctype html>\n" + tag("html", top, body, lang="en") + "\n"


def _facts(union: Union) -> Html:
    alone = sum(union.share(name).parameters for name in union.tasks)
    shares = sorted(union.share(name).active for name in union.tasks) or [0.0]
    built = sum(1 for one in union.stored.values() if one.built_on)
    facts = (
        ("tasks", f"{len(union.tasks):,}", f"{built:,} build on another"),
        ("layers stored", f"{len(union.genes):,}", "each once, however many tasks use it"),
        ("parameters", amount(union.all_parameters), f"{amount(alone)} if nothing were shared"),
        ("active for one task", f"{number(100 * shares[len(shares) // 2], 3)} %", "of all parameters, middle task"),
    )
    return tag(
        "dl",
        *(
            tag("div", tag("dt", name), tag("dd", value, tag("small", more)), class_="first" if not i else None)
            for i, (name, value, more) in enumerate(facts)
        ),
        class_="facts",
    )


def _table(union: Union) -> Html:
    rows: list[list[object]] = []
    for name in union.paths:
        share = union.share(name)
        stored = union.stored[name]
        wild = "imported" if stored.imported else "absorbed" if stored.absorbed else ", ".join(share.imported)
        rows.append(
            [
                text(name),
                text(union.stored[name].note),
                f"{share.parameters:,}",
                f"{share.parameters_own:,}",
                f"{number(100 * share.active, 3)} %",
                text(", ".join(share.builds_on), 200) or "–",
                f"{len(share.built_upon_by)}",
                text(wild) or "–",
            ]
        )
    head = ["task", "", "parameters", "its own", "of the whole", "builds on", "built upon by", "imported knowledge"]
    return table(head, rows, numbers=(2, 3, 4, 6))


def map_data(union: Union) -> dict[str, Any]:
    """Tasks and boxes (runs of genes of the same tasks) as plain data."""
    shares = [union.share(name) for name in union.paths]
    return {
        "genes": len(union.genes),
        "parameters": union.all_parameters,
        "parameters_if_apart": sum(share.parameters for share in shares),
        "work": union.all_work,
        "tasks": [
            {
                "task": share.name,
                "parameters": share.parameters,
                "parameters_shared": share.parameters_shared,
                "active_share": share.active,
                "active_share_work": share.active_work,
                "builds_on": list(share.builds_on),
                "built_upon_by": list(share.built_upon_by),
                "imported": list(share.imported),
            }
            for share in shares
        ],
        "boxes": [
            {
                "layers": list(node.kinds),
                "genes": node.genes,
                "copies": node.stack,
                "parameters": node.parameters,
                "tasks": list(node.tasks),
                "reads": list(node.sources),
                "inputs": list(node.ports),
            }
            for node in nodes(union, runs=True)
        ],
    }
