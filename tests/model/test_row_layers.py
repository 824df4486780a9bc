"""How the layers of rows see numbers, gaps and categories, and how predictions are combined."""

from __future__ import annotations

import math

import pytest
import torch

from polymath.model.layers import parse_layer
from polymath.problem.form import Form, vector

NAN = math.nan


def prepared(kind: str, form: Form, rows: torch.Tensor, **settings) -> torch.nn.Module:
    torch.manual_seed(0)
    module = parse_layer({"kind": kind, **settings}).build(form)
    module.prepare(rows)
    return module.eval()


def answer(module: torch.nn.Module, *rows: list[float]) -> torch.Tensor:
    with torch.no_grad():
        return module(torch.tensor(rows))


@pytest.mark.parametrize("kind", ["columns", "piecewise", "periodic"])
def test_a_gap_tells_something_only_where_training_rows_had_gaps(kind):
    rows = torch.randn(100, 2)
    rows[::3, 1] = NAN
    module = prepared(kind, vector(2), rows)
    middle = rows.nanmedian(0).values.tolist()
    if kind != "piecewise":  # which has its own values for a gap
        assert torch.allclose(answer(module, [NAN, 0.0]), answer(module, [middle[0], 0.0]), atol=0.1)
    assert not torch.allclose(answer(module, [0.0, NAN]), answer(module, [0.0, middle[1]]), atol=0.1)


def test_scales_do_not_matter():
    rows = torch.randn(200, 1)
    one, two = prepared("columns", vector(1), rows), prepared("columns", vector(1), rows * 1e6 + 5e6)
    assert torch.allclose(answer(one, [1.5]), answer(two, [1.5e6 + 5e6]), atol=1e-3)


@pytest.mark.parametrize("kind", ["columns", "piecewise", "periodic"])
@pytest.mark.parametrize(
    "column", [[7.0] * 9, [0.0] * 8 + [5.0], [NAN] * 9, [math.inf] * 9, [1e30] * 5 + [-1e30] * 4, [0, 1e-40] * 5]
)
def test_odd_columns(kind, column):
    module = prepared(kind, vector(1), torch.tensor(column)[:, None])
    assert answer(module, [0.0], [7.0], [NAN], [1e38], [-1e38]).isfinite().all()


def test_mostly_zeros_are_not_lost():
    module = prepared("columns", vector(1), torch.tensor([[0.0]] * 90 + [[8.0]] * 10))
    assert (answer(module, [8.0]) - answer(module, [0.0]))[0, 0] > 0.5


def test_small_categories_are_one_hot():
    module = prepared("columns", vector(1, categories=(4,)), torch.tensor([[1.0], [2.0], [3.0]]))
    assert answer(module, [1.0], [3.0], [0.0], [9.0], [NAN]).tolist() == [
        [0, 1, 0, 0],
        [0, 0, 0, 1],
        *[[0, 0, 0, 0]] * 3,  # unknown ones: no training row had code 0
    ]
    gaps = prepared("columns", vector(1, categories=(4,)), torch.tensor([[1.0], [0.0]]))
    assert answer(gaps, [0.0]).tolist() == [[1, 0, 0, 0]]


def test_large_categories_are_embedded():
    form = vector(2, categories=(50, 30))
    module = prepared("columns", form, torch.tensor([[1.0, 2.0]]))
    found = answer(module, [1.0, 0.0], [49.0, 1.0], [50.0, 29.0])
    assert found.shape == (3, 16) == (3, parse_layer({"kind": "columns"}).form(form).width)
    assert not found[0, 8:].any() and not found[2, :8].any(), "code 0 and codes beyond say nothing yet"
    assert len({tuple(row) for row in found[:2, :8].tolist()}) == 2


def test_piecewise_encoding_goes_up_with_the_number():
    module = prepared("piecewise", vector(1), torch.randn(500, 1), bins=8, width=1)
    with torch.no_grad():
        module.weight_NKD[:, :8] = 1.0
        module.weight_NKD[:, 8:] = 0.0
    found = module(torch.linspace(-3, 3, 50)[:, None]).squeeze(1)
    assert (found.diff() >= 0).all()
    steps = found.diff()
    assert steps[20:30].min() > 2 * steps[:3].max(), "most intervals lie where most rows are"


def test_ensembles_average_what_counts():
    form = vector(3)
    one, two = torch.randn(5, 3) * 3, torch.randn(5, 3) * 3

    def combined(how: str, weights: tuple[float, ...] = ()) -> torch.Tensor:
        return parse_layer({"kind": "ensemble", "combine": how, "weights": weights}).build(form, form)(one, two)

    assert torch.allclose(combined("values", (1, 3)), 0.25 * one + 0.75 * two)
    assert torch.allclose(combined("categories").softmax(1), (one.softmax(1) + two.softmax(1)) / 2)
    assert torch.allclose(combined("labels").sigmoid(), (one.sigmoid() + two.sigmoid()) / 2)
    assert torch.equal(combined("categories", (0, 2)), two)
    far = parse_layer({"kind": "ensemble", "combine": "labels"}).build(form, form)(one * 1e3, two * 1e3)
    assert far.isfinite().all()


@pytest.mark.parametrize("weights", [(-1.0, 2.0), (0.0, 0.0), (1.0,)])
def test_weights_of_an_ensemble_are_shares(weights):
    with pytest.raises(ValueError, match=r"weights"):
        parse_layer({"kind": "ensemble", "weights": weights}).form(vector(2), vector(2))
