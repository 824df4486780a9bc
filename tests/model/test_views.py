"""Answers as the mean over mirrored and turned views of a picture."""

from __future__ import annotations

import pytest
import torch

from polymath.model.build import build
from polymath.model.decode.views import COUNTS, mean_answers, turned, turned_back, views_of
from polymath.model.layers.convolution import Convolution
from polymath.model.layers.per_pixel import PerPixel
from polymath.model.layers.pixels import Pixels
from polymath.model.path import Gene, Path
from polymath.problem.form import pixels

PORTS = {"p": pixels(3, 12, 12)}


def lopsided():
    """A path whose answers change when its picture is mirrored: filters are drawn by chance."""
    genes = (
        Gene(name="pixels", layer=Pixels(), inputs=("in:p",)),
        Gene(name="seen", layer=Convolution(width=4), inputs=("pixels",)),
        Gene(name="head", layer=PerPixel(width=2), inputs=("seen", "in:p")),
    )
    return build(Path(genes=genes, outputs={"m": "head"}), PORTS, seed=3).eval()


def picture():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (1, 3, 12, 12), generator=generator, dtype=torch.uint8)


def test_eight_views_are_all_ways_in_which_a_square_lies_on_itself():
    x = torch.arange(9).reshape(1, 1, 3, 3)
    seen = {tuple(turned(x, view).flatten().tolist()) for view in range(COUNTS[-1])}
    assert len(seen) == 8
    for view in range(COUNTS[-1]):
        wide = torch.arange(12).reshape(1, 1, 3, 4)
        assert torch.equal(turned_back(turned(wide, view), view), wide)


@pytest.mark.parametrize("how", ["categories", "values"])
def test_the_mean_over_all_views_turns_with_the_picture(how):
    module, x = lopsided(), picture()
    with torch.inference_mode():
        plain = module({"p": turned(x, 1)})["m"]
        assert not torch.allclose(plain, turned(module({"p": x})["m"], 1), atol=1e-3)
        mean = mean_answers(module, {"p": x}, views=8, how={"m": how})["m"]
        for view in range(8):
            other = mean_answers(module, {"p": turned(x, view)}, views=8, how={"m": how})["m"]
            assert torch.allclose(other, turned(mean, view), atol=1e-4)


def test_classes_are_averaged_as_probabilities_and_numbers_as_they_are():
    module, x = lopsided(), picture()
    with torch.inference_mode():
        raw = [turned_back(module({"p": turned(x, view)})["m"], view) for view in (0, 1)]
        shares = sum(one.softmax(1) for one in raw) / 2
        found = mean_answers(module, {"p": x}, views=2, how={"m": "categories"})["m"]
        assert torch.allclose(found.exp(), shares, atol=1e-5)
        found = mean_answers(module, {"p": x}, views=2, how={"m": "values"})["m"]
        assert torch.allclose(found, (raw[0] + raw[1]) / 2, atol=1e-5)


def test_calibration_says_how_many():
    assert views_of({}) == views_of({"m": {"raised": [0.0, 1.0]}}) == 1
    assert views_of({"m": {"views": 4}}) == 4
