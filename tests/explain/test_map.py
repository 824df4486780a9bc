"""The map of the whole model: what is drawn, and that it can be read with many tasks."""

from __future__ import annotations

import re
import time
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from polymath.explain import map_data, write_map
from polymath.explain.map import map_file, whole_map
from polymath.explain.map_nodes import nodes
from polymath.explain.map_page import map_page
from polymath.model.layers import parse_layer
from polymath.model.path import Gene, Path
from polymath.model.union import Stored, Union
from polymath.problem.form import pixels
from polymath.spec import BadInput

PORTS = {"image": pixels(3, 16, 16)}
SVG = "{http://www.w3.org/2000/svg}"


def layer(**words):
    return parse_layer(words)


def trunk(*weights: str) -> list[Gene]:
    """Pixels, a convolution per address, a pooling."""
    genes = [Gene(name="pixels", layer=layer(kind="pixels"), inputs=("in:image",))]
    for address in weights:
        made = layer(kind="map_block", width=8)
        genes.append(Gene(name=address, layer=made, inputs=(genes[-1].name,), weights=address))
    return [*genes, Gene(name="pool", layer=layer(kind="pool_map"), inputs=(genes[-1].name,))]


def single(*weights: str, head: str) -> Path:
    last = Gene(name="head", layer=layer(kind="linear", width=3), inputs=("pool",), weights=head)
    return Path(genes=(*trunk(*weights), last), outputs={"label": "head"})


def folds(name: str, count: int = 5) -> Path:
    """An ensemble of alike nets with weights of their own."""
    genes, ends = [], []
    for fold in range(count):
        for gene in single(f"{name}a{fold}", f"{name}b{fold}", head=f"{name}h{fold}").genes:
            sources = tuple(s if s.startswith("in:") else f"e1f{fold}.{s}" for s in gene.inputs)
            genes.append(gene.replace(name=f"e1f{fold}.{gene.name}", inputs=sources))
        ends.append(f"e1f{fold}.head")
    genes.append(Gene(name="out", layer=layer(kind="ensemble"), inputs=tuple(ends)))
    return Path(genes=tuple(genes), outputs={"label": "out"})


def whole(paths: dict[str, Path], **built: tuple[str, ...]) -> Union:
    found = [Stored(name, path.model_dump(mode="json"), PORTS, built.get(name, ())) for name, path in paths.items()]
    return Union(found, count=lambda address: 10)


FEW = {"birds": single("a", "b", head="x"), "cats": single("a", "b", head="y"), "<dogs>": single("a", "c", head="z")}


def test_layers_are_boxes_and_the_shared_ones_are_one():
    found = nodes(whole(FEW))
    assert [(node.words, node.tasks) for node in found] == [
        ("map block", ("birds", "cats", "<dogs>")),
        ("map block, pool map", ("birds", "cats")),
        ("linear", ("birds",)),
        ("linear", ("cats",)),
        ("map block, pool map", ("<dogs>",)),
        ("linear", ("<dogs>",)),
    ]
    assert found[0].ports == ("image",)
    assert found[1].sources == (0,)


def test_runs_of_the_same_tasks_are_one_box():
    found = nodes(whole(FEW), runs=True)
    assert sorted(node.tasks for node in found) == sorted(
        [("birds", "cats", "<dogs>"), ("birds", "cats"), ("birds",), ("cats",), ("<dogs>",)]
    )
    assert all(source < place for place, node in enumerate(found) for source in node.sources)


def test_folds_that_are_alike_are_one_stack():
    found = nodes(whole({"one": folds("n")}))
    assert [(node.words, node.stack) for node in found] == [
        ("map block", 5),
        ("map block, pool map", 5),
        ("linear", 5),
        ("ensemble", 1),
    ]
    assert found[0].parameters == 50
    (box,) = nodes(whole({"one": folds("n")}), runs=True)
    assert (box.stack, box.genes) == (5, 26 - 5)


def test_every_task_has_a_line_a_name_and_its_parents():
    union = whole(FEW, cats=("birds",))
    page = map_page(union)
    assert page.count('class="route') == 3
    assert "&lt;dogs&gt;" in page and "<dogs>" not in page
    assert "<script" not in page and "http" not in page.replace("http://www.w3.org", "")
    assert "@media (prefers-color-scheme:dark)" in page
    drawn = ElementTree.fromstring(map_file(union))
    words = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert words.index("cats") < words.index("birds", words.index("cats")), "what it builds on stands behind its name"
    (cats,) = [one for one in map_data(union)["tasks"] if one["task"] == "cats"]
    assert cats["builds_on"] == ["birds"]
    assert cats["parameters"] == 30
    assert cats["parameters_shared"] == 20


def test_two_hundred_tasks_do_not_overlap():
    paths = {
        f"t{i}": folds(f"n{i}") if i % 3 == 0 else single(f"a{i % 7}", f"b{i % 40}", head=f"h{i}") for i in range(200)
    }
    begin = time.process_time()
    union = whole(paths)
    assert union.share("t1").parameters == 30
    assert time.process_time() - begin < 1.0
    picture = str(whole_map(union))
    boxes = [
        (float(x), float(y), float(y) + float(h))
        for x, y, h in re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="[\d.]+" height="([\d.]+)" rx="4"/>', picture)
    ]
    assert len(boxes) >= 200
    columns: dict[float, list[tuple[float, float]]] = {}
    for x, top, bottom in boxes:
        columns.setdefault(x, []).append((top, bottom))
    for column in columns.values():
        column.sort()
        assert all(one[1] <= other[0] + 0.1 for one, other in pairwise(column))


def lent(union: Union) -> list[tuple[float, float]]:
    """Upper and lower edge of the boxes that several tasks share."""
    root = ElementTree.fromstring(map_file(union))
    boxes = [one for one in root.iter(f"{SVG}g") if "lent" in (one.get("class") or "").split()]
    rects = [[rect for rect in box.iter(f"{SVG}rect")][-1] for box in boxes]
    return [(float(rect.get("y")), float(rect.get("y")) + float(rect.get("height"))) for rect in rects]


def rows(union: Union) -> dict[str, float]:
    """Where the dot of each task is."""
    root = ElementTree.fromstring(map_file(union))
    found = [one for one in root.iter(f"{SVG}g") if "row" in (one.get("class") or "").split()]
    return {one.findtext("{*}title").partition(":")[0]: float(one.find("{*}circle").get("cy")) for one in found}


def test_a_shared_box_stands_beside_all_rows_of_its_tasks():
    union = whole({f"t{n:02d}": single("a", "b", head=f"x{n}") for n in range(100)})
    ((top, bottom),) = lent(union)
    assert all(top < y < bottom for y in rows(union).values()) and bottom - top > 1000
    words = [one.text for one in ElementTree.fromstring(map_file(union)).iter(f"{SVG}text")]
    assert words.count("image") > 1, "said again on every screen that it fills"


def test_boxes_whose_tasks_have_rows_in_between_do_not_cover_each_other():
    pairs = {"p": "ab", "q": "cd", "r": "ac", "s": "bd"}
    paths = {}
    for name, (one, other) in pairs.items():
        heads = [
            Gene(name=f"h{w}", layer=layer(kind="linear", width=3), inputs=(f"{w}.pool",), weights=name + w)
            for w in (one, other)
        ]
        genes = [
            gene.replace(
                name=f"{w}.{gene.name}", inputs=tuple(s if s.startswith("in:") else f"{w}.{s}" for s in gene.inputs)
            )
            for w in (one, other)
            for gene in trunk(w)
        ]
        last = Gene(name="out", layer=layer(kind="ensemble"), inputs=tuple(head.name for head in heads))
        paths[name] = Path(genes=(*genes, *heads, last), outputs={"label": "out"})
    edges = sorted(lent(whole(paths)))
    assert len(edges) == 4 and all(one[1] <= other[0] for one, other in pairwise(edges))


def test_the_legend_is_as_wide_as_the_drawing():
    for union in (whole(FEW), whole({f"t{n}": single("a", head=f"x{n}") for n in range(80)})):
        root = ElementTree.fromstring(map_file(union))
        width = float(root.get("width"))
        above = [one for one in root if one.tag.endswith("text")]
        assert len(above) > 2 and all(len(one.text) * 5.4 < width for one in above[2:])


def test_files(tmp_path):
    union = whole(FEW)
    assert write_map(union, tmp_path / "a.svg").read_text().startswith("<svg")
    assert write_map(union, tmp_path / "a.html").read_text().startswith("<!doctype html>")
    with pytest.raises(BadInput, match="no task"):
        write_map(whole({}), tmp_path / "b.svg")


def test_what_tasks_build_on_takes_the_room_that_its_names_need():
    def drawn(trunk: str) -> tuple[float, str]:
        union = whole({trunk: single("a", head="h"), "cats": single("a", head="k")}, cats=(trunk,))
        svg = map_file(union)
        return float(ElementTree.fromstring(svg).get("width") or 0), svg

    (narrow, short), (wide, long) = drawn("trunk"), drawn("trunk-of-all-scripts-2026")
    assert narrow < wide
    assert short.count(">trunk<") == 3 and long.count(">trunk-of-all-scripts-2026<") == 3  # its row, its line, a child
