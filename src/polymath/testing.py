"""Contract kits: what every part of a kind must do, whoever wrote it. Run a kit over a new part before writing tests.

A kit raises AssertionError with the promise that was broken.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from .engine import Engine
from .model.build import get_weights, load_weights
from .model.layers import Layer, parse_layer, vocabulary
from .problem.features import Encoded, Feature, parse_feature
from .problem.features import vocabulary as feature_vocabulary
from .problem.form import Form, Tokens, pixels, tokens, vector
from .search.choices import (
    Choose,
    Space,
    Trace,
    as_traced,
    at_random,
    crossed,
    draw,
    first,
    mutated,
    offer_of,
)
from .search.cutters import Cutter, Standing
from .search.generators import Experience, Generator, News, Past
from .spec import BadInput, canonical
from .store.kit import check_objects as check_objects
from .store.kit import check_store as check_store

# Layers ----------------------------------------------------------------------------------------------------------


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
    assert shape == _shape(form, rows) or members, f"while training form says {form}, got shape {tuple(shape)}"
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


def _close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a.float(), b.float(), rtol=1e-4, atol=1e-5)


# Features --------------------------------------------------------------------------------------------------------

GARBAGE = (
    pa.array(
        ["", " ", "n/a", "1e999", "-inf", "NaN", "a;b|c,d", "\x00\x1b[31m", "0000-00-00", "x" * 5_000, "\u202e", None]
    ),
    pa.array([0, -1, 2**63 - 1, None]),
    pa.array([math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, None]),
    pa.array([True, False, None]),
    pa.array([b"", b"\xff\xfe\x00", b"\x89PNG\r\n\x1a\n", None]),
    pa.array([[], ["a", None], ["a", "b"], None], pa.list_(pa.string())),
    pa.array([[1.0, 2.0], [math.nan], None], pa.list_(pa.float64())),
    pa.array([{"a": 1}, None], pa.struct([("a", pa.int64())])),
    pa.array([0, 2**62, -(2**62), None], pa.timestamp("us")),
    pa.array([None, None], pa.null()),
    pa.array(["x", None, "y"]).dictionary_encode(),
    pa.array([], pa.string()),
)
"""Columns of every sort that a feature may be handed by mistake."""


def check_feature(feature: Feature | type[Feature], *, rows: int = 60) -> None:
    """Hold a feature, or one of a class with its defaults, to the contract of `polymath.problem.features.Feature`."""
    raw = feature.model_validate({"name": "column"}) if isinstance(feature, type) else feature
    values = raw.random_values(rows, np.random.default_rng(0))
    again = raw.random_values(rows, np.random.default_rng(0))
    assert len(values) == rows and values.equals(again), "random_values depends on the generator alone"
    assert not raw.is_measured, "a feature is raw until it is measured"
    assert raw.can_be_input or raw.can_be_output, "a feature is good for something"
    _check_feature_json(raw)
    if raw.can_be_input:
        _check_input(raw, values)
    if raw.can_be_output:
        _check_output(raw, values)


def _check_feature_json(feature: Feature) -> None:
    assert type(feature).from_json(feature.to_json()) == feature, "a feature comes back from JSON"
    if feature_vocabulary().get(feature.type) is type(feature):
        assert parse_feature(feature.model_dump(mode="json")) == feature, "the vocabulary finds the feature by its type"


def _measured(raw: Feature, values: pa.ChunkedArray, *, as_output: bool) -> Feature:
    measured = raw.measure(values, as_output=as_output)
    assert type(measured) is type(raw) and measured.is_measured and measured.name == raw.name
    assert measured == raw.measure(values, as_output=as_output), "measuring the same values gives the same"
    chunks = pa.chunked_array([*values.slice(0, 7).chunks, *values.slice(7).chunks])
    assert measured == raw.measure(chunks, as_output=as_output), "how values are chunked makes no difference"
    _check_feature_json(measured)
    return measured


def _check_input(raw: Feature, values: pa.ChunkedArray) -> None:
    feature = _measured(raw, values, as_output=False)
    whole = feature.encode(values)
    assert not whole.bad, f"random_values are good values, and yet: {whole.bad[:1]}"
    _check_array(feature.form, whole.array, len(values))
    parts = [feature.encode(values.slice(start, 25)).array for start in range(0, len(values), 25)]
    assert np.array_equal(np.concatenate(parts), whole.array, equal_nan=_may_be_nan(whole.array)), "chunk = whole"
    nothing = feature.encode(pa.chunked_array([pa.nulls(3, values.type)]))
    assert not nothing.bad, "a missing value is no bad value"
    _check_array(feature.form, nothing.array, 3)
    missing = ~values.is_valid().to_numpy(zero_copy_only=False)
    if missing.any():
        same = np.array_equal(whole.array[missing][0], nothing.array[0], equal_nan=_may_be_nan(whole.array))
        assert same, "missing is written the same way everywhere"
    if feature.encoded_once:
        assert raw.sized(values).with_statistics(whole.array) == feature, (
            "measuring encoded rows = measuring raw values"
        )
    for column in GARBAGE:
        garbage = pa.chunked_array([column])
        _check_array(feature.form, _checked(feature.encode(garbage), len(column)).array, len(column))
        learned = _measure_or_refuse(raw, garbage, as_output=False)
        if learned is not None:
            _check_array(learned.form, _checked(learned.encode(garbage), len(column)).array, len(column))


def _check_array(form: Form, array: np.ndarray, rows: int) -> None:
    """An encoded input is what its form says."""
    if form.kind == "vector":
        assert array.shape == (rows, form.width) and array.dtype == np.float32, f"{array.shape} {array.dtype} as {form}"
        assert not np.isinf(array).any(), "no infinities"
        for column, size in enumerate(form.categories):
            codes = array[:, column]
            assert not size or ((codes >= 0) & (codes < size) & (codes == np.floor(codes))).all(), (
                "codes in their range"
            )
    elif form.kind == "tokens":
        assert form.vocabulary, "a port of tokens holds ids"
        assert array.shape == (rows, *form.size) and array.dtype.kind == "u", f"{array.shape} {array.dtype} as {form}"
        assert array.max(initial=0) < form.vocabulary, "ids in their range"
        assert not ((array[:, 1:] > 0) & (array[:, :-1] == 0)).any(), "padding stands at the end"
    else:
        assert form.kind == "map", f"no feature may give a {form.kind} yet"
        assert array.shape == (rows, form.width, *form.size) and array.dtype == np.uint8, f"{array.shape} as {form}"


def _checked(encoded: Encoded, rows: int) -> Encoded:
    """What is said of bad values is well said."""
    for bad in encoded.bad:
        assert 0 <= bad.row < rows, f"row {bad.row} of {rows}"
        assert bad.reason and bad.value.isprintable() and len(bad.value) <= 300, "a reason, and a value fit to be shown"
    return encoded


def _measure_or_refuse(raw: Feature, values: pa.ChunkedArray, *, as_output: bool) -> Feature | None:
    try:
        return raw.measure(values, as_output=as_output)
    except BadInput as refusal:
        assert refusal.column == raw.name, "a refusal names the column"
        return None


def _may_be_nan(array: np.ndarray) -> bool:
    return array.dtype.kind == "f"


def _check_output(raw: Feature, values: pa.ChunkedArray) -> None:
    feature = _measured(raw, values, as_output=True)
    encoded = feature.encode_target(values)
    target, known = encoded.array, feature.known(encoded.array)
    assert not encoded.bad and len(target) == len(values) and known.dtype == np.bool_ and known.shape == (len(values),)
    assert (known == values.is_valid().to_numpy(zero_copy_only=False)).all(), "a target is missing where the value is"
    for column in GARBAGE:
        garbage = pa.chunked_array([column])
        assert len(_checked(feature.encode_target(garbage), len(column)).array) == len(column)
        _measure_or_refuse(raw, garbage, as_output=True)
    _check_loss(feature, target, known)
    _check_constant(feature, target)
    answers = _check_round_trip(feature, target, known)
    _check_scores(feature, answers, target)
    _check_answers_decoded(feature, answers, target)


def _check_loss(feature: Feature, target: np.ndarray, known: np.ndarray) -> None:
    for smoothing in (0.0, 0.1):
        prediction = torch.randn(len(target), feature.head_width, generator=torch.Generator().manual_seed(0))
        prediction.requires_grad_()
        loss = feature.loss(prediction, torch.from_numpy(target), smoothing=smoothing)
        assert loss.shape == (len(target),) and bool(loss.isfinite().all()), "one finite loss per example"
        loss.sum().backward()
        assert prediction.grad is not None and bool(prediction.grad.isfinite().all()), "finite gradients"
        gone = torch.from_numpy(~known)
        assert bool((loss[gone] == 0).all()) and bool((prediction.grad[gone] == 0).all()), (
            "missing targets teach nothing"
        )
        assert bool((loss[~gone] > 0).all()), "known targets teach something"


def _check_constant(feature: Feature, target: np.ndarray) -> None:
    constant = feature.constant(target)
    assert constant.shape == (feature.head_width,) and constant.dtype == np.float32 and np.isfinite(constant).all()

    def mean_loss(answer: np.ndarray) -> float:
        rows = torch.from_numpy(np.tile(answer.astype(np.float32), (len(target), 1)))
        return float(feature.loss(rows, torch.from_numpy(target)).mean())

    generator = np.random.default_rng(0)
    for step in (0.1, 1.0):
        for _ in range(5):
            other = constant + generator.normal(0, step, constant.shape)
            assert mean_loss(constant) <= mean_loss(other) + 0.01, "the best constant is the best constant"
    assert np.isfinite(feature.constant(target[:0])).all(), "a constant even without targets"


def _check_round_trip(feature: Feature, target: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Raw predictions that gradient steps have led to the targets: decoded, they are the raw values again."""
    prediction = torch.zeros(len(target), feature.head_width, requires_grad=True)
    rule = torch.optim.Adam([prediction], lr=0.1)
    for _ in range(150):
        rule.zero_grad()
        feature.loss(prediction, torch.from_numpy(target)).sum().backward()
        rule.step()
    answers: np.ndarray = prediction.detach().numpy()
    decoded = pa.chunked_array([pa.array([one["value"] for one in feature.decode(answers, {})])])
    again = feature.encode_target(decoded)
    assert not again.bad, f"decoded values are values of the feature: {again.bad[:1]}"
    assert np.allclose(again.array[known], target[known], atol=0.05), "decode turns back what encode_target has done"
    return answers


def _check_scores(feature: Feature, answers: np.ndarray, target: np.ndarray) -> None:
    names = [metric.name for metric in feature.metrics]
    assert names and len(names) == len(set(names)), "at least one metric, each once"
    constant = np.tile(feature.constant(target), (len(target), 1))
    good, poor = feature.scores(answers, target), feature.scores(constant, target)
    assert set(good) == set(poor) == set(names), "scores gives the metrics that are announced"
    assert all(isinstance(value, float) for value in good.values()), "scores are numbers"
    for metric in feature.metrics:
        sign = 1 if metric.greater_is_better else -1
        assert sign * good[metric.name] > sign * poor[metric.name], f"{metric.name} prefers right answers to a constant"
    assert set(feature.scores(answers[:0], target[:0])) == set(names), "no rows, no failure"


def _check_answers_decoded(feature: Feature, answers: np.ndarray, target: np.ndarray) -> None:
    noise = np.random.default_rng(0).normal(0, 0.5, answers.shape).astype(np.float32)
    calibration = feature.calibrate(answers + noise, target)
    canonical(calibration)  # raises if it is not plain JSON
    assert isinstance(feature.calibrate(answers[:0], target[:0]), dict), "no rows, no failure"
    for given in (calibration, {}, feature.calibrate(answers[:0], target[:0])):
        decoded = feature.decode(answers, given)
        canonical(decoded)
        assert len(decoded) == len(answers) and all("value" in one for one in decoded), "one answer per row"
        assert feature.calibrated(answers, given).shape == answers.shape
    assert feature.decode(answers[:0], calibration) == []
    alone = feature.combine([answers, answers], [1.0, 3.0])
    assert alone.shape == answers.shape and alone.dtype == np.float32
    same = [one["value"] for one in feature.decode(alone, {})] == [one["value"] for one in feature.decode(answers, {})]
    assert same or np.allclose(alone, answers, atol=1e-5), "the mean of equal answers is that answer"


def check_engine(engine: Engine) -> None:
    """Holds an engine that runs `text -> text * 2` to the contract: each job answered once, in any order; closes it."""
    texts = [f"{number}," for number in range(3 * engine.lanes + 1)]
    futures = [engine.submit(text) for text in texts]
    assert [future.result(timeout=60) for future in futures] == [text * 2 for text in texts]
    long = "x" * 2_000_000
    assert engine.submit(long, timeout_seconds=60).result(timeout=60) == long * 2
    engine.close()
    engine.close()  # closing twice is harmless


def toy_space(choose: Choose) -> dict[str, Any]:
    """A small space with everything in it: a list of variable length, ranges, a choice that is open only at times."""
    layers = [choose(f"layer{i}", ["a", "b", "c"]) for i in range(choose("depth", 1, 4))]
    found: dict[str, Any] = {"layers": layers, "rate": choose("rate", 1e-4, 1.0, log=True)}
    if "c" in layers:
        found["size"] = choose("c.size", 1, 5)
    return found


def toy_score(built: dict[str, Any]) -> float:
    """Best (0) for four layers "b" and a rate of 0.01."""
    wrong = 4 - sum(layer == "b" for layer in built["layers"])
    return float(-wrong - abs(math.log10(built["rate"]) + 2) - 0.1 * built.get("size", 0))


def check_generator(kind: type[Generator], *, proposals: int = 40) -> None:
    """Holds a generator to the contract: same seed and news, same proposals, all allowed; failures are survived.

    It is told news late and out of order, as by an engine of three lanes, and of experiments that it did not propose.
    """

    def run(seed: int, experience: Experience | None = None) -> tuple[list[str], Generator]:
        generator = kind(lambda answer: draw(toy_space, answer), seed=seed, experience=experience)
        told, digests = [], []
        stranger = draw(toy_space, at_random(np.random.default_rng(seed)))
        generator.begin(0, stranger)
        generator.observe(News(0, stranger.trace, toy_score(stranger.built), 1.0, by="fixed"))
        for number in range(proposals):
            sketch = generator.propose(number)
            assert not sketch.error and sketch.trace.choices, "a proposal is a sketch of the space"
            again = draw(toy_space, as_traced(sketch.trace))
            assert again.trace == sketch.trace and again.built == sketch.built, "and its trace builds it again"
            generator.begin(number + 1, sketch)
            score = -math.inf if number % 7 == 3 else toy_score(sketch.built)
            told.append(News(number + 1, sketch.trace, score, 1.0, by=sketch.by or kind.name, proxies=sketch.proxies))
            if number % 3 == 2:
                for news in reversed(told):
                    generator.observe(news)
                    if news.ok:
                        generator.observe(replace(news, score=news.score + 0.1, work=3.0, rung=1))
                told.clear()
            digests.append(sketch.identity)
        return digests, generator

    first_run, generator = run(1)
    assert first_run == run(1)[0], "equal seeds and news must give equal proposals"
    assert len(set(first_run)) > proposals // 4, "it proposes too little that is new"
    memory = generator.memory()
    assert all(isinstance(array, np.ndarray) and np.isfinite(array).all() for array in memory.values())
    past = tuple(
        News(number, sketch.trace, toy_score(sketch.built), 1.0)
        for number in range(30)
        for sketch in [draw(toy_space, at_random(np.random.default_rng(number)))]
    )
    experience = Experience({"rows": 2.0}, (Past("earlier", {"rows": 2.5}, past), Past("empty", {}, ())), memory)
    assert len(run(2, experience)[0]) == proposals, "experience is welcome"


def check_cutter(kind: type[Cutter]) -> None:
    """Holds a cutter to the contract: it names only what may go on, is deterministic, quick, and ends."""
    cutter = kind()
    assert cutter.promote([], work_left=math.inf) is None, "nobody stands, nobody goes on"
    generator = np.random.default_rng(0)
    final = generator.normal(size=60)
    scores: dict[int, list[float]] = {}
    for number in range(60):
        scores[number] = [-math.inf if number % 9 == 4 else float(final[number] - 1)]
        while True:
            standings = [_standing(n, s, dear=1 + n % 3) for n, s in scores.items()]
            chosen = cutter.promote(standings, work_left=1000.0)
            mixed = [standings[i] for i in generator.permutation(len(standings))]
            again = kind().promote(mixed, work_left=1000.0)
            assert chosen == again, "the same standings, the same answer: no memory, no matter in which order"
            if chosen is None:
                break
            assert standings[chosen].may_go_on, f"experiment {chosen} cannot go on"
            _check_refusals(cutter, standings, chosen)
            scores[chosen].append(float(final[chosen] - 1 / len(scores[chosen])))
    complete = [n for n, s in scores.items() if len(s) == 3]
    assert complete, "somebody must reach the end"
    assert len(complete) < 60 * 8 // 9, "nothing was cut"
    best = sorted((n for n in range(60) if n % 9 != 4), key=lambda n: -final[n])[:20]
    assert set(best) & set(complete), "the good ones go on"
    _check_quick(cutter)


def _standing(number: int, scores: Sequence[float], *, dear: float, running: bool = False) -> Standing:
    """An experiment with rungs at 1/9, 1/3 and all of its schedule; `dear`: its whole work is 9 times as much."""
    works, done = (dear, 3 * dear, 9 * dear), len(scores)
    ahead = works[done] - works[done - 1] if done < 3 else 0.0
    return Standing(number, works[:done], tuple(scores), ahead, works[-1], running)


def _check_refusals(cutter: Cutter, standings: list[Standing], chosen: int) -> None:
    """What was just named is not named when it is running, or when its next rung costs more than is left."""
    changed = [replace(s, running=True) if s.number == chosen else s for s in standings]
    assert cutter.promote(changed, work_left=1000.0) != chosen, "one that is running cannot be continued"
    least = standings[chosen].next_work
    other = cutter.promote(standings, work_left=least * 0.99)
    assert other is None or standings[other].next_work <= least * 0.99, "no rung that costs more than is left"


def _check_quick(cutter: Cutter) -> None:
    """Milliseconds for 10,000 standings; the limit is ten times that, because machines under test are busy."""
    draws = np.random.default_rng(1).normal(size=(10_000, 3))
    many = [_standing(n, [float(x) for x in row[: 1 + n % 3]], dear=1.0 + n % 7) for n, row in enumerate(draws)]
    cutter.promote(many, work_left=math.inf)
    took = []
    for _ in range(5):
        begin = time.process_time()
        cutter.promote(many, work_left=math.inf)
        took.append(time.process_time() - begin)
    assert min(took) < 0.1, f"{min(took) * 1000:.0f} ms for 10,000 standings"


def check_space(space: Space, *, passes: int = 50) -> None:
    """Holds a space to the contract: it is a function of its choices alone, and what it builds replays and varies."""
    generator = np.random.default_rng(0)
    default = draw(space, first)
    assert not default.error, f"the defaults build something: {default.error}"
    identities = set()
    for _ in range(passes):
        sketch = draw(space, at_random(generator))
        assert not sketch.error, sketch.error
        again = draw(space, as_traced(sketch.trace))
        assert again.trace == sketch.trace and again.identity == sketch.identity, "a trace replays exactly"
        assert Trace.from_json(sketch.trace.to_json()) == sketch.trace, "a trace is JSON"
        child = draw(space, mutated(sketch.trace, generator))
        assert not child.error, f"a mutation builds something: {child.error}"
        mixed = draw(space, crossed(sketch.trace, default.trace, generator))
        assert not mixed.error, f"a crossing builds something: {mixed.error}"
        identities |= {sketch.identity, child.identity}
    open_choices = any(offer_of(choice).is_open for choice in default.trace.choices)
    assert not open_choices or len(identities) > 1, "different choices build different things"
