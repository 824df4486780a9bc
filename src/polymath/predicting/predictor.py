"""A task made ready to answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..problem import Problem
from ..spec import BadInput, Json
from .answers import by_row, forward, said
from .records import TaskRecord

if TYPE_CHECKING:
    import pyarrow as pa

    from ..model.build import PathModule
    from ..model.decode.settings import Decoding
    from ..model.path import Path
    from ..problem import Feature
    from ..store import Store

CHUNK_ROWS = 4096
"""Rows that are encoded and predicted at a time: bounds the memory of a prediction over a large file."""
CHUNK_PICTURES = 64
"""... and pictures at their own size, which may be large."""


@dataclass(frozen=True)
class Predicted:
    """Raw predictions per output for the rows that could be used, and what could not."""

    rows: np.ndarray
    """Numbers of the rows that were predicted."""
    raw: dict[str, np.ndarray]
    bad: dict[int, str]
    """Row number -> why it could not be predicted."""


class Predictor:
    """A task made ready to answer: its path is built once and kept."""

    def __init__(self, record: TaskRecord, store: Store, *, device: str = "cpu") -> None:
        from ..model.layers import parse_layer
        from ..model.path import Path

        self.record = record
        self.problem = Problem.model_validate(record.problem)
        for gene in record.path["genes"]:
            parse_layer(gene["layer"])  # says what to do when a layer is the user's own; a path would wrap its words
        self.path: Path = Path.model_validate(record.path)
        self.device = device
        self._store = store

    @cached_property
    def module(self) -> PathModule:
        """The path as it computes, built when it is first asked."""
        from ..model.build import build

        fetch = partial(self._store.get_tensors, finite=True)
        module = build(self.path, self.problem.all_ports, fetch=fetch).eval()
        return module.to(self.device)

    @cached_property
    def writer(self) -> PathModule:
        """The path as it writes texts, laid out for the processor once."""
        from ..model.decode import packed

        return packed(self.module) if self.writes and self.device == "cpu" else self.module

    @cached_property
    def integer_writer(self) -> PathModule:
        """The path as it writes texts in 8-bit integers, brought into them once."""
        from ..model.decode import in_integers

        return in_integers(self.module) if self.device == "cpu" else self.module

    @property
    def of_pixels(self) -> bool:
        """Whether an output is answered at every pixel: pictures are then looked at one by one, at their own size."""
        return any(output.answer.kind == "map" for output in self.problem.outputs)

    @cached_property
    def gate(self) -> Predictor | None:
        """The task that is asked first."""
        gate = self.record.gate
        if gate is None:
            return None
        return Predictor(TaskRecord.model_validate(gate.record), self._store, device=self.device)

    def opened(self, table: pa.Table) -> np.ndarray:
        """Numbers of the rows that the gate lets through; all where there is none."""
        if self.gate is None:
            return np.arange(len(table))
        assert self.record.gate is not None
        self.problem.check(table, targets=False)
        asked = (answer for chunk in self.gate.predict(table) for answer in chunk)
        return np.flatnonzero([self.record.gate.opens(answer) for answer in asked])

    @property
    def writes(self) -> bool:
        """Whether an output is a text, written token by token."""
        return any(output.answer.kind == "tokens" for output in self.problem.outputs)

    def decoding(self, settings: Mapping[str, Any]) -> Decoding | None:
        """How texts are looked for, by settings of `Decoding`. Raises BadInput."""
        if not settings:
            return None
        from ..model.decode import Decoding

        if not self.writes:
            remedy = "Leave out how texts are looked for."
            raise BadInput("this task writes no text", value=next(iter(settings)), remedy=remedy)
        return Decoding.wished(settings)

    def predict(self, table: pa.Table, *, decoding: Decoding | None = None) -> Iterator[list[dict[str, Json]]]:
        """Chunks of answers, per row a dictionary output -> {value, ...}; {"error": why} where it cannot be used.

        {"gated": true, "by": task} where the gate says no: nothing but the gate was computed there.
        `decoding`: how texts are looked for; None = as the task has it.
        """
        if self.record.gate is None:
            yield from self._predict(table, decoding)
            return
        for begin in range(0, len(table), CHUNK_ROWS):
            chunk = table.slice(begin, CHUNK_ROWS)
            rows = self.opened(chunk)
            result: list[dict[str, Json]] = [{"gated": True, "by": self.record.gate.task} for _ in range(len(chunk))]
            answers = (answer for part in self._predict(chunk.take(rows), decoding) for answer in part)
            for row, answer in zip(rows.tolist(), answers, strict=True):
                result[row] = answer
            yield result

    def stream(self, table: pa.Table, *, decoding: Decoding | None = None) -> Iterator[str]:
        """The text written about the first row, as far as it is written, after each token. Raises BadInput.

        Nothing where the gate says no.
        """
        from ..model.decode import stream
        from ..problem.features import Text

        row = table.slice(0, 1)
        if not len(self.opened(row)):
            return
        feature = next((one for one in self.problem.outputs if isinstance(one, Text)), None)
        rows, inputs, bad = self.encode(row)
        if feature is None or not len(rows):
            raise BadInput(
                "nothing can be written about it", value=bad.get(0), remedy="Give one row to a task of texts."
            )
        yield from stream(self.writer, feature, inputs, decoding, device=self.device)

    def _predict(self, table: pa.Table, decoding: Decoding | None = None) -> Iterator[list[dict[str, Json]]]:
        """Answers for all rows, whatever a gate says."""
        size = CHUNK_PICTURES if self.of_pixels else CHUNK_ROWS
        for begin in range(0, max(len(table), 1), size):
            chunk = table.slice(begin, size)
            if len(chunk) and self.of_pixels:
                from ..model.decode.tiles import answer_pixels

                self.problem.check(chunk, targets=False)
                how = self.record.calibration
                rows, found, bad = answer_pixels(self.module, self.problem, chunk, calibration=how, device=self.device)
                yield by_row(found, rows, bad, count=len(chunk))
            elif len(chunk):
                rows, inputs, bad = self.encode(chunk)
                how = self.record.calibration
                module = self.integer_writer if decoding is not None and decoding.integers else self.writer
                found = said(module, self.problem, inputs, calibration=how, device=self.device, decoding=decoding)
                yield by_row(found, rows, bad, count=len(chunk))

    def raw(self, table: pa.Table) -> Predicted:
        """Raw predictions of all rows that can be used."""
        rows, inputs, bad = self.encode(table)
        return Predicted(rows, forward(self.module, inputs, device=self.device), bad)

    def judged(self, table: pa.Table, features: Sequence[Feature]) -> tuple[Predicted, dict[str, np.ndarray]]:
        """What is kept of raw predictions of rows whose truth is known for some outputs, and the encoded truth."""
        rows, inputs, bad = self.encode(table)
        targets = {one.name: one.encode_target(table[one.name]).array[rows] for one in features}
        inputs |= {self.problem.answer_port(one): targets[one.name] for one in features if one.shown is not None}
        truth = {one.name: (one, targets[one.name]) for one in features}
        return Predicted(rows, forward(self.module, inputs, device=self.device, truth=truth), bad), targets

    def encode(self, table: pa.Table) -> tuple[np.ndarray, dict[str, np.ndarray], dict[int, str]]:
        """Numbers of the rows that can be used, their arrays by port, and why others cannot be used."""
        encoded = self.problem.encode_inputs(table)
        rows = np.flatnonzero(encoded.usable)
        inputs = {port: array[rows] for port, array in encoded.arrays.items()}
        bad = {
            value.row: f"{column}: {value.value}: {value.reason}" if value.value else f"{column}: {value.reason}"
            for column, values in encoded.bad.items()
            for value in values
            if not encoded.usable[value.row]
        }
        return rows, inputs, bad


def bring(layers: Sequence[str]) -> tuple[str, ...]:
    """Makes the user's own layers known, each `package.module:ClassName`; gives their kinds. Raises BadInput."""
    from ..model.layers import bring

    return bring(layers) if layers else ()
