"""The kit of layers: shapes, seeds, stored weights, learning, gaps and padding."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..model.build import get_weights, load_weights
from ..model.layers import Layer, parse_layer, vocabulary
from ..problem.form import Form, Tokens, pixels, tokens, vector


def check_layer(layer: Layer, *inputs: Form, rows: int = 5) -> None:
    """Hold a layer, with inputs of forms that it takes, to the contract of `polymath.model.layers.Layer`."""
    generator = torch.Generator().manual_seed(0)
    values = [random_value(form, rows, generator) for form in inputs]
    _check_description(layer, inputs)
    module = _built(layer, inputs, seed=1)
    _prepare(module, values)
    _check_answers(layer, module, inputs, values)
    _check_learning(layer, module, inputs, values)
    _check_weights(layer, module, inputs, values)
    _check_gaps(layer, module, inputs, values)
    _check_padding(layer, module, inputs, values)


def random_value(form: Form, rows: int, generator: torch.Generator) -> Tensor | Tokens:
    """A plausible value of a form; the first text of tokens is full, the others may be shorter, the last is empty."""
    if form.kind == "map":
        return torch.randn(rows, form.width, *form.size, generator=generator)
    if form.kind == "tokens":
        (length,) = form.size
        lengths = torch.randint(1, length + 1, (rows,), generator=generator)
        lengths[0], lengths[-1] = length, 0 if rows > 1 else length
        mask = torch.arange(length) < lengths[:, None]
        if form.vocabulary:
            return Tokens(torch.randint(1, form.vocabulary, (rows, length), generator=generator) * mask, mask)
        return Tokens(torch.randn(rows, length, form.width, generator=generator), mask)
    assert form.kind == "vector", f"no values of form {form} are known"
    value = torch.randn(rows, form.width, generator=generator)
    for column, size in enumerate(form.categories):
        if size:
            value[:, column] = torch.randint(0, size, (rows,), generator=generator).float()
    return value


def _check_description(layer: Layer, inputs: tuple[Form, ...]) -> None:
    assert type(layer).from_json(layer.to_json()) == layer, "a description comes back from JSON"
    kind = layer.model_dump()["kind"]
    if vocabulary().get(kind) is type(layer):
        assert parse_layer(layer.model_dump(mode="json")) == layer, "the vocabulary finds the layer by its kind"
    assert layer.form(*inputs) == layer.form(*inputs), "equal inputs give equal forms"
    work = layer.work(*inputs)
    assert math.isfinite(work) and work >= 0, f"work is a number of multiply-adds, got {work}"
    for wrong in ((), *([(*inputs, inputs[0])] if layer.num_inputs is not None else [])):
        assert _refuses(layer.form, wrong), f"form raises ValueError for {len(wrong)} inputs"
        assert _refuses(layer.build, wrong), f"build raises ValueError for {len(wrong)} inputs"
    for other in (vector(3), tokens(4, width=3), pixels(2, 4, 4), Form(kind="graph", width=3)):
        _check_other(layer, (*inputs[:-1], other))


def _check_other(layer: Layer, inputs: tuple[Form, ...]) -> None:
    """What form takes, build takes and its module answers; what form refuses, build refuses."""
    names = ", ".join(map(str, inputs))
    if _refuses(layer.form, inputs):
        assert _refuses(layer.build, inputs), f"form raises ValueError for {names}, and so must build"
        return
    assert not _refuses(layer.build, inputs), f"build raises ValueError for {names}, and so must form"
    if all(form.kind != "graph" for form in inputs):
        values = [random_value(form, 3, torch.Generator().manual_seed(0)) for form in inputs]
        answer = _answer(_built(layer, inputs, seed=1).eval(), values)
        form = layer.form(*inputs)
        assert _tensor(answer, form).shape == _shape(form, 3), f"form says {form} for {names}"


def _refuses(method: Callable[..., object], inputs: tuple[Form, ...]) -> bool:
    try:
        method(*inputs)
    except ValueError:
        return True
    return False


def _built(layer: Layer, inputs: Sequence[Form], *, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return layer.build(*inputs)


def _prepare(module: nn.Module, values: Sequence[Tensor | Tokens]) -> None:
    if callable(prepare := getattr(module, "prepare", None)):
        with torch.no_grad():
            prepare(*values)
    assert all(np.isfinite(array).all() for array in get_weights(module).values()), "what is stored is finite"


def _answer(module: nn.Module, values: Sequence[Tensor | Tokens]) -> Tensor | Tokens:
    with torch.no_grad():
        result: Tensor | Tokens = module(*values)
    return result


def _tensor(value: Tensor | Tokens, form: Form) -> Tensor:
    """What counts in a value: tokens behind the mask do not, and a layer may leave them out where no text has any."""
    if not isinstance(value, Tokens):
        return value
    kept = value.values * (value.mask if value.values.dim() == 2 else value.mask.unsqueeze(-1))
    absent = form.size[0] - kept.shape[1]
    return nn.functional.pad(kept, (0, absent) if kept.dim() == 2 else (0, 0, 0, absent)) if absent > 0 else kept


def _rows(value: Tensor | Tokens, index: Tensor) -> Tensor | Tokens:
    return Tokens(value.values[index], value.mask[index]) if isinstance(value, Tokens) else value[index]


def _check_answers(
    layer: Layer, module: nn.Module, inputs: tuple[Form, ...], values: Sequence[Tensor | Tokens]
) -> None:
    form, rows = layer.form(*inputs), len(values[0].mask if isinstance(values[0], Tokens) else values[0])
    module.eval()
    answer = _answer(module, values)
    assert isinstance(answer, Tokens) == (form.kind == "tokens"), f"form says {form}, got {type(answer).__name__}"
    first, again = _tensor(answer, form), _tensor(_answer(module, values), form)
    assert torch.equal(first, again), "the same input gives the same answer when not training"
    assert first.shape == _shape(form, rows), f"form says {form}, got shape {tuple(first.shape)}"
    assert first.isfinite().all(), "finite inputs give finite answers"
    index = torch.arange(rows).flip(0)[: rows - 1]
    some = _tensor(_answer(module, [_rows(value, index) for value in values]), form)
    assert _close(some, first[index]), "the answer for a row does not depend on the other rows"
    module.train()
    shape = _tensor(_answer(module, values), form).shape
    members = form.kind == "vector" and len(shape) == 3 and (shape[0], shape[2]) == (rows, form.width)
    # Raters say more while training than what is asked: several predictions side by side.
    beside = form.kind == "vector" and len(shape) == 2 and shape[0] == rows and shape[1] % form.width == 0
    assert shape == _shape(form, rows) or members or beside, (
        f"while training form says {form}, got shape {tuple(shape)}"
    )
    alone = _tensor(_answer(module, [_rows(value, torch.tensor([0])) for value in values]), form)
    assert len(alone) == 1, "a batch of one row can be trained on"


def _shape(form: Form, rows: int) -> torch.Size:
    if form.kind == "tokens":
        return torch.Size((rows, *form.size) if form.vocabulary else (rows, *form.size, form.width))
    return torch.Size((rows, form.width, *form.size))


def _check_learning(
    layer: Layer, module: nn.Module, inputs: tuple[Form, ...], values: Sequence[Tensor | Tokens]
) -> None:
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not parameters:
        return
    module.train()
    module.zero_grad()
    answer = _tensor(module(*values), layer.form(*inputs))
    weight = torch.randn(answer.shape, generator=torch.Generator().manual_seed(2))  # a sum after a norm never changes
    (answer * weight).sum().backward()
    gradients = [parameter.grad for parameter in parameters]
    assert all(gradient is not None for gradient in gradients), "every parameter is part of the answer"
    assert all(bool(gradient.isfinite().all()) for gradient in gradients if gradient is not None), (
        "gradients are finite"
    )
    assert any(bool(gradient.any()) for gradient in gradients if gradient is not None), "gradients flow"
    module.zero_grad()


def _check_weights(
    layer: Layer, module: nn.Module, inputs: tuple[Form, ...], values: Sequence[Tensor | Tokens]
) -> None:
    form = layer.form(*inputs)
    module.eval()
    answer = _tensor(_answer(module, values), form)
    one, two = get_weights(_built(layer, inputs, seed=1)), get_weights(_built(layer, inputs, seed=1))
    assert all(np.array_equal(one[name], two[name]) for name in one), "the seed alone decides fresh weights"
    other = _built(layer, inputs, seed=2).eval()
    load_weights(other, get_weights(module), name="the layer")
    assert torch.equal(_tensor(_answer(other, values), form), answer), "weights taken out and put back answer the same"
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    with torch.no_grad():
        called = torch.func.functional_call(module, tensors, tuple(values))
    assert torch.equal(_tensor(called, form), answer), "the module can be called with tensors from outside"


def _check_gaps(layer: Layer, module: nn.Module, inputs: tuple[Form, ...], values: Sequence[Tensor | Tokens]) -> None:
    """A layer that reads a row port answers for a row in which everything is missing, and for codes never seen."""
    if not any(any(form.categories) for form in inputs):
        return
    module.eval()
    for number, code in ((math.nan, 0.0), (1e30, 1e6), (-math.inf, -1.0)):
        changed: list[Tensor | Tokens] = []
        for form, value in zip(inputs, values, strict=True):
            assert isinstance(value, Tensor)
            cells = [code if size else number for size in form.categories or (0,) * form.width]
            changed.append(torch.tensor(cells).expand_as(value))
        answer = _tensor(_answer(module, changed), layer.form(*inputs))
        assert answer.isfinite().all(), f"a row of {number} and code {code} has an answer"


def _check_padding(
    layer: Layer, module: nn.Module, inputs: tuple[Form, ...], values: Sequence[Tensor | Tokens]
) -> None:
    """What stands behind the mask does not count."""
    module.eval()
    form = layer.form(*inputs)
    changed: list[Tensor | Tokens] = []
    for value in values:
        if isinstance(value, Tokens) and value.values.dim() == 3:
            value = Tokens(value.values + 3.0 * ~value.mask.unsqueeze(-1), value.mask)
        changed.append(value)
    before, after = _answer(module, values), _answer(module, changed)
    assert _close(_tensor(after, form), _tensor(before, form)), "padding does not count"
    if isinstance(before, Tokens) and not form.vocabulary and layer.num_inputs == 1:
        assert not before.values[~before.mask].any(), "zeros stand where no token is"


def _close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a.float(), b.float(), rtol=1e-4, atol=1e-5)
