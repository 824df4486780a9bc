"""Histograms of oriented gradients, held to a walk over pixels written out here."""

import math

import numpy as np
import pytest
import torch

from polymath.model.layers.oriented_gradients import OrientedGradients
from polymath.problem.form import pixels


def walked(picture: np.ndarray, *, cell: int, directions: int, signed: bool) -> np.ndarray:
    """[C, H, W] -> [K, R, S], pixel by pixel."""
    channels, height, width = picture.shape
    rows, columns = math.ceil(height / cell), math.ceil(width / cell)
    number, turn = (2 * directions, 2 * math.pi) if signed else (directions, math.pi)
    cells = np.zeros((number, rows, columns))

    def at(channel: int, y: int, x: int) -> float:
        return float(picture[channel, min(max(y, 0), height - 1), min(max(x, 0), width - 1)])

    for y in range(height):
        for x in range(width):
            slopes = [
                ((at(c, y + 1, x) - at(c, y - 1, x)) / 2, (at(c, y, x + 1) - at(c, y, x - 1)) / 2)
                for c in range(channels)
            ]
            down, right = max(slopes, key=lambda slope: slope[0] ** 2 + slope[1] ** 2)
            place = (math.atan2(down, right) % turn) / turn * number - 0.5
            for direction in range(number):
                away = abs(place - direction)
                share = max(1 - min(away, number - away), 0)
                for r in range(rows):
                    for s in range(columns):
                        far = [abs((p + 0.5) / cell - (q + 0.5)) for p, q in ((y, r), (x, s))]
                        near = [max(1 - one, 0) for one in far]
                        cells[direction, r, s] += share * near[0] * near[1] * math.hypot(down, right) / cell**2
    whole = cells[:directions] + cells[directions:] if signed else cells
    energy = np.pad(np.square(whole).sum(0), 1, mode="edge")
    parts, strength = [], []
    for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)):
        squares = np.zeros((rows, columns))
        for r in range(rows):
            for s in range(columns):
                squares[r, s] = energy[r + y : r + y + 2, s + x : s + x + 2].sum()
        parts.append([np.minimum(one / np.sqrt(squares + 1), 0.2) for one in ([cells, whole] if signed else [cells])])
        strength.append(parts[-1][0].sum(0) / math.sqrt(2 * directions))
    found = [sum(part[n] for part in parts) / 2 for n in range(len(parts[0]))]
    return np.concatenate([*found, np.stack(strength)])


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((1, 12, 12), {"cell": 4}),
        ((3, 11, 7), {"cell": 3, "directions": 6, "signed": True}),
        ((2, 5, 9), {"cell": 2, "directions": 4}),
        ((1, 1, 1), {"cell": 4}),
    ],
)
def test_it_is_what_a_walk_over_pixels_finds(shape, settings):
    layer = OrientedGradients(**settings)
    pictures = np.random.default_rng(0).integers(0, 256, (3, *shape), dtype=np.uint8)
    found = layer.build(pixels(*shape))(torch.from_numpy(pictures)).numpy()
    form = layer.form(pixels(*shape))
    assert found.shape == (3, form.width, *form.size)
    for picture, one in zip(pictures, found, strict=True):
        expected = walked(picture, cell=layer.cell, directions=layer.directions, signed=layer.signed)
        np.testing.assert_allclose(one, expected, atol=1e-5)


def test_only_which_way_edges_run_counts():
    ramp = torch.arange(16.0).expand(16, 16)[None, None] * 8  # brighter to the right
    module = OrientedGradients(cell=8, signed=True).build(pixels(1, 16, 16))
    one = module(ramp)
    torch.testing.assert_close(module(ramp / 2 + 40)[:, :27], one[:, :27], atol=0.01, rtol=0)  # dimmer: all but alike
    torch.testing.assert_close(module(120 - ramp)[:, 18:27], one[:, 18:27])  # the other way round: unsigned alike
    assert one[:, :18].argmax(1).unique().tolist() != module(120 - ramp)[:, :18].argmax(1).unique().tolist()
    down = module(ramp.transpose(2, 3))[:, 18:27]
    assert not torch.allclose(down, one[:, 18:27], atol=0.1)


def test_a_flat_picture_has_none():
    module = OrientedGradients().build(pixels(3, 8, 8))
    assert not module(torch.full((2, 3, 8, 8), 77, dtype=torch.uint8)).any()
