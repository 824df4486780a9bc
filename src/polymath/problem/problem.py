"""A problem: which columns go in, which come out, how answers are scored and how rows are split."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, ValidationError, field_serializer, field_validator, model_validator

from ..spec import BadInput, Spec, canonical, first_fault, loads
from . import _toml, metrics
from .features import Feature, Graded, Text, parse_feature
from .features.base import BadValue, Encoded, Metric
from .features.common import numbers, spread, take
from .form import Form, vector
from .subwords import Pieces

ROW = "row"
"""The port that holds all vector features side by side."""
MOST_MAPS = 200
"""Rows whose answers at every pixel say how good the best constant is."""
CHUNK = 65_536
"""Rows encoded at a time, so that memory stays bounded whatever the number of rows."""


class Ignored(Spec):
    """A column that is not used, and why."""

    column: str
    reason: str


class Split(Spec):
    """How rows are divided into a test part and folds for validation. "auto": stratified where an output allows it."""

    kind: Literal["auto", "random", "stratified", "group", "time", "given"] = "auto"
    column: str | None = None
    """Column of groups, times, or given parts ('train', 'validation', 'test')."""
    test_fraction: float = Field(default=0.2, ge=0.0, lt=1.0)
    folds: int | None = Field(default=None, ge=1, le=20)
    """None: many for few rows, one for many."""
    seed: int = 0

    @model_validator(mode="after")
    def _has_its_column(self) -> Split:
        if (self.kind in ("group", "time", "given")) != (self.column is not None):
            raise ValueError(f"a split of kind {self.kind!r} {'takes no' if self.column else 'needs a'} column")
        return self


@dataclass(frozen=True)
class EncodedInputs:
    """Rows as arrays by port, what could not be used by feature, and which rows have no usable input at all."""

    arrays: dict[str, np.ndarray]
    bad: dict[str, tuple[BadValue, ...]]
    usable: np.ndarray
    """bool [N]: False where a value could not be used and nothing else is known of the row."""


class Problem(Spec):
    """What is to be learned. Raw until `measure` has filled in the statistics of every feature."""

    name: str = Field(min_length=1)
    inputs: tuple[Feature, ...] = Field(min_length=1)
    outputs: tuple[Feature, ...] = Field(min_length=1)
    ignored: tuple[Ignored, ...] = ()
    metric: dict[str, str] | str | None = None
    """Name of the metric that counts; with several outputs, by output. None: the default of each output."""
    split: Split = Split()
    weights: str | None = None
    """Column that says how much each row counts in training."""
    constants: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Measured: output -> metric -> score of the best constant answer."""

    @field_validator("inputs", "outputs", mode="before")
    @classmethod
    def _features_by_type(cls, value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            return value
        return tuple(parse_feature(one) if isinstance(one, Mapping) else one for one in value)

    @field_serializer("inputs", "outputs")
    def _whole_features(self, features: tuple[Feature, ...]) -> list[dict[str, Any]]:
        return [feature.model_dump(mode="json") for feature in features]

    @model_validator(mode="after")
    def _fits_together(self) -> Problem:
        names = [feature.name for feature in (*self.inputs, *self.outputs)]
        if twice := sorted({name for name in names if names.count(name) > 1} if len(names) != len(set(names)) else ()):
            raise ValueError(f"column {twice[0]!r} is used twice")
        for role, features, ability in (
            ("input", self.inputs, "can_be_input"),
            ("output", self.outputs, "can_be_output"),
        ):
            for feature in features:
                if not getattr(feature, ability):
                    raise ValueError(f"column {feature.name!r}: {type(feature).__name__} cannot be an {role}")
        if isinstance(self.metric, str) and len(self.outputs) > 1:
            raise ValueError(f"there are {len(self.outputs)} outputs: give the metric of each by its name")
        if isinstance(self.metric, dict) and (strange := sorted(set(self.metric) - {one.name for one in self.outputs})):
            raise ValueError(f"metric is given for {strange[0]!r}, which is no output")
        for output in self.outputs:
            self.metric_of(output.name)
        return self

    # Parts by name -----------------------------------------------------------------------------------------------
    def output(self, name: str) -> Feature:
        """The output feature of this name."""
        return next(feature for feature in self.outputs if feature.name == name)

    def metric_of(self, output: str) -> Metric:
        """The metric that counts for an output. Raises ValueError if the output has no metric of the name wished."""
        known = self.output(output).metrics
        wished = self.metric.get(output) if isinstance(self.metric, dict) else self.metric
        if wished is None:
            return known[0]
        for metric in known:
            if metric.name == wished:
                return metric
        names = ", ".join(metric.name for metric in known)
        raise ValueError(f"output {output!r} has no metric {wished!r}; it has {names}")

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the input columns, in order."""
        return tuple(feature.name for feature in self.inputs)

    @property
    def raters(self) -> dict[str, tuple[str, ...]]:
        """Graded output -> columns of its raters."""
        return {output.name: output.raters for output in self.outputs if isinstance(output, Graded)}

    def score(self, scores: Mapping[str, Mapping[str, float]]) -> float:
        """One number, higher is better, from the scores of each output; see `metrics.score`."""
        return metrics.score(self, scores)

    # Measuring ---------------------------------------------------------------------------------------------------
    @property
    def is_measured(self) -> bool:
        return all(feature.is_measured for feature in (*self.inputs, *self.outputs))

    def measure(
        self, table: pa.Table, indices: Sequence[int] | np.ndarray, *, encoded: Mapping[str, np.ndarray] | None = None
    ) -> Problem:
        """This problem with statistics of the rows at `indices` (never test rows). Raises BadInput.

        `encoded` holds arrays [all rows, ...] of input features that were encoded before (see `Feature.encoded_once`).
        """
        self.check(table, targets=True)
        chosen = np.sort(np.asarray(indices))
        inputs: list[Feature] = []
        for feature in self.inputs:
            for output in self.outputs:
                feature = output.aligned(feature, inputs)
            rows = _spread(chosen, feature.most_measured)
            if encoded and feature.name in encoded:
                inputs.append(feature.with_statistics(encoded[feature.name][rows]))
            else:
                inputs.append(feature.measure(_take(table[feature.name], rows)))
        outputs, constants = [], {}
        for raw in self.outputs:  # of all rows: a class left out could never be learned
            values = _take(table[raw.name], chosen)
            output = raw.beside(inputs).measure(values, as_output=True)
            outputs.append(output)
            looked = spread(values, MOST_MAPS) if output.answer.kind == "map" else values
            constants[output.name] = _constant_scores(output, output.encode_target(looked).array)
        try:
            return self.replace(inputs=inputs, outputs=outputs, constants=constants)
        except ValidationError as error:
            raise _bad_field(error) from None

    def check(self, table: pa.Table, *, targets: bool) -> None:
        """Raise BadInput if the table lacks a column that this problem reads."""
        needed = [*self.columns, *([f.name for f in self.outputs] + [self.weights or ""] if targets else [])]
        have = set(table.column_names)
        for name in needed:
            if name and name not in have:
                known = ", ".join(table.column_names[:20]) or "none"
                raise BadInput(
                    "the data lack this column", column=name, remedy=f"Columns there: {known}. Rename one, or add it."
                )

    # Ports and arrays --------------------------------------------------------------------------------------------
    @property
    def ports(self) -> dict[str, Form]:
        """Port -> form: the vector features joined as 'row', in order; every other feature a port of its name."""
        joined = [feature.form for feature in self.inputs if feature.form.kind == "vector"]
        result: dict[str, Form] = {}
        if joined:
            columns = [n for form in joined for n in (form.categories or (0,) * form.width)]
            result[ROW] = vector(len(columns), categories=tuple(columns) if any(columns) else ())
        for feature in self.inputs:
            if feature.form.kind != "vector":
                result[self.port_of(feature)] = feature.form
        return result

    @property
    def vocabularies(self) -> dict[str, Pieces]:
        """Port -> what its texts are cut by."""
        texts = {self.port_of(one): one.subwords for one in self.inputs if isinstance(one, Text)}
        return {port: subwords for port, subwords in texts.items() if subwords is not None}

    @property
    def answers(self) -> dict[str, Form]:
        """Port -> form of the answers that a path may read while it trains (see `Feature.shown`)."""
        return {self.answer_port(one): one.shown for one in self.outputs if one.shown is not None}

    @property
    def all_ports(self) -> dict[str, Form]:
        """Inputs and answers: what a path is built on."""
        return {**self.ports, **self.answers}

    def answer_port(self, output: Feature) -> str:
        """Name of the port at which the answers of an output are shown. No input has it."""
        name = f"answer/{output.name}"
        while name in self.columns:
            name += "_"
        return name

    def port_of(self, feature: Feature) -> str:
        """Name of the port that an input feature goes through. A picture in a column called 'row' gets 'row_'."""
        if feature.form.kind == "vector":
            return ROW
        name = feature.name
        while name == ROW or (name != feature.name and name in self.columns):
            name += "_"
        return name

    def encode_inputs(self, table: pa.Table) -> EncodedInputs:
        """Rows as arrays by port. For tables that fit memory; `Dataset` calls it chunk by chunk. Raises BadInput."""
        self.check(table, targets=False)
        encoded = {feature.name: feature.encode(table[feature.name]) for feature in self.inputs}
        return self.join(table, encoded)

    def join(self, table: pa.Table, encoded: Mapping[str, Encoded]) -> EncodedInputs:
        """Encoded input features side by side, by port."""
        vectors = [encoded[feature.name].array for feature in self.inputs if feature.form.kind == "vector"]
        arrays = {ROW: np.concatenate(vectors, axis=1)} if vectors else {}
        for feature in self.inputs:
            if feature.form.kind != "vector":
                arrays[self.port_of(feature)] = encoded[feature.name].array
        bad = {name: one.bad for name, one in encoded.items() if one.bad}
        return EncodedInputs(arrays, bad, self._usable(table, bad))

    def _usable(self, table: pa.Table, bad: Mapping[str, tuple[BadValue, ...]]) -> np.ndarray:
        spoiled = np.zeros(table.num_rows, dtype=bool)
        for values in bad.values():
            spoiled[[value.row for value in values if not value.missing]] = True
        if not spoiled.any():
            return ~spoiled
        known = np.zeros(table.num_rows, dtype=bool)
        for feature in self.inputs:
            present = table[feature.name].is_valid().to_numpy(zero_copy_only=False).copy()
            present[[value.row for value in bad.get(feature.name, ())]] = False
            known |= present
        return ~spoiled | known

    def encode_targets(self, table: pa.Table) -> dict[str, Encoded]:
        """Targets by output."""
        return {feature.name: feature.encode_target(table[feature.name]) for feature in self.outputs}

    def encode_weights(self, table: pa.Table) -> Encoded | None:
        """Weights of rows, float32 [N]; None if all count the same. A weight must be a positive number."""
        if self.weights is None:
            return None
        found, _ = numbers(table[self.weights])
        wrong = np.flatnonzero(~(found > 0))
        bad = [BadValue(int(i), str(found[i]), "the weight is not a positive number") for i in wrong]
        return Encoded(np.nan_to_num(found).clip(0).astype(np.float32), tuple(bad))

    # Problem files -----------------------------------------------------------------------------------------------
    @classmethod
    def load(cls, path: str | Path) -> Problem:
        """A problem from a JSON or TOML file. Raises BadInput naming the file and the field."""
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8-sig")
            return cls.model_validate(tomllib.loads(text) if path.suffix.lower() == ".toml" else loads(text))
        except ValidationError as error:
            raise _bad_field(error, file=path) from None
        except OSError as error:
            raise BadInput(f"cannot be read: {error.strerror}", file=path) from None
        except (ValueError, RecursionError) as error:
            raise BadInput(f"is not a problem file: {error}", file=path, remedy="JSON or TOML is expected.") from None

    def save(self, path: str | Path) -> None:
        """Write as TOML if the name ends so, else as canonical JSON."""
        path = Path(path)
        data = self.model_dump(mode="json", exclude_defaults=True)
        for role in ("inputs", "outputs"):
            described = [feature.model_dump(mode="json", exclude_defaults=True) for feature in getattr(self, role)]
            data[role] = [
                {"type": feature.type, **one} for feature, one in zip(getattr(self, role), described, strict=True)
            ]
        path.write_text(
            _toml.text(data) if path.suffix.lower() == ".toml" else canonical(data) + "\n", encoding="utf-8"
        )


def _take(column: pa.ChunkedArray, indices: np.ndarray) -> pa.ChunkedArray:
    """The rows at sorted `indices`; the column itself where that is all of them."""
    return column if len(indices) == len(column) else take(column, indices)


def _spread(indices: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of sorted indices, evenly spread."""
    if len(indices) <= most:
        return indices
    return np.asarray(indices[np.linspace(0, len(indices) - 1, most).astype(np.int64)])


def _constant_scores(output: Feature, target: np.ndarray) -> dict[str, float]:
    """Scores of the best constant, where they are defined."""
    known = target[output.known(target)]
    sample = _spread(np.arange(len(known)), 20_000)  # raw predictions are as wide as there are classes
    prediction = np.broadcast_to(output.constant(target), (len(sample), output.head_width))
    if type(output).kept is not Feature.kept:
        import torch

        constant = torch.from_numpy(output.constant(target)).expand(len(sample), -1)
        prediction = output.kept(constant, torch.from_numpy(known[sample])).numpy()
    found = output.scores(prediction, known[sample])
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _bad_field(error: ValidationError, *, file: Path | None = None) -> BadInput:
    """The first thing wrong, by the name of its field."""
    field, what, _ = first_fault(error)
    more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return BadInput(f"field {field}: {what}{more}" if field else f"{what}{more}", file=file)
