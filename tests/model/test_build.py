"""A built path: seeds, stored weights, frozen genes, equal genes, members, checkpoints."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from polymath.model.build import as_value, build, get_weights
from polymath.model.path import Path
from polymath.problem.form import Tokens, pixels, tokens, vector

ROW = {"row": vector(4)}


def gene(name: str, *inputs: str, kind: str = "linear", weights: str | None = None, frozen: bool = False, **settings):
    layer = {"kind": kind, **({"width": 3} if kind == "linear" else {}), **settings}
    return {"name": name, "layer": layer, "inputs": inputs, "weights": weights, "frozen": frozen}


def path(*genes: dict, **outputs: str) -> Path:
    return Path.model_validate({"genes": genes, "outputs": outputs or {"y": genes[-1]["name"]}})


def batch(rows: int = 6, seed: int = 0) -> dict[str, torch.Tensor]:
    return {"row": torch.randn(rows, 4, generator=torch.Generator().manual_seed(seed))}


def equal(one: dict[str, np.ndarray] | None, two: dict[str, np.ndarray] | None) -> bool:
    return one is not None and two is not None and all(np.array_equal(one[name], two[name]) for name in one)


def test_fresh_weights_depend_on_seed_and_name_alone():
    small = build(path(gene("a", "in:row")), ROW, seed=3)
    large = build(path(gene("z", "in:row"), gene("a", "in:row"), y="a", z="z"), ROW, seed=3)
    assert equal(small.weights("a"), large.weights("a"))
    assert not equal(small.weights("a"), large.weights("z"))
    assert not equal(small.weights("a"), build(path(gene("a", "in:row")), ROW, seed=4).weights("a"))


def test_building_leaves_the_random_state_alone():
    before = torch.get_rng_state()
    build(path(gene("a", "in:row")), ROW, seed=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_stored_weights_are_loaded():
    source = build(path(gene("a", "in:row")), ROW, seed=1)
    stored = source.weights("a")
    assert stored is not None
    for array in stored.values():
        array.setflags(write=False)  # as a store gives them
    loaded = build(path(gene("b", "in:row", weights="address")), ROW, fetch={"address": stored}.__getitem__)
    assert torch.equal(loaded(batch())["y"], source(batch())["y"])
    with torch.no_grad():
        loaded.module("b").state_dict()["0.weight"].zero_()
    assert stored["0.weight"].any(), "what was fetched stays as it was"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("0.bias"), r"missing \['0.bias'\]"),
        (lambda w: w.update(more=np.zeros(1)), r"not its own \['more'\]"),
        (lambda w: w.update({"0.bias": np.zeros(4, np.float32)}), r"has shape \(4,\), its layer wants \(3,\)"),
        (lambda w: w["0.weight"].__setitem__((0, 0), np.nan), "holds NaN or infinity"),
        (lambda w: w.update({"0.bias": np.array(["a", "b", "c"])}), "is no number"),
    ],
)
def test_weights_that_do_not_fit(change, message):
    stored = build(path(gene("a", "in:row")), ROW).weights("a")
    change(stored)
    with pytest.raises(ValueError, match=message):
        build(path(gene("a", "in:row", weights="x")), ROW, fetch=lambda address: stored)


def test_weights_without_a_store():
    with pytest.raises(ValueError, match="no store"):
        build(path(gene("a", "in:row", weights="x")), ROW)


def test_frozen_genes_stay_as_they_are():
    made = path(gene("a", "in:row", kind="residual_mlp", width=8, dropout=0.5, frozen=True), gene("h", "a"))
    module = build(made, ROW)
    before, features = get_weights(module.module("a")), module.module("a")(batch()["row"])
    assert module.training and not module.module("a").training
    assert torch.equal(module.module("a")(batch()["row"]), features), "no dropout, no batch statistics"
    optimizer = torch.optim.SGD((p for p in module.parameters() if p.requires_grad), lr=0.1)
    module(batch())["y"].square().sum().backward()
    optimizer.step()
    module.eval().train()
    assert equal(before, get_weights(module.module("a")))
    assert all(parameter.grad is None for parameter in module.module("a").parameters())
    assert all(parameter.grad is not None for parameter in module.module("h").parameters())


class Counter:
    """Counts how often modules answer."""

    def __init__(self, *modules: nn.Module) -> None:
        self.count = 0
        for module in modules:
            module.register_forward_hook(self)

    def __call__(self, *_: object) -> None:
        self.count += 1


def test_equal_genes_are_computed_once():
    stored = build(path(gene("a", "in:row")), ROW).weights("a")
    made = path(
        gene("a", "in:row", weights="x", frozen=True),
        gene("b", "in:row", weights="x", frozen=True),
        gene("c", "a", kind="scale", factor=2.0),
        gene("d", "b", kind="scale", factor=2.0),
        gene("e", "c", "d", kind="ensemble"),
        y="e", z="d",
    )  # fmt: skip
    module = build(made, ROW, fetch=lambda address: stored)
    counter = Counter(*module.genes)
    answer = module(batch())
    assert counter.count == 3
    assert torch.equal(answer["y"], answer["z"])
    assert equal(module.weights("b"), module.weights("a"))
    assert module.parameters_by_gene() == {"a": 15, "c": 0, "e": 0}


def test_fresh_genes_are_each_their_own():
    made = path(gene("a", "in:row"), gene("b", "in:row"), gene("c", "a", kind="scale", factor=2.0),
                gene("d", "b", kind="scale", factor=2.0), y="c", z="d")  # fmt: skip
    answer = build(made, ROW)(batch())
    assert not torch.equal(answer["y"], answer["z"])


def test_members_are_apart_while_training_only():
    made = path(gene("m", "in:row", kind="members", width=5, members=4, hidden=8, dropout=0.0),
                gene("p", "m", kind="part", start=0, width=2), gene("q", "m", kind="part", start=2, width=3),
                y="p", z="q")  # fmt: skip
    module = build(made, ROW)
    apart, together = module(batch()), module.eval()(batch())
    assert {name: tuple(value.shape) for name, value in apart.items()} == {"y": (6, 4, 2), "z": (6, 4, 3)}
    assert torch.allclose(apart["z"].mean(1), together["z"], atol=1e-6)
    assert not torch.allclose(apart["y"][:, 0], apart["y"][:, 1])


def test_checkpoints():
    made = path(gene("a", "in:row", kind="residual_mlp", width=8), gene("a/b", "a"))
    one, two = build(made, ROW, seed=1), build(made, ROW, seed=2)
    one(batch())  # moves the statistics of batch norm
    two.load(one.state())
    assert torch.equal(one.eval()(batch())["y"], two.eval()(batch())["y"])
    with pytest.raises(ValueError, match="no such gene"):
        two.load({**one.state(), "c/weight": np.zeros(1)})
    with pytest.raises(ValueError, match="missing"):
        two.load({name: tensor for name, tensor in one.state().items() if not name.startswith("a/b/")})


def test_what_has_no_weights_stores_none():
    module = build(path(gene("s", "in:row", kind="scale", factor=2.0)), ROW)
    assert module.weights("s") is None
    assert module.state() == {}


def test_prepare_shows_rows_to_fresh_genes_only():
    encoder = path(gene("c", "in:row", kind="columns"), y="c")
    module = build(encoder, ROW).eval()
    rows = {"row": torch.randn(50, 4) * 7 + 100}
    module.prepare(rows)
    answer = module(rows)["y"]
    assert answer[:, :4].median(0).values.abs().max() < 0.1
    stored = module.weights("c")
    known = build(path(gene("c", "in:row", kind="columns", weights="x"), y="c"), ROW, fetch=lambda address: stored)
    known.prepare({"row": torch.randn(50, 4)})
    assert torch.equal(known.eval()(rows)["y"], answer)


def test_prepare_leaves_the_mode():
    module = build(path(gene("c", "in:row", kind="columns"), gene("a", "c")), ROW)
    module.prepare(batch())
    assert module.training
    module.eval().prepare(batch())
    assert not module.training


def test_ports():
    ports = {"words": tokens(5, vocabulary=9), "image": pixels(1, 2, 2)}
    made = path(gene("e", "in:words", kind="embedding", width=3), gene("w", "e", kind="pool_tokens"),
                gene("i", "in:image", kind="pixels"), gene("f", "i", kind="flatten"),
                gene("j", "w", "f", kind="concat"))  # fmt: skip
    module = build(made, ports).eval()
    ids, image = torch.tensor([[1, 2, 0, 0, 0], [3, 4, 5, 6, 7]]), torch.zeros(2, 1, 2, 2, dtype=torch.uint8)
    answer = module({"words": ids, "image": image})["y"]
    assert answer.shape == (2, 7)
    assert torch.equal(answer, module({"words": Tokens(ids, ids != 0), "image": image})["y"])
    with pytest.raises(ValueError, match=r"reads port 'image', the batch has \['words'\]"):
        module({"words": ids})


def test_an_output_is_given_without_the_ports_of_the_others():
    """A text is written token by token: nothing stands at the port of its answer when the rest is asked."""
    ports = {"row": vector(4), "answer": tokens(5, vocabulary=9)}
    made = path(gene("a", "in:row"), gene("y", "a"), gene("seen", "a", kind="as_tokens", width=8),
                gene("w", "seen", "in:answer", kind="transformer_decoder", heads=2, depth=1),
                y="y", w="w")  # fmt: skip
    module = build(made, ports).eval()
    whole = module({**batch(), "answer": torch.ones(6, 5, dtype=torch.long)})
    assert set(whole) == {"y", "w"}
    assert torch.equal(module(batch(), ["y"])["y"], whole["y"])
    assert torch.equal(module.value("a", batch()), module.module("a")(batch()["row"]))
    assert module.memory("w", batch())[1][0].values.shape == (6, 4, 8)
    with pytest.raises(ValueError, match="reads port 'answer'"):
        module(batch())


def test_tokens_read_from_the_cache_have_the_mask_that_they_had():
    """What a frozen layer gives for texts is kept without its mask: zeros stand where no token is."""
    ids, words = tokens(4, vocabulary=9), tokens(4, width=6)
    embedding = build(
        Path.model_validate(
            {
                "genes": [{"name": "e", "layer": {"kind": "embedding", "width": 6}, "inputs": ["in:text"]}],
                "outputs": {"e": "e"},
            }
        ),
        {"text": ids},
    ).eval()
    texts = torch.tensor([[3, 5, 0, 0], [1, 2, 3, 4], [0, 0, 0, 0]])
    kept = embedding({"text": texts})["e"].detach()
    found = as_value(kept, words)
    assert isinstance(found, Tokens)
    assert torch.equal(found.mask, texts != 0)
