"""A rule as an optimizer: small and large, gathered and alone, saved and loaded, in any layout and precision."""

from __future__ import annotations

import copy
import io

import pytest
import torch

import polymath
from polymath.spec import BadInput
from polymath.store import Store
from polymath.train.update import KNOWN, parse
from polymath.train.update.flat import SMALL
from polymath.train.update.optimizer import ExpressionOptimizer

LARGE = (SMALL // 64 + 1, 64)
NOISY = ["+", ["drop", "adam", 0.3], ["+", ["*", 0.1, "w"], ["noise", 0.01]]]


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", ["adamw", "lion", "powersign"])
def test_gathered_equals_alone(name, parameters, follow):
    shapes = ((7, 5), LARGE, (5,), LARGE)
    together, apart = parameters(shapes), parameters(shapes)
    found = follow(ExpressionOptimizer(together, name, weight_decay=0.1), together, number=5)
    single = [ExpressionOptimizer([one], name, weight_decay=0.1) for one in apart]

    class All:
        def step(self):
            for optimizer in single:
                optimizer.step()

    for one, other in zip(found[-1], follow(All(), apart, number=5)[-1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("rule", ["adam", "lion", "sgd", NOISY], ids=["adam", "lion", "sgd", "noisy"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_saved_and_loaded_goes_on_bit_for_bit(rule, dtype, parameters, follow):
    shapes = ((7, 5), LARGE, (5,))
    weights = parameters(shapes, dtype=dtype)
    first = ExpressionOptimizer(weights, rule, lr=0.01)
    follow(first, weights, number=3)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    others = [torch.nn.Parameter(one.detach().clone()) for one in weights]
    second = ExpressionOptimizer(others, rule, lr=0.5)
    second.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    torch.manual_seed(0)
    went_on = follow(first, weights, number=3, seed=1)
    torch.manual_seed(0)
    assert equal(follow(second, others, number=3, seed=1)[-1], went_on[-1])
    assert all(value.dtype is torch.float32 for state in second.state.values() for value in state.values())


def test_a_state_that_does_not_fit_is_refused(parameters, follow):
    weights = parameters()
    saved = ExpressionOptimizer(weights, "adam")
    follow(saved, weights, number=1)
    with pytest.raises(BadInput, match="belongs to another update rule"):
        ExpressionOptimizer(weights, "lion").load_state_dict(saved.state_dict())
    with pytest.raises(BadInput, match="belongs to another update rule"):
        ExpressionOptimizer(weights, "lion").load_state_dict(torch.optim.SGD(weights, lr=1).state_dict())
    other = ExpressionOptimizer(weights, "lion")
    other.state[weights[0]] = dict(saved.state[weights[0]])
    with pytest.raises(BadInput, match="does not fit its rule"):
        other.step()
    other.state[weights[0]] = {"step": torch.tensor(1.0), "mean_0": torch.zeros(2)}
    with pytest.raises(BadInput, match="does not fit its rule"):
        other.step()


def test_groups_have_rates_and_decays_of_their_own(parameters, follow):
    weights = parameters()
    groups = [{"params": weights[:2], "lr": 0.0}, {"params": weights[2:], "weight_decay": 0.5, "lr": 0.1}]
    before = [one.detach().clone() for one in weights]
    after = follow(ExpressionOptimizer(groups, ["*", 0, "g"]), weights, number=1)[-1]
    assert equal(after[:2], before[:2])
    for one, old in zip(after[2:], before[2:], strict=True):
        torch.testing.assert_close(one, 0.95 * old)
    with pytest.raises(BadInput, match="not negative"):
        ExpressionOptimizer(weights, "g", lr=-1.0)


def test_parameters_may_come_late_and_stay_away(parameters):
    mine, theirs = parameters(), parameters()
    optimizer, reference = ExpressionOptimizer(mine, "adam", lr=0.01), torch.optim.Adam(theirs, lr=0.01)
    for step in range(6):
        for place, (one, other) in enumerate(zip(mine, theirs, strict=True)):
            there = (step + place) % 3 != 0
            one.grad = torch.full_like(one, step - 2.0) if there else None
            other.grad = torch.full_like(other, step - 2.0) if there else None
        optimizer.step()
        reference.step()
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_memory_layouts(parameters):
    mine, theirs = parameters(((8, 16, 3, 3), (64, 32, 5, 5))), parameters(((8, 16, 3, 3), (64, 32, 5, 5)))
    for one in mine:
        one.data = one.data.to(memory_format=torch.channels_last)
    optimizer, reference = ExpressionOptimizer(mine, "adam", lr=0.01), torch.optim.Adam(theirs, lr=0.01)
    for step in range(3):
        for one, other in zip(mine, theirs, strict=True):
            other.grad = torch.sin(other.detach() * (step + 3))
            one.grad = other.grad.clone().to(memory_format=torch.channels_last if step else torch.contiguous_format)
        optimizer.step()
        reference.step()
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one.detach().contiguous(), other.detach(), rtol=1e-5, atol=1e-6)
        assert optimizer.state[one]["mean_0"].shape == one.shape


def test_weights_that_are_replaced_are_found_again(parameters):
    (weight,) = parameters(((3,),))
    optimizer = ExpressionOptimizer([weight], "sgd", lr=1.0)
    weight.grad = torch.ones(3)
    optimizer.step()
    weight.data = torch.zeros(3)
    weight.grad = torch.ones(3)
    optimizer.step()
    assert torch.equal(weight.detach(), -torch.ones(3))


@pytest.mark.parametrize("rule", ["adam", "lion", "momentum"])
def test_low_precision_is_rounded_once(rule, parameters):
    half = parameters(((7, 5), LARGE), dtype=torch.bfloat16)
    full = [torch.nn.Parameter(one.detach().float()) for one in half]
    for one, other in zip(half, full, strict=True):
        one.grad = torch.sin(one.detach() * 7)
        other.grad = one.grad.float()
    ExpressionOptimizer(half, rule, lr=0.1, weight_decay=0.1).step()
    ExpressionOptimizer(full, rule, lr=0.1, weight_decay=0.1).step()
    for one, other in zip(half, full, strict=True):
        assert ((one.detach() - other.detach().bfloat16()).abs() <= 0.004 * other.abs()).all()
        assert (one.detach() == other.detach().bfloat16()).float().mean() > 0.99


def test_schedules_need_an_end(parameters, follow):
    weights = parameters()
    with pytest.raises(BadInput, match="total_steps"):
        follow(ExpressionOptimizer(weights, "powersign_linear"), weights, number=1)
    optimizer = ExpressionOptimizer(weights, ["*", "linear_decay", "g"], lr=1.0, total_steps=2)
    moves = []
    for _ in range(3):
        before = weights[0].detach().clone()
        for weight in weights:
            weight.grad = torch.ones_like(weight)
        optimizer.step()
        moves.append(float((before - weights[0].detach()).mean()))
    assert moves == pytest.approx([1.0, 0.5, 0.0], abs=1e-5)
    optimizer.param_groups[0]["progress"] = 0.25
    before = weights[0].detach().clone()
    optimizer.step()
    torch.testing.assert_close(before - weights[0].detach(), torch.full_like(before, 0.75))


def test_closures_copies_and_bad_gradients(parameters, follow):
    weights = parameters()
    optimizer = ExpressionOptimizer(weights, "lion", lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = sum((weight**2).sum() for weight in weights)
        loss.backward()
        return float(loss.detach())

    first = optimizer.step(closure)
    assert optimizer.step(closure) < first
    twin = copy.deepcopy(optimizer)
    assert twin.rule == optimizer.rule
    twin.step()
    table = torch.nn.Embedding(4, 3, sparse=True)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(BadInput, match="sparse"):
        ExpressionOptimizer(table.parameters(), "g").step()
    gaps = torch.nn.Parameter(torch.zeros(4, 4)[:, ::2])
    gaps.grad = torch.ones(4, 2)
    with pytest.raises(BadInput, match="gaps"):
        ExpressionOptimizer([gaps], "g").step()


def test_public_door(tmp_path, parameters):
    weights = parameters()
    file = tmp_path / "rule.json"
    file.write_text(KNOWN["powersign"].to_json())
    for rule in ("powersign", KNOWN["powersign"], KNOWN["powersign"].to_json(), file, str(file)):
        assert polymath.optimizer(rule, weights, lr=0.1).rule == KNOWN["powersign"]
    with pytest.raises(BadInput, match=r"no update rule has this name.*lion"):
        polymath.optimizer("lyon", weights)
    with pytest.raises(BadInput, match=r"none\.json"):
        polymath.optimizer(tmp_path / "none.json", weights)
    file.write_text('["sign"]')
    with pytest.raises(BadInput, match=r"rule\.json.*It is written"):
        polymath.optimizer(file, weights)


def test_names_of_a_store(tmp_path, parameters):
    rule = parse(["sign", ["+", "m", "g"]])
    with Store.open(tmp_path / "knowledge") as store:
        address = store.add_record("rule", {"expression": rule.model_dump(mode="json")}, id="my-rule")
        store.set_head("rule/my-rule", address)
        store.set_head("rule/lion", address)
    for name in ("my-rule", "lion"):
        assert polymath.optimizer(name, parameters(), store=tmp_path / "knowledge").rule == rule
    assert polymath.optimizer("sgd", parameters(), store=tmp_path / "knowledge").rule == KNOWN["sgd"]
    with pytest.raises(BadInput, match="no update rule has this name"):
        polymath.optimizer("other", parameters(), store=tmp_path / "knowledge")


@pytest.mark.slow
def test_compiled_equals_eager(parameters, follow):
    for name in ("adamw", "lion", "powersign_linear"):
        mine, theirs = parameters(), parameters()
        whole = ExpressionOptimizer(mine, name, weight_decay=0.1, total_steps=10, compiled=True)
        eager = ExpressionOptimizer(theirs, name, weight_decay=0.1, total_steps=10)
        found, expected = follow(whole, mine, number=10)[-1], follow(eager, theirs, number=10)[-1]
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
