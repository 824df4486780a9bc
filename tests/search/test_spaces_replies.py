"""Spaces of replies and of graded outputs: whatever is drawn builds, learns and answers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from polymath.model.build import build, get_weights, load_weights
from polymath.model.replies import untied
from polymath.problem import Category, Graded, Number, Problem, Reply, Text
from polymath.problem.raters import gathered
from polymath.search.choices import Recorder, at_random, draw, first
from polymath.search.spaces.rows import problem_space
from polymath.train.batches import Batch
from polymath.train.fit import loss_of

ROWS = 40


@pytest.fixture(scope="module")
def chat() -> Problem:
    values = Reply(name="x").random_values(ROWS, np.random.default_rng(0))
    table = pa.table(
        {
            "message": values,
            "before": values.take(pa.array(range(len(values) - 1, -1, -1))),
            "age": list(range(ROWS)),
            "reply": values,
        }
    )
    inputs = (Text(name="message"), Text(name="before"), Number(name="age"))
    problem = Problem(name="chat", inputs=inputs, outputs=(Reply(name="reply", width=16),))
    return problem.measure(table, range(ROWS))


@pytest.fixture(scope="module")
def trees() -> Problem:
    values = Category(name="x").random_values(ROWS, np.random.default_rng(0))
    table = gathered(pa.table({"x": list(range(ROWS)), "a": values, "b": values}), {"kind": ("a", "b")})
    problem = Problem(name="trees", inputs=(Number(name="x"),), outputs=(Graded(name="kind", raters=("a", "b")),))
    return problem.measure(table, range(ROWS))


def drawn(problem: Problem, seed: int):
    """A path and a recipe; the first ones of every choice for seed 0."""

    def space(choose):
        return problem_space(choose, problem, rows=1_000)

    answer = first if seed == 0 else at_random(np.random.default_rng(seed))
    return draw(space, answer).built


def batch_of(problem: Problem, table: pa.Table) -> Batch:
    arrays = {
        port: torch.from_numpy(array.astype(np.int64) if array.dtype.kind == "u" else array)
        for port, array in problem.encode_inputs(table).arrays.items()
    }
    targets = {name: one.array for name, one in problem.encode_targets(table).items()}
    shown = {
        problem.answer_port(one): torch.from_numpy(targets[one.name].astype(np.int64))
        for one in problem.outputs
        if one.shown is not None
    }
    return Batch({**arrays, **shown}, {name: torch.from_numpy(one.astype(np.int64)) for name, one in targets.items()})


def groups(path, parted):
    """Gene of the path -> itself and the genes of the parted path that have its weights."""
    shared = [gene.name for gene in parted.genes if gene.name.startswith("shared.")]
    found = {gene.name: [gene.name, gene.name] for gene in path.genes if gene.name not in ("shared", *shared)}
    return found | ({"shared": ["shared", *shared]} if shared else {})


@pytest.mark.parametrize("seed", range(6))
def test_towers_meet_in_a_pair_and_learn(chat, seed):
    path, recipe = drawn(chat, seed)
    assert set(path.ports) == {"message", "before", "row", "answer/reply"} and recipe.batch <= 512
    assert path.forms(chat.all_ports)[path.outputs["reply"]].width == 2 * 16
    module = build(path, chat.all_ports)
    values = Reply(name="x").random_values(8, np.random.default_rng(1))
    table = pa.table(
        {
            "message": values,
            "before": values.take(pa.array(range(len(values) - 1, -1, -1))),
            "age": list(range(8)),
            "reply": values,
        }
    )
    batch = batch_of(chat, table)
    module.prepare(batch.inputs)
    loss = loss_of(module(batch.inputs), batch, outputs={"reply": chat.outputs[0]}, smoothing=recipe.smoothing)
    loss.backward()
    assert loss.item() > 0 and all(p.grad is not None for p in module.parameters())
    without = {port: value for port, value in batch.inputs.items() if port != "answer/reply"}
    whole, parted = module.eval(), build(untied(path), chat.all_ports).eval()
    for gene, (ours, *others) in groups(path, untied(path)).items():
        for other in others:
            load_weights(parted.module(other), get_weights(whole.module(ours)), name=gene)
    assert torch.allclose(parted.value("message", without), whole.value("message", batch.inputs), atol=1e-5)


def test_messages_earlier_turns_and_replies_share_one_table(chat):
    path, _ = drawn(chat, 0)
    (shared,) = (gene for gene in path.genes if gene.name == "shared")
    assert set(shared.inputs) == {"in:message", "in:before", "in:answer/reply"}
    message = next(gene for gene in path.genes if gene.name == "message")
    assert message.inputs == ("shared.0", "shared.1", "message.last")


def test_the_ways_of_raters_are_one_choice(trees):
    ways = set()
    for seed in range(16):
        path, _ = drawn(trees, seed)
        last = next(gene for gene in path.genes if gene.name == path.outputs["kind"])
        ways.add(getattr(last.layer, "how", "likely") if last.layer.kind == "raters" else "likely")
        module = build(path, trees.ports)
        batch = Batch({"row": torch.randn(8, 1)}, {"kind": torch.randint(-1, 3, (8, 3))})
        module.prepare(batch.inputs)
        loss = loss_of(module(batch.inputs), batch, outputs={"kind": trees.outputs[0]}, smoothing=0.0)
        loss.backward()
        assert loss.item() >= 0 and module.eval()(batch.inputs)["kind"].shape == (8, 3)
    assert ways == {"votes", "likely", "joint", "matrices", "tendencies"}


def test_the_default_of_few_rows_is_small(chat):
    small, _ = problem_space(Recorder(first), chat, rows=500)
    large, _ = problem_space(Recorder(first), chat, rows=200_000)
    sizes = [sum(p.numel() for p in build(path, chat.all_ports).parameters()) for path in (small, large)]
    assert sizes[0] < sizes[1] / 4
