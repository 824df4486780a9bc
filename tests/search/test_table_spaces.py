"""Spaces of tables and mixed rows: whatever is chosen builds, and the first choices are the lean default."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from polymath.model.build import build
from polymath.problem.form import Form, pixels, tokens, vector
from polymath.search.choices import Recorder, first, replay
from polymath.search.spaces.rows import problem_space
from polymath.testing import random_value

PORTS: dict[str, dict[str, Form]] = {
    "numbers": {"row": vector(5)},
    "both": {"row": vector(5, categories=(0, 0, 3, 20, 0))},
    "categories": {"row": vector(2, categories=(3, 30))},
    "wide": {"row": vector(300)},
    "images": {"photo": pixels(3, 16, 16)},
    "texts": {"title": tokens(12, vocabulary=50)},
    "mixed": {"photo": pixels(1, 16, 16), "row": vector(3), "title": tokens(12, vocabulary=50)},
}


@dataclass(frozen=True)
class Output:
    name: str
    head_width: int


@dataclass(frozen=True)
class Ports:
    """As much of a problem as a space looks at."""

    ports: dict[str, Form]
    outputs: tuple[Output, ...] = (Output("price", 1), Output("kind", 4))


@pytest.mark.parametrize("name", PORTS)
def test_every_choice_builds_and_answers(name):
    problem = Ports(PORTS[name])
    randomness = np.random.default_rng(0)
    generator = torch.Generator().manual_seed(0)
    inputs = {port: random_value(form, 3, generator) for port, form in problem.ports.items()}
    seen = set()
    for number in range(12):
        recorder = Recorder(first if number == 0 else lambda offer: offer.random(randomness))
        path, recipe = problem_space(recorder, problem, rows=900)
        module = build(path, problem.ports).eval()
        answers = module(inputs)
        assert {output: tuple(value.shape) for output, value in answers.items()} == {"price": (3, 1), "kind": (3, 4)}
        assert path.work(problem.ports) > 0 and path.ports == tuple(sorted(problem.ports))
        assert problem_space(replay(recorder.trace), problem, rows=900) == (path, recipe)
        seen.add(path.digest)
    assert len(seen) > 6


@pytest.mark.parametrize(("rows", "columns"), [(300, 5), (5_000, 20), (50_000, 100), (1_000_000, 20)])
def test_the_default_table_net_is_lean(rows, columns):
    problem = Ports({"row": vector(columns)})
    path, recipe = problem_space(Recorder(first), problem, rows=rows)
    assert [gene.layer.kind for gene in path.genes] == ["piecewise", "members", "part", "part"]
    assert path.work(problem.ports) < 1e6
    assert recipe.batch <= max(rows / 8, 32)
