"""Knowledge from outside: taken in frozen, built upon by tasks, and named by all that use it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import save_file

from polymath import Polymath
from polymath.growing import union
from polymath.importing import imports, take_in
from polymath.learning.parents import imported, parents
from polymath.model.build import build
from polymath.model.path import Path as Genes
from polymath.problem import Category, Image, Problem
from polymath.problem.form import pixels
from polymath.spec import BadInput
from polymath.store import Store

BROUGHT = {
    "name": "net",
    "ports": {"row": {"kind": "vector", "width": 2}},
    "path": {
        "genes": [{"name": "unit", "layer": {"kind": "unit"}, "inputs": ["in:row"], "frozen": True}],
        "outputs": {"features": "unit"},
    },
    "parameters": 0,
    "rows": 1,
    "classes": 1,
    "source": "",
    "licence": "",
    "file_digest": "",
}
NAMES = pa.chunked_array([pa.array(["a", "b", "a", "b"])])
LAYERS = {
    "ports": {"picture": {"kind": "map", "width": 3, "size": [16, 16]}},
    "path": {
        "genes": [
            {"name": "stem", "layer": {"kind": "convolution", "width": 8, "step": 2}, "inputs": ["in:picture"]},
            {"name": "pool", "layer": {"kind": "pool_map", "how": "mean"}, "inputs": ["stem"]},
        ],
        "outputs": {"features": "pool"},
    },
    "rows": 1_281_167,
    "classes": 1000,
    "source": "somewhere",
}


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Tensors and their description."""
    module = build(Genes.model_validate(LAYERS["path"]), {"picture": pixels(3, 16, 16)}, seed=5)
    own = module.weights("stem")
    assert own is not None
    tensors = {f"net.{name}" if i else f"stem.{name}": array for i, (name, array) in enumerate(sorted(own.items()))}
    mapped = {name: f"net.{name}" for i, name in enumerate(sorted(own)) if i}
    save_file({**tensors, "classifier.weight": np.zeros((2, 8), np.float32)}, tmp_path / "net.safetensors")
    (tmp_path / "net.json").write_text(json.dumps({**LAYERS, "tensors": {"stem": mapped}}))
    return tmp_path / "net.safetensors", tmp_path / "net.json"


def test_what_was_imported_can_be_built_upon(files: tuple[Path, Path], tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        found = take_in(store, "net", tensors=files[0], layers=files[1])
        assert found.unused == ("classifier.weight",)
        assert [one.name for one in imports(store)] == ["net"]
        image = Image(name="photo")
        values = image.random_values(6, np.random.default_rng(0))
        problem = Problem(
            name="birds",
            inputs=(image.measure(values, as_output=False),),
            outputs=(Category(name="kind").measure(NAMES, as_output=True),),
        )
        (parent,) = parents(store, problem, but="birds")
        assert parent.task == "imported/net"
        assert parent.width == 8
        assert all(gene.frozen for gene in parent.path.genes)
        assert parent.path.ports == ("photo",)
        assert parent.promise > 9
        same = build(Genes.model_validate(found.path), {"picture": pixels(3, 16, 16)}, fetch=store.get_tensors)
        fresh = build(Genes.model_validate(LAYERS["path"]), {"picture": pixels(3, 16, 16)}, seed=5)
        ours, theirs = same.weights("stem"), fresh.weights("stem")
        assert ours is not None
        assert theirs is not None
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
        assert imported(store, ("imported/net",)) == ("imported/net",)
        whole = union(store)
        assert whole.stored["imported/net"].imported
        assert whole.share("imported/net").parameters == found.parameters


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tensors": {}}, "has no tensor for"),
        ({"path": {**LAYERS["path"], "outputs": {"features": "stem"}}}, "one output, a vector"),  # type: ignore[dict-item]
        ({"ports": {"other": LAYERS["ports"]["picture"]}}, "reads port 'picture'"),  # type: ignore[index]
        ({"unknown": 1}, "unknown"),
    ],
)
def test_a_description_that_does_not_fit(files: tuple[Path, Path], tmp_path: Path, change, words) -> None:
    described = json.loads(files[1].read_text())
    files[1].write_text(json.dumps({**described, **change}))
    with Store.open(tmp_path / "store") as store, pytest.raises(BadInput, match=words):
        take_in(store, "net", tensors=files[0], layers=files[1])


def test_tensors_that_do_not_fit(files: tuple[Path, Path], tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        from safetensors.numpy import load_file

        good = load_file(files[0])
        name = next(name for name, array in good.items() if name.startswith("net.") and array.ndim)
        save_file({**good, name: good[name][:1]}, files[0])
        with pytest.raises(BadInput, match="has shape"):
            take_in(store, "net", tensors=files[0], layers=files[1])
        save_file({**good, name: np.full_like(good[name], np.nan)}, files[0])
        with pytest.raises(BadInput, match="NaN"):
            take_in(store, "net", tensors=files[0], layers=files[1])
        files[0].write_bytes(b"no tensors")
        with pytest.raises(BadInput, match="is no file of tensors"):
            take_in(store, "net", tensors=files[0], layers=files[1])
        assert not store.heads("imported/")


def test_a_task_that_was_forgotten_meanwhile_brings_nothing(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        assert imported(store, ("gone", "imported/net")) == ("imported/net",)


def test_what_was_imported_can_be_forgotten(files: tuple[Path, Path], tmp_path: Path) -> None:
    with Polymath(tmp_path / "store") as knowledge:
        take_in(knowledge.store, "net", tensors=files[0], layers=files[1])
        gone = knowledge.forget("imported/net")
        assert gone.versions == 1 and gone.objects > 0
        assert not list(imports(knowledge.store)) and not list(knowledge.store.objects.addresses())
        with pytest.raises(BadInput, match="no such task"):
            knowledge.forget("imported/net")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("imported", {"name": "net"}),
        ("imported", {**BROUGHT, "path": {"genes": [], "outputs": {}}}),
        ("imported", {**BROUGHT, "features": [{"type": "nonsense"}]}),
        ("imported", {**BROUGHT, "features": [{"type": "text", "name": "t"}]}),
        ("rule", {"kind": "rule", "name": "a", "formula": "g", "score": 0.0, "expression": {"update": "__import__"}}),
        ("cell", {"kind": "cell", "name": "a", "formula": "h", "score": 0.0, "expression": {"nodes": []}}),
    ],
)
def test_a_foreign_store_brings_nothing_that_its_readers_cannot_read(kind: str, body: dict, tmp_path: Path) -> None:
    with Store.open(tmp_path / "foreign") as foreign:
        foreign.set_head(f"{kind}/a", foreign.add_record(kind, body, id="a"))
    with Polymath(tmp_path / "store") as knowledge:
        found = knowledge.merge(tmp_path / "foreign")
        assert found.left_out and not list(knowledge.store.records(kind))


def test_what_another_store_imported_is_taken_in(tmp_path: Path) -> None:
    with Store.open(tmp_path / "other") as other:
        other.set_head("imported/net", other.add_record("imported", BROUGHT))
    with Polymath(tmp_path / "store") as knowledge:
        assert not knowledge.merge(tmp_path / "other").left_out
        assert [one.head for one in imports(knowledge.store)] == ["imported/net"]
