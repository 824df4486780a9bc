"""The picture of a search: a line and colour per generator, a mark per experiment, and the best path with its skips."""

from __future__ import annotations

import itertools
import re
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from polymath.explain import write_picture, write_report
from polymath.explain.flow import LANE, WIDTH, Box, flow
from polymath.explain.material import gather
from polymath.explain.search import arms
from polymath.search import Choice, Trace
from polymath.spec import BadInput

PATH = {
    "genes": [
        {"name": "first", "layer": {"kind": "convolution", "width": 32, "activation": "gelu"}, "inputs": ["in:image"]},
        {"name": "second", "layer": {"kind": "residual_stage", "width": 64}, "inputs": ["first"]},
        {"name": "join", "layer": {"kind": "concat"}, "inputs": ["second", "first"]},
        {"name": "head", "layer": {"kind": "linear", "width": 3}, "inputs": ["join"]},
    ],
    "outputs": {"tree": "head"},
}
GENERATORS = ("fixed", "random", "surrogate <i>")


def rung(number: int, rung: int = 0, *, score: float | None = 0.5, checkpoint: str | None = None) -> SimpleNamespace:
    """One rung of a made-up ledger."""
    outcome = {"reason": "died", "paths": [PATH] if score is not None else [], "checkpoint": checkpoint}
    choice = Choice(name="family", kind="options", options=2, answer=0, value="residual & more")
    return SimpleNamespace(
        number=number,
        rung=rung,
        label=f"net {number}",
        generator=GENERATORS[number % 3],
        ok=score is not None,
        score=score,
        work=0.5 * (rung + 1),
        seconds=0.1,
        outcome=outcome,
        trace=Trace(choices=(choice,)),
    )


LEDGER = [
    rung(0, score=0.2),
    rung(1, score=0.4, checkpoint="x"),
    rung(2, score=0.5, checkpoint="x"),
    rung(4, score=None),
    rung(2, 1, score=0.7),
    rung(5, score=0.6, checkpoint="x"),
]


def test_generators_are_compared_by_the_best_of_their_experiments(mixed):
    task, cache = mixed
    found = arms(gather(task.store, task.record, LEDGER, cache=cache))
    assert [(arm.name, len(arm.tried), arm.num_failed) for arm in found] == [
        ("surrogate <i>", 2, 0),
        ("random", 2, 1),
        ("fixed", 1, 0),
    ]
    assert found[0].best == ((1.5, 0.5), (2.5, 0.7))  # work of the whole search; the failed one costs half a unit too
    assert len({arm.kind for arm in found}) == 3


@pytest.mark.parametrize("count", [1, 2, 6])
def test_a_picture_is_one_svg_that_any_reader_takes(count, mixed, tmp_path):
    task, _ = mixed
    path = write_picture(task.store, task.record, tmp_path / "search.svg", entries=LEDGER[:count])
    drawn = path.read_text(encoding="utf-8")
    ElementTree.fromstring(drawn)
    assert "surrogate &lt;i&gt;" in drawn or count < 3
    if count == 6:
        assert drawn.count("cross arm") == 1
        assert drawn.count("<circle") == 4
        assert len(re.findall(r'class="dot arm\S* pale"', drawn)) == 2
        assert drawn.count("edge skip") == 1
        assert "width 32, size 3, step 1, gelu" in drawn


def test_a_picture_that_cannot_be_written_says_where(mixed, tmp_path):
    task, _ = mixed
    with pytest.raises(BadInput, match="no folder"):
        write_picture(task.store, task.record, tmp_path / "no folder" / "x.svg", entries=LEDGER)


def test_the_report_names_generators_and_choices(mixed, tmp_path):
    task, cache = mixed
    page = write_report(task.store, task.record, tmp_path / "r.html", entries=LEDGER, cache=cache).read_text()
    for words in ("The best experiment: number 2", "residual &amp; more", "surrogate &lt;i&gt;", "found at work"):
        assert words in page, words


def test_boxes_of_one_rank_do_not_overlap_and_long_arrows_pass_beside_them():
    boxes = {"in": Box(("in",), (), "port")}
    for i in range(9):
        sources = [f"g{j}" for j in range(i) if j == i - 1 or (j * 5 + i) % 4 == 0] or ["in"]
        boxes[f"g{i}"] = Box((f"g{i}", "width 3"), tuple(sources))
    width, height, parts = flow(boxes)
    drawn = "".join(parts)
    placed = [
        tuple(map(float, found)) for found in re.findall(r'rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)"', drawn)
    ]
    assert len(placed) == len(boxes)
    for (x1, y1, w1), (x2, y2, _) in itertools.combinations(placed, 2):
        assert y1 != y2 or abs(x1 - x2) >= w1
    assert all(x >= 0 and x + w <= width and y < height for x, y, w in placed)
    skips = re.findall(r'd="([^"]+)" class="edge skip"', drawn)
    assert skips
    for route in skips:
        for across, begin in re.findall(r" ([\d.]+) ([\d.]+)V", route):
            for x, y, w in placed:
                inside = x - LANE / 4 < float(across) < x + w + LANE / 4 and abs(y - float(begin)) < 1
                assert not inside, "a long arrow runs through a box"
    assert WIDTH > LANE
