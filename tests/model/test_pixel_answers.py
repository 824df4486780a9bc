"""Answers at the size of every picture: padding, tiles, ensembles, and the forest at every pixel."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import torch

from polymath.model.build import build
from polymath.model.decode import tiles
from polymath.model.layers.convolution import Convolution
from polymath.model.layers.ensemble import Ensemble
from polymath.model.layers.per_pixel import PerPixel
from polymath.model.layers.pixels import Pixels
from polymath.model.path import Gene, Path
from polymath.problem import Problem
from polymath.problem.features import Image, PixelMap
from polymath.problem.features._masks import read_values
from polymath.problem.features._pictures import as_png
from polymath.problem.form import pixels

PORTS = {"p": pixels(3, 32, 32)}


def problem(scale=1.0):
    image = Image(
        name="p", fit="canvas", height=32, width=32, channels=3, scale=scale, mean=(127.0,) * 3, deviation=(64.0,) * 3
    )
    output = PixelMap(name="m", values=(0, 5), shares=(0.5, 0.5), height=32, width=32, scale=scale)
    return Problem(name="x", inputs=(image,), outputs=(output,))


def bright():
    """A path that says class 1 where the picture is bright."""
    genes = (
        Gene(name="pixels", layer=Pixels(), inputs=("in:p",)),
        Gene(name="head", layer=PerPixel(width=2), inputs=("pixels", "in:p")),
    )
    module = build(Path(genes=genes, outputs={"m": "head"}), PORTS).eval()
    with torch.no_grad():
        module.module("head").linear.weight[1] = 1.0
    return module


def table(*sizes):
    pictures = []
    for n, size in enumerate(sizes):
        values = np.random.default_rng(n).integers(0, 2, size) * 255
        pictures.append(as_png(np.repeat(values[..., None], 3, -1).astype(np.uint8)))
    return pa.table({"p": pa.array(pictures, pa.binary())})


def test_every_picture_is_answered_at_its_own_size():
    given = table((32, 32), (9, 41), (64, 20), (64, 20))
    rows, found, bad = tiles.answer_pixels(bright(), problem(), given, calibration={})
    assert rows.tolist() == [0, 1, 2, 3] and not bad
    for row, size in enumerate([(32, 32), (9, 41), (64, 20), (64, 20)]):
        said = read_values(found["m"][row]["value"])
        truth = np.random.default_rng(row).integers(0, 2, size) * 5
        assert np.array_equal(said, truth)


def test_scaled_pictures_are_answered_at_their_own_size():
    _, found, _ = tiles.answer_pixels(bright(), problem(scale=0.5), table((40, 50)), calibration={})
    assert read_values(found["m"][0]["value"]).shape == (40, 50)


def test_what_is_no_picture_is_said():
    given = pa.table({"p": pa.array([b"nothing", None], pa.binary())})
    rows, found, bad = tiles.answer_pixels(bright(), problem(), given, calibration={})
    assert not len(rows) and found == {"m": []}
    assert "no image" in bad[0] and "no picture" in bad[1]


def test_tiles_give_what_the_whole_gives(monkeypatch):
    monkeypatch.setattr(tiles, "LARGE", 1000)
    monkeypatch.setattr(tiles, "TILE", 32)
    _, found, _ = tiles.answer_pixels(bright(), problem(), table((70, 90)), calibration={})
    truth = np.random.default_rng(0).integers(0, 2, (70, 90)) * 5
    assert np.array_equal(read_values(found["m"][0]["value"]), truth)


def test_tiles_cover_and_overlap():
    for length in (5, tiles.TILE, tiles.TILE + 1, 5 * tiles.TILE + 7):
        begins = tiles.starts(length)
        assert begins[0] == 0 and begins[-1] + tiles.TILE >= length
        assert all(b - a <= tiles.TILE / 2 for a, b in pairwise(begins))
    assert tiles.bell(9, 9).max() == tiles.bell(9, 9)[4, 4]


def test_an_ensemble_of_maps_averages_probabilities():
    forms = (pixels(3, 4, 5), pixels(3, 4, 5))
    module = Ensemble(combine="categories").build(*forms)
    one, other = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    mean = (one.softmax(1) + other.softmax(1)) / 2
    assert torch.allclose(module(one, other).softmax(1), mean, atol=1e-6)


def test_nets_answer_other_sizes_than_they_were_described_with():
    genes = (
        Gene(name="pixels", layer=Pixels(), inputs=("in:p",)),
        Gene(name="stem", layer=Convolution(width=8, step=2), inputs=("pixels",)),
        Gene(name="head", layer=PerPixel(width=2), inputs=("stem", "in:p")),
    )
    module = build(Path(genes=genes, outputs={"m": "head"}), PORTS).eval()
    assert module({"p": torch.zeros(1, 3, 17, 45, dtype=torch.uint8)})["m"].shape == (1, 2, 17, 45)


def test_a_fresh_head_looks_at_its_features():
    """From zero, every feature would first learn to speak for the commonest class; LOG.md has what came of it."""
    genes = (
        Gene(name="seen", layer=Pixels(), inputs=("in:p",)),
        Gene(name="head", layer=PerPixel(width=2), inputs=("seen", "in:p")),
    )
    module = build(Path(genes=genes, outputs={"m": "head"}), PORTS)
    said = module({"p": torch.randint(0, 255, (1, 3, 32, 32), dtype=torch.uint8)})["m"]
    assert (said.std(dim=(0, 2, 3)) > 0.01).all()
