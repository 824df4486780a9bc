"""A layer of the user's own: brought by name, offered by spaces, known to worker processes, explained where unknown."""

from __future__ import annotations

import sys
from pathlib import Path as File
from typing import ClassVar

import numpy as np
import pytest
import typer

from polymath.app.cli import root
from polymath.engine import JobFailed, Processes
from polymath.model import layers
from polymath.model.layers import bring, parse_layer
from polymath.model.path import Path
from polymath.problem.form import pixels, tokens, vector
from polymath.search.choices import Recorder, at_random
from polymath.search.spaces.rows import problem_space
from polymath.spec import BadInput
from polymath.testing import check_layer
from polymath.train import Context, GradientRecipe, Job, Outcome
from polymath.train.rung import Runner, request

MODULE = """
from typing import ClassVar, Literal

import torch
from torch import nn

from polymath.model.layers import KeepsForm, Layer


class Bend(nn.Module):
    def __init__(self):
        super().__init__()
        self.share = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x + self.share * x.sin()


class RowBend(KeepsForm):
    kind: Literal["row_bend"] = "row_bend"
    def build(self, *inputs): return self.form(*inputs) and Bend()


class MapBend(KeepsForm):
    kind: Literal["map_bend"] = "map_bend"
    takes: ClassVar = "map"
    def build(self, *inputs): return self.form(*inputs) and Bend()


class Taken(KeepsForm):
    kind: Literal["linear"] = "linear"
    def build(self, *inputs): return self.form(*inputs) and Bend()


class Wordless(KeepsForm):
    def build(self, *inputs): return self.form(*inputs) and Bend()


class Unbuilt(Layer):
    kind: Literal["unbuilt"] = "unbuilt"


nothing = 1
"""


@pytest.fixture
def bends(tmp_path: File, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's; what it brings is forgotten after the test."""
    (tmp_path / "bends.py").write_text(MODULE)
    (tmp_path / "broken_bends.py").write_text("def (")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(layers, "vocabulary", (lambda known: lambda: known)(dict(layers.vocabulary())))
    monkeypatch.delitem(sys.modules, "bends", raising=False)
    return "bends"


def test_brought_layers_keep_the_contract_and_are_known_by_their_kind(bends: str) -> None:
    assert bring([f"{bends}:RowBend", f"{bends}:MapBend", f"{bends}:RowBend"]) == ("row_bend", "map_bend", "row_bend")
    check_layer(parse_layer({"kind": "row_bend"}), vector(4))
    check_layer(parse_layer({"kind": "map_bend"}), pixels(3, 6, 5))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("bends", "MODULE:CLASS"),
        (":RowBend", "MODULE:CLASS"),
        ("no_such_module:RowBend", "cannot be imported"),
        ("broken_bends:RowBend", "cannot be imported"),
        (".bends:RowBend", "MODULE:CLASS"),
        ("bends:NoSuch", "no layer of that name"),
        ("bends:nothing", "no layer of that name"),
        ("bends:Bend", "no layer of that name"),
        ("bends:Unbuilt", "no layer of that name"),
        ("bends:Taken", "is taken"),
        ("bends:Wordless", "has no kind"),
    ],
)
def test_what_is_no_such_layer_is_refused(bends: str, name: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        bring([name])


def test_an_unknown_layer_says_what_to_do() -> None:
    with pytest.raises(BadInput, match=r"'row_bend'.*--layer package\.module:ClassName"):
        parse_layer({"kind": "row_bend"})


def test_a_command_that_meets_an_unknown_layer_says_so_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    gene = {"name": "bend", "layer": {"kind": "row_bend"}, "inputs": ["in:row"]}
    with pytest.raises(typer.Exit) as ended, root.errors(as_json=False):
        Path.model_validate({"genes": [gene], "outputs": {"y": "bend"}})
    assert ended.value.exit_code == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said and "'row_bend'" in said and "--layer" in said


def test_spaces_offer_a_brought_layer_wherever_it_keeps_the_form(bends: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = bring([f"{bends}:RowBend", f"{bends}:MapBend"])
    monkeypatch.setattr("polymath.search.spaces.pieces.vocabulary", layers.vocabulary)

    class Output:
        name, head_width, type = "y", 2, "number"

    class Mixed:
        ports: ClassVar = {"photo": pixels(1, 12, 12), "row": vector(3), "words": tokens(9, vocabulary=20)}
        outputs = (Output,)

    generator, before = np.random.default_rng(0), set()
    for _ in range(200):
        path, _ = problem_space(Recorder(at_random(generator)), Mixed, rows=900, layers=kinds)
        for gene in path.genes:
            if gene.layer.model_dump()["kind"] in kinds:
                before.add(gene.name.rsplit(".", 1)[0])
    assert {"port0.stage0", "port0.layer1", "row", "trunk.layer0"} <= before
    assert not any(name.startswith("port2") for name in before), "no layer of tokens was brought"


def test_a_worker_knows_the_layers_that_its_context_names(bends: str, mixed_table, context) -> None:
    bring([f"{bends}:RowBend"])
    path = Path.model_validate(
        {
            "genes": [
                {"name": "columns", "layer": {"kind": "columns"}, "inputs": ["in:row"]},
                {"name": "bend", "layer": {"kind": "row_bend"}, "inputs": ["columns"]},
                {"name": "class", "layer": {"kind": "linear", "width": 3}, "inputs": ["bend"]},
                {"name": "total", "layer": {"kind": "linear", "width": 1}, "inputs": ["bend"]},
            ],
            "outputs": {"class": "class", "total": "total"},
        }
    )
    job = Job(dataset=mixed_table.digest, path=path, recipe=GradientRecipe(batch=32), folds=(0,), work=0.001)
    where: Context = context(mixed_table)
    engine = Processes(Runner(), lanes=1)
    try:
        unknown = engine.submit(request(job, where))
        known = engine.submit(request(job, where.replace(layers=(f"{bends}:RowBend",))))
        with pytest.raises(JobFailed, match="unknown layer kind"):
            unknown.result(timeout=60)
        assert Outcome.from_json(known.result(timeout=60)).ok
    finally:
        engine.close()
