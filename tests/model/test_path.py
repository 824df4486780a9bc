"""Paths are graphs, their genes have identities, their JSON can name nothing but the vocabulary."""

from __future__ import annotations

import pytest

from polymath.model.path import Path
from polymath.problem.form import pixels, tokens, vector


def gene(name: str, *inputs: str, kind: str = "linear", weights: str | None = None, **settings) -> dict:
    layer = {"kind": kind, **({"width": 3} if kind == "linear" else {}), **settings}
    return {"name": name, "layer": layer, "inputs": inputs, "weights": weights}


def path(*genes: dict, **outputs: str) -> Path:
    return Path.model_validate({"genes": genes, "outputs": outputs or {"y": genes[-1]["name"]}})


def test_json_and_back():
    made = path(gene("a", "in:row"), gene("b", "a", weights="xyz"), gene("c", "a", "b", kind="concat"))
    again = Path.from_json(made.to_json())
    assert again == made and again.digest == made.digest
    assert type(again.genes[2].layer) is type(made.genes[2].layer)


@pytest.mark.parametrize(
    ("genes", "outputs", "message"),
    [
        ([gene("a", "in:row"), gene("a", "in:row")], {}, "named twice"),
        ([gene("a", "b"), gene("b", "in:row")], {}, "no earlier gene"),
        ([gene("a", "a")], {}, "no earlier gene"),
        ([gene("in:a", "in:row")], {}, "may not begin"),
        ([gene("a", "in:row")], {"y": "b"}, "is no gene"),
        ([gene("a", "in:row", kind="os.system")], {}, "unknown layer kind"),
        ([gene("a", "in:row", command="rm")], {}, "Extra inputs"),
        ([gene("a", "in:row", width=10**9)], {}, "less than or equal"),
    ],
)
def test_what_is_no_path(genes, outputs, message):
    with pytest.raises(ValueError, match=message):
        path(*genes, **outputs)


def test_a_gene_is_known_by_what_it_computes():
    one = path(gene("a", "in:row", weights="w"), gene("b", "a"))
    renamed = path(gene("first", "in:row", weights="w"), gene("second", "first"))
    assert list(one.identities().values()) == list(renamed.identities().values())
    others = [
        path(gene("a", "in:row", weights="v"), gene("b", "a")),
        path(gene("a", "in:column", weights="w"), gene("b", "a")),
        path(gene("a", "in:row", weights="w", width=4), gene("b", "a")),
    ]
    assert len({one.identities()["b"], *(other.identities()["b"] for other in others)}) == 4


def test_forms_name_the_gene_that_does_not_fit():
    made = path(gene("words", "in:text"))
    with pytest.raises(ValueError, match=r"gene 'words': linear takes 1 input\(s\) of form vector, got tokens"):
        made.forms({"text": tokens(4, vocabulary=10)})
    with pytest.raises(ValueError, match=r"reads port 'text'; the problem has \['row'\]"):
        made.forms({"row": vector(3)})
    with pytest.raises(ValueError, match="encode them first"):
        path(gene("a", "in:row")).forms({"row": vector(2, categories=(0, 3))})


def test_a_part_of_a_path_gives_some_outputs():
    made = path(
        gene("a", "in:row"), gene("b", "in:image", kind="flatten"), gene("c", "a", "b", kind="concat"), y="c", z="a"
    )
    assert made.ports == ("image", "row")
    prefix = made.giving({"features": "a"})
    assert [one.name for one in prefix.genes] == ["a"]
    assert prefix.ports == ("row",)
    assert prefix.identities()["a"] == made.identities()["a"]


def test_work_adds_up():
    made = path(gene("a", "in:row", width=5), gene("b", "a", width=2))
    assert made.work({"row": vector(4)}) == 4 * 5 + 5 * 2
    assert path(gene("f", "in:image", kind="flatten")).work({"image": pixels(1, 4, 4)}) == 0
