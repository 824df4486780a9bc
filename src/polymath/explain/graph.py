"""The final path drawn: genes as boxes, what they take as lines; a large ensemble is drawn member by member."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..model.path import INPUT, Gene, Path
from .chart import drawing
from .markup import Html, figure, join, more, number, section, table, tag, text
from .material import Material

MOST_GENES = 30
"""Genes drawn one by one; beyond, members are boxes and open on request."""
MEMBER = re.compile(r"e(\d+)(?:f(\d+))?\.")
"""How genes of an ensemble are named: experiment, fold."""
BOX = (168.0, 42.0)
GAP = (22.0, 34.0)


@dataclass(frozen=True)
class Box:
    """One box of a drawing: its lines of words and the boxes that it takes."""

    words: tuple[str, str]
    sources: tuple[str, ...]
    kind: str = ""


def path(material: Material) -> Html:
    """The section on the final path."""
    whole = material.path
    groups = members(whole)
    folded = any(len(folds) > 2 for folds in groups.values())  # alike copies side by side say nothing
    many = bool(groups) and (folded or len(whole.genes) > MOST_GENES)
    boxes = _member_boxes(material, groups) if many else _gene_boxes(whole)
    what = f"{len(whole.genes):,} genes"
    caption = f"{what}, read from top to bottom. " + (
        "Each box in the middle is one experiment with all its folds; their answers are combined below."
        if many
        else "Outlined: what goes in; filled: what comes out."
    )
    parts: list[object] = [_membership(material)]
    if len(boxes) <= 3 * MOST_GENES:
        parts.append(figure(_draw(boxes, f"The final path: {what}"), caption, wide=True))
    else:
        parts.append(tag("p", f"The path has {what}: too many to draw.", class_="soft"))
    if many:
        parts += [_inside(material, member, genes) for member, genes in groups.items()]
    return section("path", "What it is made of", *parts)


def members(whole: Path) -> dict[int, dict[str, list[Gene]]]:
    """Genes of an ensemble by experiment and fold; empty if it is none."""
    result: dict[int, dict[str, list[Gene]]] = {}
    for gene in whole.genes:
        found = MEMBER.match(gene.name)
        if found is not None:
            result.setdefault(int(found[1]), {}).setdefault(found[2] or "", []).append(gene)
    return result


def _membership(material: Material) -> Html:
    scores = {one.number: one for one in material.experiments}
    rows = []
    for member in sorted(material.record.members, key=lambda one: -float(one["weight"])):
        share = 100 * float(member["weight"])
        tried = scores.get(int(member["number"]))
        meter = tag("span", tag("i", style=f"width:{round(share)}%"), class_="meter")
        label = text(member["label"], 100)
        rows.append([member["number"], label, number(tried.score) if tried else "–", f"{number(share, 3)} %", meter])
    if not rows:
        return tag("p", "One path, no ensemble.", class_="soft")
    return table(["no.", "member", "score alone", "weight", ""], rows, numbers=(0, 2, 3))


def _inside(material: Material, member: int, folds: Mapping[str, Sequence[Gene]]) -> Html | None:
    genes = next(iter(folds.values()))
    if not 1 < len(genes) <= MOST_GENES:
        return None
    known = {gene.name for gene in genes}
    one = Path(genes=tuple(genes), outputs={name: name for name in known - {s for g in genes for s in g.inputs}})
    title = f"Inside member {member}: {len(genes)} genes" + (
        f", the same in {len(folds)} folds" if len(folds) > 1 else ""
    )
    return more(title, figure(_draw(_gene_boxes(one, last=False), title), "One fold, from top to bottom."))


def _gene_boxes(whole: Path, *, last: bool = True) -> dict[str, Box]:
    boxes = _ports(whole)
    ends = {name: output for output, name in whole.outputs.items()}
    for gene in whole.genes:
        name = MEMBER.sub("", gene.name)
        kind = str(getattr(gene.layer, "kind", "layer"))
        sizes = _sizes(gene)
        note = f"{text(name, 22)}{' · ' + sizes if sizes else ''}" if name != kind else sizes
        boxes[gene.name] = Box((kind.replace("_", " "), text(note, 30)), gene.inputs)
    if last:
        for name, output in ends.items():
            boxes[f"out:{output}"] = Box((text(output, 22), ""), (name,), "out")
    return boxes


def _member_boxes(material: Material, groups: Mapping[int, Mapping[str, Sequence[Gene]]]) -> dict[str, Box]:
    whole = material.path
    boxes = _ports(whole)
    labels = {int(one["number"]): str(one["label"]) for one in material.record.members}
    of_gene: dict[str, str] = {}
    for number_, folds in groups.items():
        genes = [gene for fold in folds.values() for gene in fold]
        of_gene |= {gene.name: f"member:{number_}" for gene in genes}
        ports = tuple(dict.fromkeys(s for gene in genes for s in gene.inputs if s.startswith(INPUT)))
        count = f"{len(genes):,} genes" + (f" in {len(folds)} folds" if len(folds) > 1 else "")
        boxes[f"member:{number_}"] = Box((text(f"{number_} {labels.get(number_, '')}", 24), count), ports)
    for gene in whole.genes:
        if gene.name not in of_gene:
            sources = tuple(dict.fromkeys(of_gene.get(source, source) for source in gene.inputs))
            boxes[gene.name] = Box((str(getattr(gene.layer, "kind", "layer")), text(_sizes(gene), 30)), sources)
    for output, name in whole.outputs.items():
        boxes[f"out:{output}"] = Box((text(output, 22), ""), (of_gene.get(name, name),), "out")
    return boxes


def _ports(whole: Path) -> dict[str, Box]:
    return {INPUT + port: Box((text(port, 22), "input"), (), "port") for port in whole.ports}


def _sizes(gene: Gene) -> str:
    """The few settings of a layer that say how big it is."""
    given = gene.layer.model_dump(mode="json", exclude={"kind"})
    shown = [
        f"{name} {number(value)}"
        for name, value in given.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    ]
    return ", ".join(shown[:2])


def _draw(boxes: Mapping[str, Box], title: str) -> Html:
    """Boxes in ranks by how far they are from the inputs, lines between them."""
    rank: dict[str, int] = {}
    for name, box in boxes.items():
        rank[name] = max((rank[source] + 1 for source in box.sources if source in rank), default=0)
    ranks: dict[int, list[str]] = {}
    for name in boxes:
        ranks.setdefault(rank[name], []).append(name)
    widest = max(len(names) for names in ranks.values())
    width = widest * BOX[0] + (widest + 1) * GAP[0]
    places: dict[str, tuple[float, float]] = {}
    for level, names in sorted(ranks.items()):
        # Beside what they take: fewer lines cross.
        names.sort(key=lambda name: _middle([places[s][0] for s in boxes[name].sources if s in places], width / 2))
        start = (width - len(names) * BOX[0] - (len(names) - 1) * GAP[0]) / 2
        for i, name in enumerate(names):
            places[name] = (start + i * (BOX[0] + GAP[0]), 8 + level * (BOX[1] + GAP[1]))
    parts = [
        _edge(places[source], places[name]) for name, box in boxes.items() for source in box.sources if source in places
    ]
    parts += [_box(box, places[name]) for name, box in boxes.items()]
    height = 16 + (max(ranks) + 1) * (BOX[1] + GAP[1]) - GAP[1]
    return drawing(parts, width, height, title=title, least=min(0.75 * width, 1100), natural=True)


def _middle(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _edge(begin: tuple[float, float], end: tuple[float, float]) -> Html:
    x1, y1 = begin[0] + BOX[0] / 2, begin[1] + BOX[1]
    x2, y2 = end[0] + BOX[0] / 2, end[1]
    bend = (y2 - y1) / 2
    return tag("path", d=f"M{x1:g} {y1:g}C{x1:g} {y1 + bend:g} {x2:g} {y2 - bend:g} {x2:g} {y2:g}", class_="edge")


def _box(box: Box, place: tuple[float, float]) -> Html:
    x, y = place
    middle = x + BOX[0] / 2
    first = y + (BOX[1] / 2 - 2 if box.words[1] else BOX[1] / 2 + 4)
    parts = [tag("rect", x=x, y=y, width=BOX[0], height=BOX[1], rx=9)]
    parts.append(tag("text", box.words[0], x=middle, y=first, text_anchor="middle", class_="name"))
    if box.words[1]:
        parts.append(tag("text", box.words[1], x=middle, y=first + 15, text_anchor="middle", font_size=10.5))
    return tag("g", join(parts), class_=f"gene {box.kind}".strip())
