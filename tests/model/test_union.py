"""The union of all paths: what is shared is counted once, whoever holds it."""

from __future__ import annotations

import numpy as np

from polymath.growing import num_values
from polymath.model.layers import parse_layer
from polymath.model.path import Gene, Path
from polymath.model.union import Stored, Union
from polymath.problem.form import vector
from polymath.store import Store

SIZES = {"w1": 100, "w2": 10, "w3": 20, "w4": 5}


def net(*weights: str, names: str = "abc") -> Path:
    """A chain of linear maps, one per address."""
    genes, before = [], "in:x"
    for name, address in zip(names, weights, strict=False):
        layer = parse_layer({"kind": "linear", "width": 4})
        genes.append(Gene(name=name, layer=layer, inputs=(before,), weights=address))
        before = name
    return Path(genes=tuple(genes), outputs={"y": before})


def stored(name: str, path: Path, *, built_on: tuple[str, ...] = (), imported: bool = False) -> Stored:
    ports = {"x": vector(4)}
    return Stored(name=name, path=path.model_dump(mode="json"), ports=ports, built_on=built_on, imported=imported)


def whole() -> Union:
    return Union(
        [
            stored("wild", net("w1"), imported=True),
            stored("first", net("w1", "w2"), built_on=("wild",)),
            stored("second", net("w1", "w2", "w3", names="xyz"), built_on=("first",)),
            stored("alone", net("w4")),
        ],
        count=SIZES.__getitem__,
    )


def test_equal_genes_are_one_and_names_do_not_count():
    union = whole()
    assert len(union.genes) == 4
    assert union.genes[0].paths == ["wild", "first", "second"]
    assert union.paths["second"] == (0, 1, 2)
    identities = [list(net("w1", "w2").identities().values()), list(net("w1", "w2", names="xy").identities().values())]
    assert identities[0] == identities[1], "the union interns what identities hash"


def test_the_share_of_a_path():
    share = whole().share("second")
    assert (share.parameters, share.parameters_shared, share.parameters_own) == (130, 110, 20)
    assert share.active == 130 / 135
    assert share.active_work == 48 / 64
    assert share.shares_with == ("first", "wild")
    assert share.builds_on == ("first",)
    assert share.imported == ("wild",), "of the second generation too"
    assert whole().share("first").built_upon_by == ("second",)
    assert whole().share("alone").parameters_shared == 0
    assert whole().share("alone").imported == ()


def test_weights_under_two_layers_are_stored_once():
    same = net("w1", "w1")
    union = Union([stored("twice", same)], count=SIZES.__getitem__)
    assert len(union.genes) == 2
    assert union.share("twice").parameters == union.all_parameters == 100


def test_a_layer_that_nobody_brought_is_counted_all_the_same():
    path = net("w1", "w2").model_dump(mode="json")
    path["genes"][0]["layer"] = {"kind": "their own"}
    union = Union([Stored("foreign", path, {"x": vector(4)})], count=SIZES.__getitem__)
    assert union.share("foreign").parameters == 110
    assert union.share("foreign").work == 0


def test_numbers_are_counted_from_the_header(tmp_path):
    with Store.open(tmp_path, scratch=True) as store:
        address = store.put_tensors({"a": np.zeros((3, 4), np.float32), "b": np.zeros((), np.int64)})
        assert num_values(store, address) == 13
