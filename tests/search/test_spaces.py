"""Spaces of paths over every kind of row: what is drawn builds, answers, replays and stays within bounds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from polymath.model.build import build
from polymath.problem.form import Form, pixels, tokens, vector
from polymath.search.choices import Choose, Recorder, at_random, draw, first
from polymath.search.spaces.pieces import around, between, hand_made
from polymath.search.spaces.rows import max_work, problem_space
from polymath.testing import check_space, random_value

PORTS: dict[str, dict[str, Form]] = {
    "numbers": {"row": vector(5)},
    "both": {"row": vector(5, categories=(0, 0, 3, 20, 0))},
    "categories": {"row": vector(2, categories=(3, 30))},
    "wide": {"row": vector(300)},
    "images": {"photo": pixels(3, 16, 16)},
    "texts": {"title": tokens(12, vocabulary=50)},
    "mixed": {"photo": pixels(1, 16, 16), "row": vector(3), "title": tokens(12, vocabulary=50)},
}
# Digests of the default path and recipe, as they were when a person had designed all there was to choose from.
DEFAULTS = {
    "numbers": ("e8ab4143c362d962", "035f7fb9f75352fa"),
    "both": ("e8ab4143c362d962", "035f7fb9f75352fa"),
    "categories": ("a270e4c9d5a2f5cd", "035f7fb9f75352fa"),
    "wide": ("ded875e2d7b1d2ce", "035f7fb9f75352fa"),
    "images": ("14b22eec0a2cd558", "4ddc0c2f427b3903"),
    "texts": ("36011a5ee1e3bc62", "63413e7a144a5daf"),
    "mixed": ("8812eeda32619683", "c0464cdf3eada767"),
}
LARGE = {
    "pictures": ({"photo": pixels(1, 28, 28)}, 60_000, ("97b8e205c676ba28", "fecd20af19f2ec32")),
    "photos": ({"photo": pixels(3, 120, 90)}, 3_000, ("d50a835a60e7e593", "7a3ed68dd571935c")),
    "letters": ({"t": tokens(200, vocabulary=8_000)}, 60_000, ("9b6cc8159a64cff6", "cf085bdd1cb4da4a")),
    "books": ({"t": tokens(2_000, vocabulary=8_000)}, 3_000, None),
    "banner": ({"photo": pixels(3, 30, 400)}, 3_000, None),
}


@dataclass(frozen=True)
class Output:
    name: str
    head_width: int
    type: str = "number"


@dataclass(frozen=True)
class Ports:
    """As much of a problem as a space looks at."""

    ports: dict[str, Form]
    outputs: tuple[Output, ...] = (Output("price", 1), Output("kind", 4))

    @property
    def most(self) -> float:
        return max_work(tuple(sorted(self.ports.items())), tuple((o.name, o.head_width) for o in self.outputs))


@pytest.mark.parametrize("name", PORTS)
def test_spaces_keep_the_contract(name: str) -> None:
    check_space(lambda choose: problem_space(choose, Ports(PORTS[name]), rows=900), passes=20)


@pytest.mark.parametrize("name", PORTS)
def test_whatever_is_drawn_builds_answers_and_is_no_giant(name: str) -> None:
    problem, generator = Ports(PORTS[name]), np.random.default_rng(0)
    inputs = {port: random_value(form, 2, torch.Generator().manual_seed(0)) for port, form in problem.ports.items()}
    families = set()
    for number in range(200 if name in ("numbers", "images", "texts") else 40):
        path, _ = problem_space(at_random_recorder(generator), problem, rows=900)
        assert path.work(problem.ports) <= problem.most
        families |= {gene.layer.model_dump()["kind"] for gene in path.genes}
        if number % 4 == 0:
            with torch.no_grad():
                answers = build(path, problem.ports).eval()(inputs)
            assert {output: tuple(y.shape) for output, y in answers.items()} == {"price": (2, 1), "kind": (2, 4)}
            assert all(bool(y.isfinite().all()) for y in answers.values())
    assert "join" in families, "free architectures with skips are drawn"


def at_random_recorder(generator: np.random.Generator) -> Recorder:
    return Recorder(at_random(generator))


@pytest.mark.parametrize("name", LARGE)
def test_giants_are_made_narrower(name: str) -> None:
    ports, rows, _ = LARGE[name]
    problem, generator = Ports(ports), np.random.default_rng(1)
    works = [
        problem_space(at_random_recorder(generator), problem, rows=rows)[0].work(problem.ports) for _ in range(150)
    ]
    assert max(works) <= problem.most
    assert max(works) > 0.3 * problem.most, "what is narrowed is narrowed no more than it must be"


@pytest.mark.parametrize("name", [*PORTS, *(name for name in LARGE if LARGE[name][2])])
def test_the_default_is_what_a_person_designed(name: str) -> None:
    ports, rows, digests = (PORTS[name], 900, DEFAULTS[name]) if name in PORTS else LARGE[name]
    path, recipe = problem_space(Recorder(first), Ports(ports), rows=rows)
    assert (path.digest[:16], recipe.digest[:16]) == digests


@pytest.mark.parametrize(("rows", "columns"), [(300, 5), (5_000, 20), (50_000, 100), (1_000_000, 20)])
def test_the_default_table_net_is_lean(rows: int, columns: int) -> None:
    problem = Ports({"row": vector(columns)})
    path, recipe = problem_space(Recorder(first), problem, rows=rows)
    assert [gene.layer.kind for gene in path.genes] == ["piecewise", "members", "part", "part"]
    assert path.work(problem.ports) < 1e6
    assert recipe.batch <= max(rows / 8, 32)


def test_a_free_architecture_is_a_chain_unless_skips_are_chosen() -> None:
    problem = Ports({"photo": pixels(1, 28, 28)})

    def free(*fed: str) -> dict[str, tuple[str, ...]]:
        def answer(offer):  # type: ignore[no-untyped-def]
            return (
                2.0
                if offer.name.endswith(".family")
                else float(offer.name in fed)
                if ".from." in offer.name
                else first(offer)
            )

        path, _ = problem_space(Recorder(answer), problem, rows=900)
        return {gene.name: gene.inputs for gene in path.genes}

    chain = free()
    assert chain["port0.layer0"] == ("port0.stem",) and chain["port0.layer3"] == ("port0.layer2",)
    assert "port0.ends" not in chain
    skips = free("port0.layer2.from.port0.stem", "port0.layer2.from.port0.layer1", "port0.layer3.from.port0.layer1")
    assert skips["port0.layer2.joined"] == ("port0.stem", "port0.layer1")
    assert skips["port0.layer3"] == ("port0.layer1",)
    assert skips["port0.ends"] == ("port0.layer2", "port0.layer4"), "what nobody takes is joined to the last"


def test_hand_made_families_can_be_had_alone() -> None:
    generator = np.random.default_rng(0)
    for _ in range(60):
        choose = at_random_recorder(generator)
        problem_space(hand_made(choose), Ports(PORTS["mixed"]), rows=900)
        assert not [choice for choice in choose.trace.choices if choice.value == "free" or ".layer" in choice.name]


def test_ranges_begin_at_their_default_exactly() -> None:
    for default in (0.12, 4e-3, 0.2, 5e-4, 3e-4, 2e-3, 0.1):
        for factor in (3.0, 4.0, 300.0):
            assert draw(lambda choose: around(choose, "x", default, factor=factor), first).built == default  # noqa: B023
    assert between(Recorder(first), "x", 0.0, 0.2) == 0.1


def test_a_design_that_cannot_be_built_is_a_failed_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan of a problem survives a builder that raises, as every plan must."""
    from polymath import Polymath
    from polymath.search.spaces import designs

    whole = designs.problem_space

    def fragile(choose: Choose, *given: Any, **how: Any) -> Any:
        if choose("fragile", [False, True]):
            raise RuntimeError("this one cannot be built")
        return whole(choose, *given, **how)

    monkeypatch.setattr(designs, "problem_space", fragile)
    table = {"x": np.arange(60.0), "y": np.arange(60.0) ** 2 % 7}
    task = Polymath(tmp_path).learn(table, target="y", work=0.3, space="paths", generator="random", engine="inline")
    states = [one["state"] for one in task.experiments()]
    assert "failed" in states
    assert len(set(states)) > 1
