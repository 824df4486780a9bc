"""Raters who disagree: their columns as one, who errs how, agreement, soft targets."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from polymath.model.layers.raters import Raters
from polymath.problem import Graded, Problem
from polymath.problem.form import vector
from polymath.problem.raters import agreement, counts, gathered, judge, with_raters
from polymath.problem.sources import read
from polymath.spec import BadInput

CONFUSION = np.array(
    [
        [[0.9, 0.1, 0.0], [0.1, 0.9, 0.0], [0.1, 0.1, 0.8]],
        [[0.7, 0.2, 0.1], [0.1, 0.7, 0.2], [0.2, 0.1, 0.7]],
        [[0.3, 0.6, 0.1], [0.0, 0.9, 0.1], [0.1, 0.5, 0.4]],  # says 1 too often
    ]
)


def drawn(rows: int, *, missing: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """True classes [N], and what three raters say of them [N, 3]."""
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 3, rows)
    codes = np.stack([[generator.choice(3, p=one[c]) for c in truth] for one in CONFUSION], axis=1)
    return truth, np.where(generator.random(codes.shape) < missing, -1, codes)


def test_dawid_skene_finds_who_errs_how_and_beats_the_vote():
    truth, codes = drawn(3000)
    found = judge(codes, 3)
    assert np.abs(found.confusion - CONFUSION).mean() < 0.05
    assert np.allclose(found.confusion.sum(2), 1) and np.allclose(found.prior, 1 / 3, atol=0.06)
    said, graded = found.posterior(codes).argmax(1), (codes >= 0).any(1)
    assert np.mean((said == truth)[graded]) > np.mean((counts(codes, 3).argmax(1) == truth)[graded]) + 0.03
    settled = judge(codes, 3, truth_N=np.where(np.arange(3000) < 500, truth, -1))
    assert np.abs(settled.confusion - CONFUSION).mean() <= np.abs(found.confusion - CONFUSION).mean() + 0.01


def test_agreement_by_hand():
    codes = np.array([[0, 0, 0], [0, 0, 1], [1, 1, -1], [-1, 1, -1]])
    found = agreement(codes, ["a", "b", "c"], 2)
    assert found["agreement"] == pytest.approx((1 + 1 / 3 + 1) / 3)
    assert found["cohen_kappa a, b"] == pytest.approx(1.0)
    assert found["rater c"] == pytest.approx(0.5) and found["rater a"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert found["ceiling"] == pytest.approx(np.mean([found[f"rater {name}"] for name in "abc"]))
    by_chance = np.random.default_rng(0).integers(0, 4, (5000, 3))
    assert abs(agreement(by_chance, ["a", "b", "c"], 4)["fleiss_kappa"]) < 0.02
    assert agreement(np.array([[0, -1], [-1, 1]]), ["a", "b"], 2) == {}


@pytest.fixture
def graded() -> tuple[Graded, pa.ChunkedArray, np.ndarray]:
    truth, codes = drawn(600)
    names = np.array(["ash", "beech", "oak", None], dtype=object)
    table = pa.table({f"r{k}": names[codes[:, k]] for k in range(3)})
    table = table.append_column("kind", pa.array(np.where(np.arange(600) % 10 == 0, names[truth], None), pa.string()))
    raters = {"kind": ("r0", "r1", "r2")}
    column = gathered(table, raters)["kind"]
    return Graded(name="kind", raters=raters["kind"]).measure(column, as_output=True), column, truth


def test_targets_hold_every_label(graded):
    feature, column, truth = graded
    target = feature.encode_target(column).array
    assert target.shape == (600, 4) and (target[::10, 0] == truth[::10]).all() and (target[1::10, 0] == -1).all()
    assert feature.agreement["ceiling"] == pytest.approx(np.mean([feature.agreement[f"rater r{k}"] for k in range(3)]))
    assert feature.agreement["right r0"] > feature.agreement["right r2"]
    chance = feature.posterior(target)
    assert np.allclose(chance.sum(1), 1) and (chance[::10].max(1) == 1).all()
    assert (feature.single(target)[::10] == truth[::10]).all()


def test_each_label_by_itself_counts_as_one_vote(graded):
    feature, column, _ = graded
    target = feature.encode_target(column).array[:50]
    wide = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)).log_softmax(1).repeat(1, 4)
    each = [[-float(wide[n, code]) for code in row if code >= 0] for n, row in enumerate(target.tolist())]
    mean = torch.tensor([np.mean(one) if one else 0.0 for one in each])
    assert torch.allclose(feature.loss(wide, torch.from_numpy(target)), mean.float(), atol=1e-4)


@pytest.mark.parametrize("own", [False, True])
def test_one_truth_explains_all_labels_of_a_row(graded, own):
    """With the matrices that were measured, or with those that the path learns beside the classes."""
    feature, column, _ = graded
    target = feature.encode_target(column).array[:40]
    log_BC = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)).log_softmax(1)
    confusion = torch.tensor(CONFUSION if own else feature.confusion).clamp_min(1e-6).float()
    expected = []
    for chance, (settled, *labels) in zip(log_BC.exp(), target.tolist(), strict=True):
        for rater, label in enumerate(labels):
            chance = chance * (confusion[rater, :, label] if label >= 0 else 1)
        known = settled >= 0 or max(labels) >= 0
        expected.append(-torch.log(chance[settled] if settled >= 0 else chance.sum()) if known else torch.tensor(0.0))
    given = torch.cat([log_BC, confusion.log().flatten().expand(40, -1)], 1) if own else log_BC
    assert torch.allclose(feature.loss(given, torch.from_numpy(target)), torch.stack(expected), atol=1e-4)


def test_what_the_net_sees_is_weighed_with_who_said_what(graded):
    feature, _, _ = graded
    logits = torch.tensor([[0.0, 3.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 0.0]], requires_grad=True)
    target = torch.tensor([[-1, 1, 0, -1], [2, 1, 1, 1], [-1, -1, -1, -1]])
    feature.loss(logits, target).sum().backward()
    pulled = logits.detach().softmax(1) - logits.grad  # what is likely of each row, all in all
    labels = torch.tensor(feature.confusion)[0, :, 1] * torch.tensor(feature.confusion)[1, :, 0]
    weighed = labels * torch.tensor([0.0, 3.0, 0.0]).exp()
    assert torch.allclose(pulled[0], (weighed / weighed.sum()).float(), atol=1e-4)
    assert torch.allclose(pulled[1], torch.tensor([0.0, 0.0, 1.0]), atol=1e-4)
    assert not logits.grad[2].any()


@pytest.mark.parametrize("how", ["matrices", "joint"])
def test_the_layer_finds_who_errs_how(how):
    truth, codes = drawn(1500)
    feature = Graded(name="kind", raters=("r0", "r1", "r2"), classes=("ash", "beech", "oak"))
    layer = Raters(raters=3, how=how).build(vector(3))
    logits = torch.eye(3)[truth] * 4  # a net that knows
    target = torch.from_numpy(np.concatenate([np.full((1500, 1), -1), codes], 1))
    rule = torch.optim.Adam(layer.parameters(), lr=0.1)
    for _ in range(60):
        rule.zero_grad()
        feature.loss(layer(logits), target).mean().backward()
        rule.step()
    found = layer.logits.detach().view(3, 3, 3).softmax(2).numpy()
    assert np.abs(found - CONFUSION).mean() < 0.05
    assert layer.eval()(logits) is logits


def test_adjudicated_rows_are_what_scores_count(graded):
    feature, column, truth = graded
    target = feature.encode_target(column).array
    right = np.full((600, 3), -5.0, dtype=np.float32)
    right[np.arange(600), truth] = 5.0
    wrong = right.copy()
    wrong[1::10] *= -1  # where nothing is settled
    assert feature.scores(right, target)["accuracy"] == feature.scores(wrong, target)["accuracy"] == 1.0
    assert feature.scores(wrong, target)["votes_cross_entropy"] > feature.scores(right, target)["votes_cross_entropy"]


def test_columns_of_raters_are_gathered_and_checked():
    table = pa.table({"x": list(range(10)), "a": ["u", "v"] * 5, "b": ["u", None] * 5})
    rows = with_raters(read(table), {"grade": ("a", "b")})
    assert rows.table.column_names == ["x", "grade"]
    assert rows.table["grade"][1].as_py() == {"adjudicated": None, "rater 0": "v", "rater 1": None}
    shared = gathered(table, {"grade": ("a", "b"), "size": ("b", "a")})
    assert shared.column_names == ["x", "grade", "size"] and shared["size"][1].as_py()["rater 1"] == "v"
    assert gathered(table.select(["x"]), {"grade": ("a", "b")}).column_names == ["x"]
    for raters, said in (({"grade": ("a", "c")}, "do not have"), ({"grade": ("a", "a")}, "fewer than two")):
        with pytest.raises(BadInput, match=said):
            with_raters(read(table), raters)
    problem = Problem(name="p", inputs=[{"type": "number", "name": "x"}], outputs=[Graded(name="g", raters=("a", "b"))])
    assert problem.raters == {"g": ("a", "b")} and Problem.from_json(problem.to_json()) == problem
