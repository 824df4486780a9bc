"""The search for cells: equal cells once, equal models, a resumed search is the same, a winner that learn can use."""

from __future__ import annotations

import importlib.util
import json
import math

import numpy as np
import pyarrow as pa
import pytest
import torch

from polymath.explain.invention import write_invention_page
from polymath.inventing import Order, Silent, adopt, cell_report, lookup
from polymath.inventing.cell_report import ablations, boxes, motif, motifs
from polymath.inventing.cells import (
    FULL,
    KeepingStep,
    Rung,
    adopted_cells,
    answered,
    bounded,
    cell_as_python,
    measured,
    part,
    rungs,
    search_cell,
)
from polymath.inventing.corpus import MANUAL, PROGRAMS, characters, corpus, words
from polymath.inventing.language import Models, Trial, attempt, num_parameters, width_for
from polymath.model.build import build
from polymath.model.cells import ELMAN, GRU, KNOWN, LSTM, Node
from polymath.model.cells.module import CellModule
from polymath.model.cells.simplify import behaviour, simplified, written
from polymath.model.cells.words import formulas, source
from polymath.model.layers.linear import Linear
from polymath.model.path import Gene, Path
from polymath.problem import Problem
from polymath.problem.dataset import Dataset
from polymath.problem.form import tokens
from polymath.problem.inference import infer
from polymath.problem.sources import read
from polymath.search.choices import Recorder, answering, at_random, draw, first, mutated
from polymath.search.cutters import Standing
from polymath.search.cutters.halving import Halving
from polymath.search.spaces import cells as space
from polymath.search.spaces import texts
from polymath.search.spaces.rows import problem_space
from polymath.spec import BadInput, canonical, loads
from polymath.store import Store
from polymath.testing import check_space
from polymath.train import rung
from polymath.train.job import Context, Job


# The space ---------------------------------------------------------------------------------------------------------
def test_lstm_and_gru_are_points_of_the_space():
    for answer, known in ((first, LSTM), (answering(space.GRU), GRU)):
        sketch = draw(space.cells, answer, identify=behaviour)
        assert not sketch.error
        assert sketch.identity == behaviour(known) == behaviour(written(known))
        assert len(sketch.built.nodes) == len(known.nodes)


def test_what_people_made_are_points_of_the_space():
    said, identities = {}, set()
    for name, answers in space.KNOWN.items():
        sketch = draw(space.cells, answering(answers), identify=behaviour)
        made = {choice.name: choice.value for choice in sketch.trace.choices}
        assert {key: made[key] for key in answers} == dict(answers)
        said[name] = formulas(sketch.built)[-1]
        identities.add(sketch.identity)
    assert said["update gate"] == "h_t = h + sigmoid(W1 x + U1 h) * (tanh(W2 x + U2 h) - h)"
    assert said["multiplicative"] == "h_t = h + sigmoid(W1 x + U1 h) * (tanh(p + p * (U3 h)) - h)"
    assert len(identities) == len(said)


def test_the_space_is_one():
    check_space(space.cells)


def test_most_of_what_is_drawn_is_a_cell_and_few_are_equal():
    sketches = [draw(space.cells, at_random(np.random.default_rng(seed)), identify=behaviour) for seed in range(150)]
    assert not any(sketch.error for sketch in sketches)
    good = [sketch for sketch in sketches if sketch.identity != behaviour(ELMAN)]
    assert len(good) > 110
    assert len({sketch.identity for sketch in good}) > 0.95 * len(good)
    memory = {bool(sketch.built.memory) for sketch in good}
    assert memory == {True, False}


def test_mutations_of_an_lstm_that_change_nothing_are_seen():
    start = draw(space.cells, first)
    found = [
        draw(space.cells, mutated(start.trace, np.random.default_rng(seed)), identify=behaviour) for seed in range(60)
    ]
    identities = {sketch.identity for sketch in found if not sketch.error}
    assert 10 < len(identities) < len(found)


def test_trees_of_zoph_and_le():
    wanted = {"form": "tree", "tree.base": 2, "tree.inject": 1, "tree.give": 2}
    cell = draw(space.cells, answering(wanted)).built
    assert formulas(cell)[-1].startswith("h_t = tanh(")
    assert len(cell.linear) == 2 and cell.memory == "c_t"
    whole = draw(space.cells, answering({"form": "tree"})).built
    assert len(whole.linear) == 8
    products = {f"tree{i}.combine": "multiply" for i in range(8)}
    assert len(draw(space.cells, answering({"form": "tree", **products})).built.linear) == 16


# What cells come down to -------------------------------------------------------------------------------------------
def nodes(**given):
    return [Node(name=n, operation=w.split()[0], inputs=tuple(w.split()[1:])) for n, w in given.items()]


@pytest.mark.parametrize(
    ("given", "number", "linear"),
    [
        ({"a": "linear x h", "i": "identity a", "h_t": "tanh i"}, 2, 1),
        ({"a": "linear x", "b": "linear h", "s": "add a b", "h_t": "tanh s"}, 2, 1),
        ({"a": "linear x h", "b": "sigmoid a", "r": "relu b", "h_t": "tanh r"}, 3, 1),
        ({"a": "linear x h", "t": "tanh a", "u": "tanh a", "h_t": "multiply t u"}, 3, 1),
        ({"a": "linear x h", "t": "tanh a", "idle": "relu t", "h_t": "multiply t h"}, 3, 1),
        ({"a": "linear x h", "h_t": "identity a"}, 2, 1),
        ({"a": "linear x", "b": "linear h", "h_t": "add a b"}, 2, 1),
    ],
)
def test_what_changes_nothing_is_left_out(given, number, linear):
    cell = simplified(nodes(**given), hidden="h_t", memory=None)
    assert (len(cell.nodes), len(cell.linear)) == (number, linear)
    assert written(cell) == cell


def test_a_memory_that_is_the_hidden_state_is_none():
    cell = simplified(nodes(a="linear x h", t="tanh a", h_t="multiply t c"), hidden="h_t", memory="h_t")
    assert cell.memory is None and "h" in {taken for node in cell.nodes for taken in node.inputs}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"a": "linear x", "h_t": "tanh a"}, "remembers nothing"),
        ({"a": "linear x h", "t": "subtract a a", "h_t": "tanh t"}, "subtracts something from itself"),
    ],
)
def test_what_comes_down_to_nothing_is_said(given, message):
    with pytest.raises(BadInput, match=message):
        simplified(nodes(**given), hidden="h_t", memory=None)


def test_equal_behaviour_has_equal_hashes_whatever_the_names():
    one = simplified(nodes(a="linear x h", b="linear x", s="sigmoid a", h_t="multiply s b"), hidden="h_t", memory=None)
    two = simplified(nodes(q="linear x", p="linear x h", z="sigmoid p", o="multiply q z"), hidden="o", memory=None)
    other = simplified(
        nodes(a="linear x h", b="linear h", s="sigmoid a", h_t="multiply s b"), hidden="h_t", memory=None
    )
    assert behaviour(one) == behaviour(two) != behaviour(other)
    assert len({behaviour(cell) for cell in KNOWN.values()}) == len(KNOWN)


# What people read ----------------------------------------------------------------------------------------------------
def test_formulas():
    assert formulas(LSTM) == [
        "c_t = sigmoid(W2 x + U2 h) * c + sigmoid(W1 x + U1 h) * tanh(W3 x + U3 h)",
        "h_t = sigmoid(W4 x + U4 h) * tanh(c_t)",
    ]
    assert formulas(ELMAN) == ["h_t = tanh(W1 x + U1 h)"]


@pytest.mark.parametrize("seed", range(6))
def test_a_cell_leaves_as_one_file_of_plain_pytorch(tmp_path, seed):
    known = [LSTM, GRU, draw(space.cells, answering({"form": "tree"})).built]
    for attempt_number in range(100 * seed, 100 * seed + 100):
        sketch = draw(space.cells, at_random(np.random.default_rng(attempt_number)))
        if not sketch.error:
            known.append(sketch.built)
            break
    for cell in known if seed == 0 else known[3:]:
        text = source(cell, "found-cell")
        assert "polymath" not in text.replace("Polymath found", "")
        file = tmp_path / "found.py"
        file.write_text(text)
        described = importlib.util.spec_from_file_location("found", file)
        module = importlib.util.module_from_spec(described)
        described.loader.exec_module(module)
        ours, theirs = CellModule(cell, 3, 5), module.FoundCell(3, 5)
        theirs.load_state_dict(ours.state_dict())
        x = torch.randn(2, 4, 3)
        for a, b in zip(ours(x)[1], theirs(x)[1], strict=True):
            assert torch.allclose(a, b, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("name", ["none", "2nd", "a b", ""])
def test_a_name_that_no_class_can_have(name):
    with pytest.raises(BadInput, match="no name for a class"):
        source(ELMAN, name)


# How they are tried --------------------------------------------------------------------------------------------------
def test_corpora():
    read = corpus()
    assert read.num_symbols < 128
    assert len(read.train) > 7 * len(read.held) > 0 and abs(len(read.held) - len(read.judged)) < 2
    assert read.train.max() < read.num_symbols
    assert (read.held == 0).mean() < 0.01
    text = words("few", "the cat sat . " * 20, "the dog sat .", "the cat", most=4)
    assert text.num_symbols == 4 and text.held.tolist()[1] == 0 and text.unit == "word"


def test_what_is_no_text_is_said(tmp_path):
    with pytest.raises(BadInput, match="cannot be read"):
        corpus(str(tmp_path / "none.txt"))
    (tmp_path / "short.txt").write_text("too short")
    with pytest.raises(BadInput, match="too short to learn from"):
        corpus(str(tmp_path / "short.txt"))


def test_all_models_have_as_many_parameters():
    for cell in (*KNOWN.values(), draw(space.cells, answering({"form": "tree"})).built):
        width = width_for(cell, 40_000, symbols=90, embedding=48)
        total = num_parameters(cell, width, symbols=90, embedding=48)
        assert abs(total - 40_000) < 0.02 * 40_000
        models = Models(cell, width, symbols=90, trial=Trial(rates=(1e-2,)))
        assert total == sum(weight[0].numel() for weight in models.weights.values())


TINY = Trial(
    parameters=3000, embedding=8, batch=4, length=10, steps=30, rates=(1e-3, 3e-2), seeds=(0, 1), most_read=600
)
PATTERN = characters("abc", "abcd" * 500, "abcd" * 200, "abcd" * 200)


def tried(cell, **changes):
    trial = TINY.replace(**changes)
    return attempt(cell, trial, PATTERN)


def test_a_pattern_is_learned_and_copies_are_those_of_single_runs():
    together = tried(LSTM)
    assert together.bits.shape == (2, 2) and together.score < 1.6 < 2.2 < together.bits[0].mean()
    assert together.best_rate == 1
    alone = tried(LSTM, rates=(3e-2,), seeds=(1,))
    assert alone.bits[0, 0] == pytest.approx(together.bits[1, 1], abs=1e-3)


OPEN_GRU = simplified(
    tuple(node.replace(inputs=("n", "sum")) if node.name == "step" else node for node in GRU.nodes),
    hidden=GRU.hidden,
    memory=None,
)
"""A GRU that keeps what is new without the tanh: it learns better than a GRU until its state runs away."""
EXPLODING = simplified(
    nodes(a="linear x h", b="linear x h", p="multiply a b", q="multiply p p", h_t="multiply q q"),
    hidden="h_t",
    memory=None,
)


def test_what_a_cell_that_explodes_says_is_infinite():
    found = tried(EXPLODING, rates=(30.0,), steps=40)
    assert not np.isfinite(found.bits).any()
    assert math.isinf(found.score)


def test_bits_of_what_cannot_be_known():
    """An untrained model knows nothing: log2 of the number of symbols, about."""
    found = tried(GRU, steps=1, rates=(1e-9,))
    assert found.score == pytest.approx(math.log2(PATTERN.num_symbols), abs=0.3)


# The search ---------------------------------------------------------------------------------------------------------
def order(**given):
    return Order(name="cell", experiments=8, generator="random", lanes=1, **given)


@pytest.fixture
def quick(monkeypatch):
    """Rungs of a second together."""
    from polymath.inventing import cells as module

    def few(parameters):
        trial = Trial(parameters=parameters, embedding=8, batch=4, length=10, rates=(1e-2,), most_read=400)
        given = ((4, "held", 1.0), (8, "held", 3.0), (12, "judged", 9.0))
        return tuple(module.Rung(trial.replace(steps=steps), held, work) for steps, held, work in given)

    monkeypatch.setattr(module, "rungs", few)


def test_a_search_goes_on_after_a_kill_and_its_winner_is_an_option(tmp_path, quick):
    with Store.open(tmp_path / "whole") as whole:
        wanted = search_cell(whole, order(), parameters=4000)
    assert wanted.experiments == 8 and wanted.best is not None
    with Store.open(tmp_path / "killed") as store:
        calls = iter(range(100))
        search_cell(store, order(stop=lambda: next(calls) > 4), parameters=4000)
        found = search_cell(store, order(), parameters=4000)
        assert [one.name for one in found.leaders] == [one.name for one in wanted.leaders]
        assert [one.score for one in found.leaders] == [one.score for one in wanted.leaders]
        assert found.best.rung >= 2
        assert {"lstm_bits", "gru_bits", "bits"} <= set(found.best.facts)
        adopt(store, found.best, name="mine")
        (adopted,) = adopted_cells(store)
        assert adopted.name == "mine" and behaviour(adopted.cell) == found.best.identity

        def chosen(choose):
            return choose("text.cell", ["gru", "lstm"]), choose("text.depth", [1, 2])

        sketch = draw(lambda choose: chosen(space.offering(choose, [adopted])), lambda offer: offer.options - 1)
        assert sketch.built == (adopted, 2)
        layer = space.recurrent(adopted, width=8)
        assert layer.kind == "cell" and layer.cell == adopted.cell
        assert space.recurrent("gru", width=8).kind == "recurrent"


class Interrupted(Silent):
    def tried(self, experiment, *, formula, clock):
        if experiment.number == 4:
            raise KeyboardInterrupt


def test_a_search_that_is_interrupted_leaves_what_it_found(tmp_path, quick):
    with Store.open(tmp_path / "store") as store:
        with pytest.raises(KeyboardInterrupt):
            search_cell(store, order(watcher=Interrupted()), parameters=4000)
        assert lookup(store, "cell").facts["bits"] > 0


def test_a_worker_says_how_a_cell_did_and_why_it_died(quick):
    request = {"part": LSTM.model_dump(mode="json"), "rung": 0, "parameters": 4000, "text": MANUAL}
    good = loads(answered(canonical(request)))
    assert good["ok"] and good["score"] < 0 and good["parameters"] == pytest.approx(4000, rel=0.1)
    bad = measured(EXPLODING, Rung(TINY.replace(rates=(30.0,), steps=40), "held", 1.0))
    assert not bad["ok"] and bad["reason"].startswith("died")


def test_cells_that_nothing_bounds_are_told_from_those_that_people_made():
    for name, answers in space.KNOWN.items():
        assert bounded(draw(space.cells, answering(answers)).built), name
    assert bounded(ELMAN)
    assert not bounded(EXPLODING)
    assert not bounded(OPEN_GRU)


def test_a_search_needs_a_budget_and_a_generator_that_is_there():
    with pytest.raises(BadInput, match="needs a budget"):
        search_cell(None, Order(name="cell"))
    with pytest.raises(BadInput, match="no generator known"):
        search_cell(None, Order(name="cell", experiments=3, generator="oracle"))


def test_people_s_cells_keep_step_with_the_furthest():
    def standing(number, *scores):
        return Standing(
            number=number, works=tuple(range(1, len(scores) + 1)), scores=scores, next_work=1.0, full_work=4.0
        )

    cutter = KeepingStep(Halving(eta=4), least=3)
    assert cutter.promote([standing(0, -9.0), standing(1, -8.0), standing(2, -3.0, -2.0)], work_left=math.inf) == 0
    assert cutter.promote([standing(0, -9.0), standing(1, -8.0)], work_left=math.inf) is None
    few = [standing(0, -9.0, -9.0), standing(2, -3.0, -2.0), standing(1, -8.0), standing(3, -2.0), standing(4, -1.0)]
    assert cutter.promote(few, work_left=math.inf) in (1, 4), "two on the second rung are too few; the first goes on"
    others = [standing(i, -9.0 + i) for i in range(5)]
    assert cutter.promote(others, work_left=math.inf) == Halving(eta=4).promote(others, work_left=math.inf) == 4


def test_published_cells_are_not_cut_while_trainings_are_short():
    def standing(number, rungs):
        scores = tuple(float(number) for _ in range(rungs))
        return Standing(number=number, works=tuple(range(1, rungs + 1)), scores=scores, next_work=1.0, full_work=4.0)

    cutter = KeepingStep(Halving(eta=4), published=4)
    there = [standing(0, FULL), standing(1, FULL), standing(2, FULL - 1), standing(3, FULL), standing(9, FULL)]
    assert cutter.promote(there, work_left=math.inf) == 2
    ended = [standing(0, FULL), standing(1, FULL), standing(2, FULL), standing(9, FULL + 1)]
    assert [cutter.promote(ended[:n] + ended[3:], work_left=math.inf) for n in (1, 2)] == [0, 0]
    assert cutter.promote([standing(0, FULL + 1), standing(1, FULL + 1), *ended[2:]], work_left=math.inf) is None


def test_rungs_grow_and_end_on_a_text_of_their_own():
    steps = [rung.trial.steps for rung in rungs(40_000)]
    assert steps == sorted(steps) and rungs(40_000)[-1].part == "judged"
    assert part(40_000, MANUAL).works == tuple(rung.work for rung in rungs(40_000))


# What is said of a winner -------------------------------------------------------------------------------------------
def test_every_node_can_be_left_out():
    less = dict(ablations(LSTM))
    assert "tanh(c_t), c_t kept" not in less and len(less) > 6
    assert all(behaviour(cell) != behaviour(LSTM) for cell in less.values())
    assert motif(LSTM, "kept") == "c * sigmoid(Wx + Uh)"
    assert "(c * sigmoid(Wx + Uh)) + (sigmoid(Wx + Uh) * tanh(Wx + Uh))" in motifs(LSTM)


def test_a_graph_has_a_box_for_everything():
    drawn = boxes(LSTM)
    assert set(drawn) == {"x", "h", "c", *LSTM.by_name}
    assert drawn["h_t"] == (("multiply", "h_t"), ("o", "squashed"), "out")
    assert drawn["a_i"][0][0] == "map of x and h"


def test_a_report_draws_judges_and_takes_apart(tmp_path, quick, monkeypatch):
    trial = Trial(parameters=6000, embedding=4, batch=2, length=5, steps=3, rates=(1e-2,), seeds=(1,), most_read=200)
    monkeypatch.setattr(cell_report, "JUDGES", {PROGRAMS: trial})
    monkeypatch.setattr(cell_report, "ABLATED", trial)
    with Store.open(tmp_path / "store") as store:
        found = search_cell(store, order(), parameters=4000)
        sections = cell_report.cell_report(store, found, lanes=1)
        page = write_invention_page("cell", [], found.best.formula, sections, tmp_path / "page.html").read_text()
    assert [section.title for section in sections] == [
        "The cell",
        "Judged beside LSTM and GRU",
        "What recurs among the best",
        "What each node is worth",
    ]
    assert len(sections[1].rows) == 3 and sections[3].rows[0][0] == "nothing"
    assert page.count("<svg") >= 2 and "map of x and h" in page
    assert "class Cell" in cell_as_python(found.best)


def test_histories_of_events_are_read_by_an_adopted_cell(tmp_path):
    random = np.random.default_rng(0)
    told = [[[time, str(random.choice(["heat", "noise"])), random.normal()] for time in range(4)] for _ in range(30)]
    table = pa.table({"history": [json.dumps(one) for one in told], "broken": ["yes", "no"] * 15})
    rows = read(table)
    found = infer(rows, target=["broken"])
    problem = Problem(name="machines", inputs=found.inputs, outputs=found.outputs)
    dataset = Dataset.build(rows, problem, np.arange(30) % 3, tmp_path / "sets")
    adopted = space.AdoptedCell(name="mine", cell=draw(space.cells, answering({"form": "tree"})).built)

    def answer(offer):
        if offer.name.endswith(".family"):
            return offer.values.index("recurrent")
        return offer.options - 1 if offer.name.endswith(".cell") else first(offer)

    path, recipe = problem_space(space.offering(Recorder(answer), [adopted]), dataset.problem, rows=20)
    assert [gene.layer.cell for gene in path.genes if gene.layer.kind == "cell"] == [adopted.cell]
    job = Job(dataset=dataset.digest, path=path, recipe=recipe, folds=(0,), work=0.02)
    outcome = rung.run(job, Context(dataset_folder=str(dataset.folder), scratch=str(tmp_path / "scratch")))
    assert outcome.ok and outcome.parameters > 0


def test_a_text_model_may_be_built_on_an_adopted_cell():
    adopted = space.AdoptedCell(name="mine", cell=draw(space.cells, answering({"form": "tree"})).built)
    form = tokens(12, vocabulary=20)

    def answer(offer):
        if offer.name == "body.family":
            return offer.values.index("recurrent")
        return offer.options - 1 if offer.name == "body.cell" else first(offer)

    genes, last = texts.encoder(space.offering(Recorder(answer), [adopted]), "body", form, prefix="body")
    head = Gene(name="head", layer=Linear(width=3), inputs=(last,))
    path = Path.from_json(Path(genes=(*genes, head), outputs={"kind": "head"}).to_json())
    assert [gene.layer.cell for gene in path.genes if gene.layer.kind == "cell"] == [adopted.cell]
    ids = torch.randint(1, 20, (4, 12)) * (torch.arange(12) < torch.tensor([12, 5, 1, 0])[:, None])
    out = build(path, {"body": form})({"body": ids})["kind"]
    out.sum().backward()
    assert out.shape == (4, 3) and out.isfinite().all()
