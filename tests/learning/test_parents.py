"""A new task builds upon a stored one where that pays, and never changes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from polymath import Polymath
from polymath.learning.parents import parents
from polymath.model.path import Path as Genes
from polymath.model.prefix import END, frontier, read_from_ports, trained_work
from polymath.problem import Problem
from polymath.search.choices import as_traced, at_random, draw
from polymath.search.spaces.rows import problem_space
from polymath.store import Store


def folder(place: Path, classes: range, *, each: int) -> Path:
    """Digits of some classes as an image folder."""
    digits = load_digits()
    for label in classes:
        (place / f"d{label}").mkdir(parents=True)
        for number, row in enumerate(np.flatnonzero(digits.target == label)[:each]):
            pixels = (digits.images[row] * 15.9).astype(np.uint8)
            Image.fromarray(pixels).save(place / f"d{label}" / f"{number}.png")
    return place


@pytest.fixture(scope="module")
def knowledge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a net for the digits 0 to 4."""
    place = tmp_path_factory.mktemp("parents")
    learned = Polymath(place / "store").learn(
        folder(place / "low", range(5), each=40), work=3, space="families", engine="inline", lanes=1
    )
    assert learned.record.summary.parameters > 1000
    return place


def test_a_second_task_reads_the_first_and_leaves_it_as_it_was(knowledge: Path) -> None:
    store = Polymath(knowledge / "store")
    asked = sorted((knowledge / "low").glob("*/1*.png"))[:10]
    before = [store.task("low").predict(str(one)) for one in asked]
    task = store.learn(folder(knowledge / "high", range(5, 10), each=12), work=4, engine="inline", lanes=1)
    labels = [str(row) for row in task.leaderboard()]
    assert any("on low" in label for label in labels), labels
    assert [store.task("low").predict(str(one)) for one in asked] == before, "bit for bit"
    assert task.record.built_on in ((), ("low",))
    summary = task.record.summary
    assert summary.parameters_new is not None
    assert summary.parameters_new == summary.parameters or task.record.built_on == ("low",)


def test_parents_fit_or_are_left_out(knowledge: Path) -> None:
    with Store.open(knowledge / "store") as store:
        low = Problem.model_validate(Polymath(knowledge / "store").task("low").record.problem)
        (parent, *_) = parents(store, low, but="high")
        assert parent.task == "low"
        assert parents(store, low, but="low") == () or all(p.task != "low" for p in parents(store, low, but="low"))
        assert parent.path.forms(low.ports)[parent.path.outputs[END]].width == parent.width
        assert all(gene.frozen for gene in parent.path.genes)


def test_a_net_that_begins_with_a_parent(knowledge: Path) -> None:
    with Store.open(knowledge / "store") as store:
        problem = Problem.model_validate(Polymath(knowledge / "store").task("low").record.problem)
        found = parents(store, problem, but="high")
        tuned = set()
        for seed in range(40):
            random = at_random(np.random.default_rng(seed))
            sketch = draw(
                lambda choose: problem_space(choose, problem, rows=60, parents=found),
                lambda offer, random=random: 1.0 if offer.name == "start from" else random(offer),  # type: ignore[misc]
            )
            assert not sketch.error
            path: Genes = sketch.built[0]
            recipe = sketch.built[1]
            shared = [gene for gene in path.genes if gene.frozen and gene.weights]
            tuned.add(sketch.trace.answers["parent.tune"])
            if shared:
                assert not recipe.augmentation.flip
                assert recipe.augmentation.shift == 0
                assert trained_work(path, problem.ports) < path.work(problem.ports)
                ends = {gene: f"frozen {place}" for place, gene in enumerate(frontier(path))}
                rest = read_from_ports(path, ends)
                assert not any(gene.frozen and gene.weights for gene in rest.genes)
            again = draw(lambda choose: problem_space(choose, problem, rows=60, parents=found), as_traced(sketch.trace))
            assert again.built == sketch.built
        assert len(tuned) == 4


def test_private_tasks_are_not_built_upon(tmp_path: Path) -> None:
    store = Polymath(tmp_path / "store")
    task = store.learn(
        folder(tmp_path / "low", range(3), each=20),
        work=2,
        space="families",
        engine="inline",
        lanes=1,
        private=True,
    )
    assert task.record.private
    problem = Problem.model_validate(task.record.problem)
    assert parents(store.store, problem, but="other") == ()
