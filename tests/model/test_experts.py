"""The mixture of experts: gates against a plain loop, balance, and experts that come from a store when needed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from polymath.model.build import build
from polymath.model.layers.experts import Experts, gates, load, unevenness
from polymath.model.layers.stored import Recent
from polymath.model.path import Gene, Path
from polymath.model.spread import spread
from polymath.problem.form import tokens, vector
from polymath.store import Store

ROW = {"row": vector(6)}


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("top", [1, 2, 3])
def test_gates_as_a_plain_loop_computes_them(top: int) -> None:
    scores = random(20, 5)
    found = gates(scores, top)
    for row, given in zip(found.tolist(), scores.tolist(), strict=True):
        best = sorted(range(5), key=lambda e, given=given: -given[e])[:top]
        among = best if top > 1 else range(5)
        total = sum(math.exp(given[e]) for e in among)
        expected = [math.exp(given[e]) / total if e in best else 0.0 for e in range(5)]
        assert row == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("top", [1, 2])
def test_load_is_the_chance_to_be_chosen_again(top: int) -> None:
    """Against the definition: for each token and expert the k-th best of the others, by a loop."""
    clean, spread_ = random(12, 5), random(12, 5, seed=1).abs() + 0.1
    noisy = clean + spread_ * random(12, 5, seed=2)
    expected = np.zeros(5)
    for n in range(12):
        for e in range(5):
            others = sorted((float(noisy[n, o]) for o in range(5) if o != e), reverse=True)
            z = (float(clean[n, e]) - others[top - 1]) / float(spread_[n, e])
            expected[e] += 0.5 * (1 + math.erf(z / math.sqrt(2)))
    assert load(clean, noisy, spread_, top).tolist() == pytest.approx(expected.tolist(), rel=1e-4)


def test_unevenness() -> None:
    assert float(unevenness(torch.tensor([3.0, 3.0, 3.0]))) == 0
    assert float(unevenness(torch.tensor([1.0, 3.0]))) == pytest.approx(0.25)


def test_the_mixture_as_a_plain_loop_computes_it() -> None:
    torch.manual_seed(0)
    module = Experts(experts=4, hidden=5, top=2, shared=True).build(vector(6)).eval()
    x = random(7, 6)
    with torch.no_grad():
        found = module(x)
        for row in range(7):
            normed = module.norm(x[row])
            scores = module.router(normed)
            chosen = scores.topk(2)
            expected = x[row] + module.common(normed)
            for share, expert in zip(chosen.values.softmax(0), chosen.indices.tolist(), strict=True):
                hidden = (module.up_EHD[expert] @ normed + module.up_bias.view(4, 5)[expert]).relu()
                answer = module.down_EDH[expert] @ hidden + module.down_bias.view(4, 6)[expert]
                expected = expected + share * answer
            assert torch.allclose(found[row], expected, atol=1e-5)


@pytest.mark.parametrize("top", [1, 2])
def test_the_router_learns(top: int) -> None:
    torch.manual_seed(0)
    module = Experts(experts=4, hidden=5, top=top, balance=0).build(vector(6)).train()
    (module(random(30, 6)) ** 2).mean().backward()
    assert module.extra_loss is None
    assert module.router.weight.grad is not None
    assert module.router.weight.grad.abs().max() > 0
    assert module.noise.weight.grad.abs().max() > 0


def usage(module: nn.Module, x: torch.Tensor) -> float:
    """How unevenly tokens are spread over experts."""
    with torch.no_grad():
        chosen = gates(module.router(module.norm(x)), module.top) > 0
    return float(unevenness(chosen.sum(0).float()))


def test_balance_improves_with_the_losses_and_not_without() -> None:
    x = random(256, 6) + random(1, 6, seed=5)
    y = torch.where(x[:, :1] > 0, x.roll(1, 1), -x)
    uneven, missed = {}, {}
    for balance in (0.0, 0.1):
        torch.manual_seed(0)
        module = Experts(experts=6, hidden=4, top=2, balance=balance).build(vector(6)).train()
        with torch.no_grad():
            module.router.weight.mul_(20)  # begins with favourites
        before = usage(module, x)
        optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
        for _ in range(120):
            optimizer.zero_grad()
            loss = ((module(x) - y) ** 2).mean()
            (loss if module.extra_loss is None else loss + module.extra_loss).backward()
            optimizer.step()
        uneven[balance], missed[balance] = usage(module.eval(), x), float(loss.detach())
    assert uneven[0.1] < 0.5 * before < 0.5 * uneven[0.0]
    assert missed[0.1] < 1.1 * missed[0.0], "at no cost"


def mixture(store: Store, *, experts: int = 32, hidden: int = 64) -> Path:
    """A path of one mixture with fresh weights, stored as training stores them."""
    layer = Experts(experts=experts, hidden=hidden, top=1)
    path = Path(genes=(Gene(name="mix", layer=layer, inputs=("in:row",)),), outputs={"y": "mix"})
    weights = build(path, ROW, seed=1).weights("mix")
    assert weights is not None
    gene = path.genes[0].replace(weights=store.put_tensors(weights))
    return path.replace(genes=(gene,))


def test_a_path_larger_than_memory(tmp_path) -> None:
    """Experts of a store: the same answers, never more than a few in memory, and only those that a batch uses."""
    with Store.open(tmp_path, scratch=True) as store:
        path = mixture(store)
        apart = spread(path, fetch=store.get_tensors, put=store.put_tensors)
        assert len(apart.genes[0].layer.addresses) == 32
        assert len(apart.addresses) == 33
        assert spread(apart, fetch=store.get_tensors, put=store.put_tensors) is apart
        one = sum(array.nbytes for array in store.get_tensors(apart.genes[0].layer.addresses[0]).values())
        kept = Recent(store.get_tensors, most_bytes=3 * one)
        whole = build(path, ROW, fetch=store.get_tensors).eval()
        module = build(apart, ROW, fetch=store.get_tensors, on_demand=kept).eval()
        assert sum(tensor.nbytes for tensor in module.state_dict().values()) < 3 * one
        with torch.no_grad():
            few = random(2, 6)
            assert torch.equal(module({"row": few})["y"], whole({"row": few})["y"])
            assert 1 <= kept.fetched <= 2, "no expert that nobody asked"
            many = random(300, 6, seed=1) * 5
            assert torch.equal(module({"row": many})["y"], whole({"row": many})["y"])
        assert kept.fetched > 3
        assert kept.most_held <= 3 * one


def test_the_least_recently_used_goes_first() -> None:
    asked: list[str] = []

    def fetch(address: str) -> dict[str, np.ndarray]:
        asked.append(address)
        return {"w": np.zeros(10, np.float32)}

    kept = Recent(fetch, most_bytes=80)
    for address in "abacab":
        kept(address)
    assert asked == ["a", "b", "c", "b"]
    assert kept.bytes_held == 80
    small = Recent(fetch, most_bytes=1)
    small("a")
    assert small.bytes_held == 40, "one that is too large is used all the same"
    small("b")
    assert small.bytes_held == 40


def test_without_a_store_it_says_so() -> None:
    layer = Experts(experts=2, hidden=3, top=1, stored=("0" * 64, "1" * 64))
    module = layer.build(vector(6)).eval()
    with pytest.raises(ValueError, match="no store to fetch them from"):
        module(random(1, 6))


@pytest.mark.parametrize(
    ("settings", "form", "words"),
    [
        ({"experts": 2, "top": 3}, vector(4), "cannot use 3"),
        ({"experts": 3, "stored": ("a",)}, vector(4), "addresses of 1"),
        ({}, tokens(4, vocabulary=9), "embed them first"),
    ],
)
def test_what_does_not_fit(settings, form, words) -> None:
    with pytest.raises(ValueError, match=words):
        Experts(**settings).form(form)
