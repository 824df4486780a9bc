"""The space of answers at every pixel: whatever is chosen can be built, answers at full size, and is bounded."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from polymath.model.build import build
from polymath.problem import Problem
from polymath.problem.features import Category, Image, PixelMap, PixelNumbers, Text
from polymath.search.choices import Recorder, at_random, draw, first
from polymath.search.spaces import pixels
from polymath.search.spaces.rows import problem_space
from polymath.spec import BadInput
from polymath.testing import check_space


def problem(height=48, width=64, *, pictures=1, upright=False, classes=3):
    canvas = {"height": height, "width": width}
    inputs = tuple(
        Image(name=f"p{n}", fit="canvas", channels=3, mean=(99.0,) * 3, deviation=(50.0,) * 3, **canvas)
        for n in range(pictures)
    )
    shares = (1 / classes,) * classes
    output = PixelMap(name="m", values=tuple(range(classes)), shares=shares, upright=upright, **canvas)
    return Problem(name="x", inputs=inputs, outputs=(output,))


def test_contract():
    check_space(lambda choose: problem_space(choose, problem(), rows=100))


@pytest.mark.parametrize("shape", [(48, 64), (16, 16), (180, 240), (130, 9)])
def test_whatever_is_chosen_answers_at_every_pixel(shape):
    asked = problem(*shape, pictures=2)
    ports = dict(asked.ports)
    most = pixels.MOST_WORK * pixels.usual_work(tuple(ports.items()), (("m", 3),))
    for seed in range(6):
        sketch = draw(lambda choose: problem_space(choose, asked, rows=100), at_random(np.random.default_rng(seed)))
        path, recipe = sketch.built
        assert path.forms(ports)[path.outputs["m"]] == asked.outputs[0].answer
        assert path.work(ports) <= 1.001 * most
        module = build(path, ports).eval()
        shown = {port: torch.zeros(1, 3, shape[0] + 3, shape[1] + 5, dtype=torch.uint8) for port in ports}
        with torch.inference_mode():
            assert module(shown)["m"].shape == (1, 3, shape[0] + 3, shape[1] + 5)
        assert recipe.batch >= 2


def test_large_pictures_are_shown_in_parts_and_street_scenes_stay_upright():
    _, small = problem_space(Recorder(first), problem(upright=True), rows=100)
    _, large = problem_space(Recorder(first), problem(512, 512), rows=100)
    assert small.augmentation.crop == 0 and not small.augmentation.turn and small.augmentation.flip
    assert large.augmentation.crop == pixels.PART and large.augmentation.turn and large.augmentation.focus > 0


def test_few_pixels_are_learned_by_a_narrow_net_with_more_decay():
    (few, careful), (many, usual) = (problem_space(Recorder(first), problem(), rows=rows) for rows in (20, 5_000))
    assert few.work(problem().ports) < many.work(problem().ports)
    assert careful.weight_decay == pytest.approx(10 * usual.weight_decay)


def test_pictures_of_one_place_are_not_lit_apart():
    _, single = problem_space(Recorder(first), problem(), rows=100)
    _, depths = problem_space(Recorder(first), problem(pictures=3), rows=100)
    assert single.augmentation.light > 0 and depths.augmentation.light == 0


def test_few_pictures_are_shown_few_at_a_time():
    batches = [problem_space(Recorder(first), problem(), rows=rows)[1].batch for rows in (10, 200, 5_000)]
    assert batches == [4, 8, 32]


def test_what_is_answered_otherwise_is_learned_apart():
    asked = problem()
    kind, words = Category(name="k", classes=("a", "b")), Text(name="t")
    with pytest.raises(BadInput, match="answers at every pixel are learned alone"):
        problem_space(Recorder(first), asked.replace(outputs=(*asked.outputs, kind)), rows=100)
    with pytest.raises(BadInput, match="cannot be learned beside 't'"):
        problem_space(Recorder(first), asked.replace(outputs=(words, *asked.outputs)), rows=100)


def test_two_classes_are_not_weighed_and_numbers_have_no_such_loss():
    _, two = problem_space(Recorder(first), problem(classes=2), rows=100)
    assert two.loss["rare"] == 0
    asked = problem()
    depth = PixelNumbers(name="d", channels=1, mean=(0.0,), deviation=(1.0,), height=48, width=64)
    path, recipe = problem_space(Recorder(first), asked.replace(outputs=(depth,)), rows=100)
    assert recipe.loss == {} and path.forms(dict(asked.ports))[path.outputs["d"]].width == 1


def test_without_a_picture_it_says_so():
    from polymath.problem import Number

    number = Number(name="n", mean=0.0, deviation=1.0)
    with pytest.raises(BadInput, match="no input is a picture"):
        problem_space(Recorder(first), problem().replace(inputs=(number,)), rows=100)


def test_a_net_may_begin_with_the_way_down_of_a_stored_one():
    from polymath.model.prefix import END, grafted, prefixes
    from polymath.search.spaces.parents import Parent

    asked = problem()
    ports = dict(asked.ports)
    path, _ = problem_space(Recorder(first), asked, rows=100)
    genes = tuple(gene.replace(weights="a" * 64) if "head" not in gene.name else gene for gene in path.genes)
    (part,) = prefixes(path.replace(genes=genes), ports)
    assert part.forms(ports)[part.outputs[END]].kind == "vector", "other kinds of tasks may build on it too"
    stored = grafted(part, ports={"p0": "p0"}, name="before")
    parent = Parent(task="before", path=stored, width=part.forms(ports)[part.outputs[END]].width)
    begun = 0
    for seed in range(8):
        answers = at_random(np.random.default_rng(seed))
        sketch = draw(lambda choose: problem_space(choose, asked, rows=100, parents=(parent,)), answers)
        assert not sketch.error, sketch.error
        path, recipe = sketch.built
        assert path.forms(ports)[path.outputs["m"]] == asked.outputs[0].answer
        if any(gene.name.startswith("before.") for gene in path.genes):
            begun += 1
            frozen = any(gene.frozen and gene.weights for gene in path.genes)
            assert not (frozen and (recipe.augmentation.flip or recipe.augmentation.zoom)), (
                "what is kept is shown as it is"
            )
    assert begun
