"""Paths side by side: shared genes are held and computed once, and every path answers as it does alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from polymath.model.build import build, get_weights
from polymath.model.layers import parse_layer
from polymath.model.path import Gene, Path
from polymath.model.together import Together
from polymath.problem.form import Form, pixels, tokens

SMALL, LARGE = pixels(1, 12, 12), pixels(1, 16, 16)
WORDS = tokens(6, vocabulary=30)


class Kept(dict[str, Mapping[str, np.ndarray]]):
    """Weights by address, as a store keeps them; counts how often they were fetched."""

    fetched = 0

    def fetch(self, address: str) -> Mapping[str, np.ndarray]:
        self.fetched += 1
        return self[address]

    def path(self, port: str, form: Form, *layers: dict, tag: str, shared: int = 2) -> Path:
        """A chain of layers; the first `shared` have the weights of every chain of that sort, the rest their own."""
        genes, before = [], f"in:{port}"
        for place, layer in enumerate(layers):
            address = f"{layer['kind']} {place} {'shared' if place < shared else tag}"
            genes.append(Gene(name=f"{tag} {place}", layer=parse_layer(layer), inputs=(before,)))
            before = genes[-1].name
            module = build(
                Path(genes=tuple(genes), outputs={}), {port: form}, fetch=self.__getitem__, seed=sum(map(ord, address))
            )
            if (weights := get_weights(module.module(before))) and address not in self:
                self[address] = weights
            genes[-1] = genes[-1].replace(weights=address if weights else None)
        return Path(genes=tuple(genes), outputs={"y": before})


def picture_path(kept: Kept, tag: str, *, port: str = "picture", form: Form = SMALL, classes: int = 3) -> Path:
    stage = {"kind": "residual_stage", "width": 8, "blocks": 1}
    pool, head = {"kind": "pool_map", "how": "max"}, {"kind": "linear", "width": classes}
    return kept.path(port, form, {"kind": "pixels"}, stage, pool, head, tag=tag, shared=3)


def pictures(rows: int, *, seed: int = 0, form: Form = SMALL) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (rows, form.width, *form.size), dtype=np.uint8)


def alone(kept: Kept, path: Path, port: str, form: Form, rows: np.ndarray) -> torch.Tensor:
    with torch.inference_mode():
        return build(path, {port: form}, fetch=kept.fetch).eval()({port: torch.from_numpy(rows)})["y"]


def computed(together: Together, kind: str) -> list[int]:
    """Will hold the rows of every pass through layers of a kind."""
    seen: list[int] = []
    for node in together._nodes.values():
        if f'"kind":"{kind}"' in node.key[0]:
            node.module.register_forward_hook(lambda module, given, value: seen.append(len(value)))
    return seen


def test_one_pass_through_what_is_shared():
    kept = Kept()
    paths = {tag: picture_path(kept, tag, classes=2 + n) for n, tag in enumerate("abc")}
    together = Together(kept.fetch)
    for tag, path in paths.items():
        together.add(tag, path, {"picture": SMALL})
    assert kept.fetched == len(kept), "each address once"
    passes = computed(together, "residual_stage")
    asked = {tag: pictures(2 + n, seed=n) for n, tag in enumerate(paths)}
    found = together({tag: {"picture": rows} for tag, rows in asked.items()})
    assert passes == [2 + 3 + 4]
    for tag, rows in asked.items():
        assert torch.allclose(found[tag]["y"], alone(kept, paths[tag], "picture", SMALL, rows), atol=1e-5)


def test_one_path_by_itself_answers_bit_for_bit():
    kept = Kept()
    together = Together(kept.fetch)
    for tag in "ab":
        together.add(tag, picture_path(kept, tag), {"picture": SMALL})
    rows = pictures(9)
    found = together({"b": {"picture": rows}})["b"]["y"]
    assert torch.equal(found, alone(kept, picture_path(kept, "b"), "picture", SMALL, rows))


def test_equal_rows_are_computed_once():
    kept = Kept()
    together = Together(kept.fetch)
    for tag in "abcd":
        together.add(tag, picture_path(kept, tag), {"picture": SMALL})
    passes = computed(together, "residual_stage")
    one, other = pictures(1, seed=1), pictures(1, seed=2)
    asked = {"a": one, "b": np.concatenate([other, one]), "c": one, "d": np.concatenate([one, one, other])}
    found = together({tag: {"picture": rows} for tag, rows in asked.items()})
    assert passes == [2]
    for tag, rows in asked.items():
        assert torch.allclose(found[tag]["y"], alone(kept, picture_path(kept, tag), "picture", SMALL, rows), atol=1e-5)


def test_ports_of_another_name_and_pictures_of_another_size():
    """The name of a column is no part of what is computed; another size is computed apart, with the same tensors."""
    kept = Kept()
    together = Together(kept.fetch)
    together.add("a", picture_path(kept, "a"), {"picture": SMALL})
    held = together.num_bytes
    together.add("b", picture_path(kept, "a", port="photo"), {"photo": SMALL})
    assert together.num_bytes == held, "the same path under another name of its port"
    large = picture_path(kept, "a", form=LARGE)
    together.add("c", large, {"picture": LARGE})
    assert together.num_bytes == held, "the same weights at another size"
    passes = computed(together, "residual_stage")
    rows = pictures(3, form=LARGE)
    found = together(
        {"a": {"picture": pictures(2)}, "b": {"photo": pictures(2, seed=1)}, "c": {"picture": rows}},
    )
    assert sorted(passes) == [3, 4]
    assert torch.equal(found["c"]["y"], alone(kept, large, "picture", LARGE, rows))


def test_what_nobody_uses_any_more_goes():
    kept = Kept()
    together = Together(kept.fetch)
    together.add("a", picture_path(kept, "a"), {"picture": SMALL})
    before = together.num_bytes, together.nodes("a")
    together.add("b", picture_path(kept, "b"), {"picture": SMALL})
    assert together.nodes("b")[:3] == together.nodes("a")[:3]
    together.drop("b")
    assert "b" not in together
    assert (together.num_bytes, together.nodes("a")) == before
    together.drop("a")
    assert together.num_bytes == 0


def test_texts_with_their_masks():
    kept = Kept()
    layers = (
        {"kind": "embedding", "width": 8},
        {"kind": "pool_tokens", "how": "mean_max"},
        {"kind": "linear", "width": 2},
    )
    paths = {tag: kept.path("text", WORDS, *layers, tag=tag) for tag in "ab"}
    random = np.random.default_rng(0)
    together, asked = Together(kept.fetch), {}
    for tag, path in paths.items():
        together.add(tag, path, {"text": WORDS})
        asked[tag] = random.integers(0, 30, (4, 6)).astype(np.uint16)
        asked[tag][:, 3:] = 0
    found = together({tag: {"text": rows} for tag, rows in asked.items()})
    for tag, rows in asked.items():
        assert torch.allclose(found[tag]["y"], alone(kept, paths[tag], "text", WORDS, rows), atol=1e-6)


def test_two_ports_and_a_split_behind_a_shared_gene():
    """Paths that read two pictures, and two heads that read one shared vector."""
    kept = Kept()
    left = picture_path(kept, "a")
    genes = (
        *left.genes[:3],
        *(gene.replace(name=f"other {gene.name}", inputs=(source,)) for gene, source in _renamed(left.genes[:3])),
        Gene(name="both", layer=parse_layer({"kind": "concat"}), inputs=("a 2", "other a 2", "a 2")),
    )
    kept["heads"] = {"0.weight": np.eye(2, 24, dtype=np.float32), "0.bias": np.zeros(2, np.float32)}
    head = Gene(name="head", layer=parse_layer({"kind": "linear", "width": 2}), inputs=("both",), weights="heads")
    ensemble = parse_layer({"kind": "ensemble", "weights": (1, 2)})
    mean = Gene(name="mean", layer=ensemble, inputs=("head", "head"))
    path = Path(genes=(*genes, head, mean), outputs={"y": "mean", "z": "head"})
    ports = {"picture": SMALL, "second": SMALL}
    together = Together(kept.fetch)
    together.add("two", path, ports)
    together.add("one", left, {"picture": SMALL})
    given = {"picture": pictures(3), "second": pictures(3, seed=5)}
    found = together({"two": given, "one": {"picture": given["second"]}})
    with torch.inference_mode():
        expected = build(path, ports, fetch=kept.fetch).eval()({p: torch.from_numpy(x) for p, x in given.items()})
    for output in "yz":
        assert torch.allclose(found["two"][output], expected[output], atol=1e-5)
    assert torch.allclose(found["one"]["y"], alone(kept, left, "picture", SMALL, given["second"]), atol=1e-5)


def _renamed(genes: tuple[Gene, ...]) -> list[tuple[Gene, str]]:
    sources = ["in:second", *(f"other {gene.name}" for gene in genes[:-1])]
    return list(zip(genes, sources, strict=True))


def test_weights_that_are_not_stored():
    layer = parse_layer({"kind": "linear", "width": 2})
    path = Path(genes=(Gene(name="fresh", layer=layer, inputs=("in:x",)),), outputs={"y": "fresh"})
    with pytest.raises(ValueError, match="'fresh' has no stored weights"):
        Together(Kept().fetch).add("a", path, {"x": Form(kind="vector", width=3)})
