"""A new task builds upon a stored one where that pays, and never changes it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from polymath import Polymath
from polymath.learning.parents import fetch, parents
from polymath.learning.preparing import facts_of, prepare
from polymath.learning.study import Provenance, Study
from polymath.learning.wishes import Silent, Wishes
from polymath.model.build import build
from polymath.model.path import Path as Genes
from polymath.model.prefix import END, frontier, read_from_ports, trained_work
from polymath.predicting import TaskRecord
from polymath.problem import Problem
from polymath.search import Experiment
from polymath.search.choices import answering, as_traced, at_random, draw
from polymath.search.run import Result
from polymath.search.spaces.designs import Design, ProblemSpace, Settings
from polymath.search.spaces.designs import label as said
from polymath.search.spaces.parents import SEVERAL, Parent
from polymath.search.spaces.rows import problem_space
from polymath.store import Store
from polymath.train import Context, Job
from polymath.train.recipe import Augmentation
from polymath.train.rung import run


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
                assert recipe.augmentation == Augmentation() or trained_work(path, problem.ports) > 0.7 * path.work(
                    problem.ports
                )
                assert trained_work(path, problem.ports) < path.work(problem.ports)
                ends = {gene: f"frozen {place}" for place, gene in enumerate(frontier(path))}
                rest = read_from_ports(path, ends)
                adapted = any(gene.layer.model_dump()["kind"] == "adapter" for gene in path.genes)
                assert adapted or not any(gene.frozen and gene.weights for gene in rest.genes)
            again = draw(lambda choose: problem_space(choose, problem, rows=60, parents=found), as_traced(sketch.trace))
            assert again.built == sketch.built
        assert len(tuned) == 5


def published(place: Path, name: str, wanted: dict[str, object]) -> tuple[TaskRecord, Design, tuple[Parent, ...]]:
    """A task of the digits 5 to 9 that is one net, whose choices are wanted, trained for a moment."""
    data = place / "five"
    if not data.exists():
        folder(data, range(5, 10), each=12)
    with Store.open(place / "store") as store, Store.open(place / "scratch") as scratch:
        wishes = Wishes(name=name)
        rows, dataset = prepare(str(data), wishes, cache=place / "cache", listener=Silent(), store=store)
        found = parents(store, dataset.problem, but=name)
        fetch(found, store=store, scratch=scratch)
        context = Context(dataset_folder=str(dataset.folder), scratch=str(scratch.path))
        settings = Settings(
            dataset=dataset.digest,
            facts=facts_of(dataset),
            problem=dataset.problem,
            context=context,
            folds=(0,),
            seed=0,
            methods=("path",),
            seconds=None,
            parents=found,
        )
        space = ProblemSpace(settings)
        sketch = draw(space._space, answering({"method": "path", **wanted}))
        assert not sketch.error
        design: Design = sketch.built
        job = Job(
            dataset=dataset.digest, path=design.path, recipe=design.recipe, folds=(0,), work=0.02, rate=(1.0, 0.0)
        )
        outcome = run(job, context)
        assert outcome.ok, outcome.reason
        result = Result(True, outcome.score or 0.0, outcome.work, 0.0, outcome.model_dump(mode="json"))
        study = Study(
            store,
            scratch,
            dataset,
            name=name,
            begin=time.monotonic(),
            provenance=Provenance({"source": rows.source}, parents=found),
        )
        study.add(Experiment(0, sketch, said(design), "test", 1, [result]))
        record = study.publish("done")
        assert record is not None
        return record, design, found


def test_adapters_are_all_that_is_new(knowledge: Path) -> None:
    (name, *_) = (parent.name for parent in parents_of(knowledge))
    wanted = {"start from": name, "parent.tune": "adapters", "parent.adapters": "all", "parent.adapter": 8}
    record, design, found = published(knowledge, "adapted", wanted)
    path = Genes.model_validate(record.path)
    kinds = {gene.name: str(gene.layer.model_dump()["kind"]) for gene in path.genes}
    adapters = [gene for gene in path.genes if kinds[gene.name] == "adapter"]
    assert len(adapters) > 1
    assert all(gene.weights and not gene.frozen for gene in adapters)
    (parent,) = (parent for parent in found if parent.name == name)
    assert parent.path.addresses <= path.addresses, "what was stored is used as it is"
    own = path.addresses - parent.path.addresses
    assert own == {gene.weights for gene in path.genes if gene.weights and not gene.frozen}
    with Store.open(knowledge / "store") as store:
        new = sum(tensor.size for address in own for tensor in store.get_tensors(address).values())
    assert record.summary.parameters_new == new < record.summary.parameters
    assert record.built_on == ("low",)
    # Behind an adapter the weights are the same and the identity is another.
    assert design.path is not None
    stored = set(parent.path.identities().values())
    behind = [
        gene for gene in path.genes if gene.frozen and gene.weights and path.identities()[gene.name] not in stored
    ]
    assert behind
    with Polymath(knowledge / "store") as answering_store:
        share = answering_store.union().share("adapted")
        assert (share.parameters_own, share.builds_on) == (new, ("low",)), "no stored weight was stored again"
        assert len(answering_store.task("adapted").predict(str(knowledge / "five"))) == 60


def test_a_gate_reads_several_parents_as_they_are(knowledge: Path) -> None:
    published(knowledge, "mid", {"start from": "nothing"})
    names = {parent.task: parent.name for parent in parents_of(knowledge)}
    wanted = {"start from": SEVERAL, "several.0": names["mid"], "several.1": names["low"]}
    record, design, found = published(knowledge, "gated", wanted)
    assert record.built_on == ("low", "mid")
    assert design.parent in ("low and mid", "mid and low")
    path = Genes.model_validate(record.path)
    assert [gene.layer.model_dump()["kind"] for gene in path.genes].count("router") == 1
    trained = {gene.name for gene in path.genes if not gene.frozen}
    assert trained == {"gate", "head0"}
    lent = set().union(*(parent.path.addresses for parent in found))
    with Store.open(knowledge / "store") as store:
        new = sum(t.size for a in path.addresses - lent for t in store.get_tensors(a).values())
    assert record.summary.parameters_new == new
    assert design.path is not None
    assert len(frontier(design.path)) == 2, "what both give is computed once for all steps"


def parents_of(place: Path) -> tuple[Parent, ...]:
    with Store.open(place / "store") as store:
        problem = Problem.model_validate(Polymath(place / "store").task("low").record.problem)
        return parents(store, problem, but="other")


def test_fresh_adapters_change_nothing(knowledge: Path) -> None:
    """A net with adapters begins as the parent: identity at the start, for every place where they may stand."""
    problem = Problem.model_validate(Polymath(knowledge / "store").task("low").record.problem)
    (parent, *_) = parents_of(knowledge)
    pictures = torch.randint(0, 256, (3, *shape_of(problem)), generator=torch.Generator().manual_seed(0)).byte()
    with Store.open(knowledge / "store") as store:
        (port,) = problem.ports
        bare = build(parent.path, problem.ports, fetch=store.get_tensors).eval()({port: pictures})[END]
        for places in ("last", "half", "all"):
            wanted = {"start from": parent.name, "parent.tune": "adapters", "parent.adapters": places}
            path, recipe = draw(
                lambda choose: problem_space(choose, problem, rows=60, parents=(parent,)), answering(wanted)
            ).built
            end = path.giving({END: parent.path.outputs[END]})
            adapted = build(end, problem.ports, fetch=store.get_tensors).eval()({port: pictures})[END]
            assert torch.allclose(adapted, bare, atol=1e-6)
            assert (recipe.augmentation == Augmentation()) == (places != "all"), "most of it is not read from a cache"


def shape_of(problem: Problem) -> tuple[int, ...]:
    (form,) = problem.ports.values()
    return form.width, *form.size


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
