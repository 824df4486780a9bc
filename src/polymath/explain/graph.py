"""The final path drawn: genes as boxes, what they take as lines; a large ensemble is drawn member by member."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ..model.path import INPUT, Gene, Path
from .flow import Box, draw
from .markup import Html, figure, more, number, section, table, tag, text
from .material import Material

MOST_GENES = 30
"""Genes drawn one by one; beyond, members are boxes and open on request."""
MEMBER = re.compile(r"e(\d+)(?:f(\d+))?\.")
"""How genes of an ensemble are named: experiment, fold."""
LETTERS = 32
"""That fit on a line of a box."""


def path(material: Material) -> Html:
    """The section on the final path."""
    whole = material.path
    groups = members(whole)
    folded = any(len(folds) > 2 for folds in groups.values())  # alike copies side by side say nothing
    many = bool(groups) and (folded or len(whole.genes) > MOST_GENES)
    boxes = _member_boxes(material, groups) if many else gene_boxes(whole)
    what = f"{len(whole.genes):,} genes"
    caption = f"{what}, read from top to bottom. " + (
        "Each box in the middle is one experiment with all its folds; their answers are combined below."
        if many
        else "Outlined: what goes in; filled: what comes out."
    )
    parts: list[object] = [_membership(material)]
    if len(boxes) <= 3 * MOST_GENES:
        parts.append(figure(draw(boxes, f"The final path: {what}"), caption, wide=True))
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
    return more(title, figure(draw(gene_boxes(one, last=False), title), "One fold, from top to bottom."))


def gene_boxes(whole: Path, *, last: bool = True) -> dict[str, Box]:
    """A box for every gene, port and (with `last`) output of a path."""
    boxes = _ports(whole)
    ends = {name: output for output, name in whole.outputs.items()}
    for gene in whole.genes:
        boxes[gene.name] = Box((_kind(gene), *_settings(gene)), gene.inputs, title=_described(gene))
    if last:
        for name, output in ends.items():
            boxes[f"out:{output}"] = Box((text(output, 22),), (name,), "out")
    return boxes


def _kind(gene: Gene) -> str:
    return str(getattr(gene.layer, "kind", "layer")).replace("_", " ")


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
            boxes[gene.name] = Box((_kind(gene), *_settings(gene, 1)), sources, title=_described(gene))
    for output, name in whole.outputs.items():
        boxes[f"out:{output}"] = Box((text(output, 22),), (of_gene.get(name, name),), "out")
    return boxes


def _ports(whole: Path) -> dict[str, Box]:
    return {INPUT + port: Box((text(port, 22), "input"), (), "port") for port in whole.ports}


def _settings(gene: Gene, lines: int = 2) -> tuple[str, ...]:
    """The main settings of a layer, in two lines: its sizes, then what else was set to something."""
    given = gene.layer.model_dump(mode="json", exclude={"kind"})
    sizes = {n: v for n, v in given.items() if isinstance(v, (int, float)) and not isinstance(v, bool) and v}
    phrases = [f"{name.replace('_', ' ')} {number(value, 3)}" for name, value in sizes.items()]
    for name, value in given.items():
        if isinstance(value, str) and value != "none":
            phrases.append(value if name in ("activation", "how", "cell", "combine") else f"{name} {value}")
        elif value is True:
            phrases.append(name.replace("_", " "))
    shown: list[str] = []
    for phrase in phrases:
        if shown and len(shown[-1]) + len(phrase) + 2 <= LETTERS:
            shown[-1] += f", {phrase}"
        elif len(shown) < lines:
            shown.append(text(phrase, LETTERS))
        else:
            break
    return tuple(shown)


def _described(gene: Gene) -> str:
    """A layer with all its settings, for who points at it."""
    given = gene.layer.model_dump(mode="json", exclude={"kind"})
    settings = ", ".join(f"{name} {text(value, 40)}" for name, value in given.items())
    return f"{MEMBER.sub('', gene.name)}: {_kind(gene)}" + (f" ({settings})" if settings else "")
