"""The kit of features: encoding, losses, scores, answers and the way back."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import torch

from ..problem.features import Encoded, Feature, parse_feature
from ..problem.features import vocabulary as feature_vocabulary
from ..problem.form import Form
from ..spec import BadInput, canonical

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
    answers = _learned(feature, target)
    _check_scores(feature, answers, target)
    if not feature.generated:  # else `decode` is not what says the answer
        _check_round_trip(feature, answers, target, known)
        _check_answers_decoded(feature, answers, target)


def _check_loss(feature: Feature, target: np.ndarray, known: np.ndarray) -> None:
    for smoothing in (0.0, 0.1):
        # Small: a loss that is quite sure of itself rounds to 0.
        prediction = 0.2 * torch.randn(_raw_shape(feature, len(target)), generator=torch.Generator().manual_seed(0))
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


def _learned(feature: Feature, target: np.ndarray) -> np.ndarray:
    """Raw predictions that gradient steps have led to the targets."""
    # Not all the same: where predictions are compared with each other, equal ones have no slope.
    noise = 1e-3 * torch.randn(_raw_shape(feature, len(target)), generator=torch.Generator().manual_seed(0))
    prediction = noise.requires_grad_()
    rule = torch.optim.Adam([prediction], lr=0.1)
    for _ in range(150):
        rule.zero_grad()
        feature.loss(prediction, torch.from_numpy(target)).sum().backward()
        rule.step()
    answers: np.ndarray = prediction.detach().numpy()
    return answers


def _check_round_trip(feature: Feature, answers: np.ndarray, target: np.ndarray, known: np.ndarray) -> None:
    """Decoded, what was led to the targets is the raw values again."""
    decoded = pa.chunked_array([pa.array([one["value"] for one in feature.decode(answers, {})])])
    again = feature.encode_target(decoded)
    assert not again.bad, f"decoded values are values of the feature: {again.bad[:1]}"
    assert np.allclose(again.array[known], target[known], atol=0.05), "decode turns back what encode_target has done"


def _check_scores(feature: Feature, answers: np.ndarray, target: np.ndarray) -> None:
    names = [metric.name for metric in feature.metrics]
    assert names and len(names) == len(set(names)), "at least one metric, each once"
    constant = np.tile(feature.constant(target), (len(target), 1))
    kept, none = _kept(feature, answers, target), _kept(feature, answers[:0], target[:0])
    good, poor = feature.scores(kept, target), feature.scores(_kept(feature, constant, target), target)
    assert set(good) == set(poor) == set(names), "scores gives the metrics that are announced"
    assert all(isinstance(value, float) for value in good.values()), "scores are numbers"
    for metric in feature.metrics:
        sign = 1 if metric.greater_is_better else -1
        assert sign * good[metric.name] > sign * poor[metric.name], f"{metric.name} prefers right answers to a constant"
    assert set(feature.scores(none, target[:0])) == set(names), "no rows, no failure"


def _check_answers_decoded(feature: Feature, answers: np.ndarray, target: np.ndarray) -> None:
    noise = np.random.default_rng(0).normal(0, 0.5, answers.shape).astype(np.float32)
    kept = _kept(feature, answers, target)
    calibration = feature.calibrate(_kept(feature, answers + noise, target), target)
    canonical(calibration)  # raises if it is not plain JSON
    assert isinstance(feature.calibrate(kept[:0], target[:0]), dict), "no rows, no failure"
    for given in (calibration, {}, feature.calibrate(kept[:0], target[:0])):
        decoded = feature.decode(answers, given)
        canonical(decoded)
        assert len(decoded) == len(answers) and all("value" in one for one in decoded), "one answer per row"
        assert feature.calibrated(kept, given).shape == kept.shape
    assert feature.decode(answers[:0], calibration) == []
    alone = feature.combine([kept, kept], [1.0, 3.0])
    assert alone.shape == kept.shape and alone.dtype == np.float32
    if feature.answer.kind == "map":  # kept pixels are no map that could be decoded
        assert np.allclose(feature.combine([alone], [1.0]), alone, atol=1e-5), "the mean of one answer is that answer"
        return
    same = np.allclose(alone, kept, atol=1e-5) or [one["value"] for one in feature.decode(alone, {})] == [
        one["value"] for one in feature.decode(answers, {})
    ]
    assert same, "the mean of equal answers is that answer"


def _raw_shape(feature: Feature, rows: int) -> tuple[int, ...]:
    """Shape of raw predictions, as `Feature.answer` says."""
    answer = feature.answer
    return (rows, *answer.size, answer.width) if answer.kind == "tokens" else (rows, answer.width, *answer.size)


def _kept(feature: Feature, prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    kept: np.ndarray = feature.kept(torch.from_numpy(prediction), torch.from_numpy(target)).numpy()
    return kept
