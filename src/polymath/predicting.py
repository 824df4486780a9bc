"""Predict with a stored task: loads no search and no training, and touches only the weights of the task's own path."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from pydantic import Field

from .gating import Gate
from .problem import Problem
from .spec import BadInput, Json, Spec

if TYPE_CHECKING:
    import pyarrow as pa

    from .model.build import PathModule
    from .model.decode.settings import Decoding
    from .model.path import Path
    from .problem import Dataset, Feature
    from .store import Store

CHUNK_ROWS = 4096
"""Rows that are encoded and predicted at a time: bounds the memory of a prediction over a large file."""
CHUNK_PICTURES = 64
"""... and pictures at their own size, which may be large."""
BATCH = 256
BATCH_PIXELS = 400_000
"""Pixels of the pictures of a batch where every pixel is answered."""
KIND = "task"
HEAD = "task/"


class Summary(Spec):
    """What learning a task took and gave, as `learn --json` prints it."""

    metric: str
    greater_is_better: bool
    validation: float | None
    test: float | None
    interval: tuple[float, float] | None
    """95 % confidence interval of the test score (bootstrap over test rows)."""
    seconds: float
    work: float
    experiments: int
    failed: int
    rows_used: int
    rows_unused: int
    parameters: int
    parameters_new: int | None = None
    """Of them those that no earlier task of the store had; the rest is shared."""
    result_digest: str
    """Equal for equal results: path with weights, calibration and scores; no times."""


class TaskRecord(Spec):
    """A learned problem as it stands in the store. Immutable; learning on writes a new record."""

    name: str
    state: Literal["learning", "stopped", "done"]
    problem: dict[str, Any]
    """The measured Problem."""
    path: dict[str, Any]
    """The Path with the addresses of its weights."""
    calibration: dict[str, dict[str, Any]]
    """Output -> what makes its answers honest."""
    summary: Summary
    scores: dict[str, dict[str, dict[str, float | None]]]
    """Split -> output -> metric -> value."""
    members: tuple[dict[str, Any], ...] = ()
    """Experiments in the path: number, label, weight."""
    origin: dict[str, Any] = Field(default_factory=dict)
    """Source, its fingerprint, seed, budget, versions, device: where it came from."""
    unused: tuple[dict[str, Any], ...] = ()
    """Rows that were not used: reason, count and an example."""
    private: bool = False
    """Other tasks may not build upon it."""
    built_on: tuple[str, ...] = ()
    """Tasks whose genes are part of its path, as they are or trained on; imports as `imported/NAME`."""
    imported: tuple[str, ...] = ()
    """Knowledge from outside that it holds, or that what it builds on holds."""
    gate: Gate | None = None
    """The task that is asked first; None = every row is answered."""
    evidence: str | None = None
    """Address of answers beside the truth for the test rows (validation rows where there is no test): `row` [N] indices
    into the dataset, `output/NAME` raw [N, W], `target/NAME`. No inputs. None while learning."""


def load_record(store: Store, name: str) -> TaskRecord:
    """The newest record of a task. Raises BadInput naming near names when there is none."""
    address = store.head(HEAD + name)
    if address is None:
        import difflib

        known = sorted(head.removeprefix(HEAD) for head in store.heads(HEAD))
        near = difflib.get_close_matches(name, known, 3, 0.5)
        remedy = f"Did you mean {', '.join(near)}?" if near else f"Known tasks: {', '.join(known) or 'none yet'}."
        raise BadInput("this store holds no such task", file=store.path, value=name, remedy=remedy)
    return TaskRecord.model_validate(store.record(address))


def versions(store: Store, name: str) -> dict[int, str]:
    """Version number -> address of every version of a task that was learned to an end, the oldest first, from 1."""
    records = store.records(KIND, where={"name": name})
    return dict(enumerate((address for address, body in records if body.get("state") != "learning"), 1))


def load_version(store: Store, name: str, version: int) -> TaskRecord:
    """An earlier version of a task. Raises BadInput if there is none of this number."""
    known = versions(store, name)
    if version not in known:
        load_record(store, name)  # says when the task itself is unknown
        numbers = ", ".join(map(str, known)) or "none"
        raise BadInput(f"task {name!r} has no such version", value=version, remedy=f"There are: {numbers}.")
    return TaskRecord.model_validate(store.record(known[version]))


def rollback(store: Store, name: str, version: int | None = None) -> int:
    """Makes an earlier version the one in force (None: the one before it) and returns its number. Raises BadInput."""
    known = versions(store, name)
    current = next((number for number, address in known.items() if address == store.head(HEAD + name)), len(known) + 1)
    wanted = version if version is not None else current - 1
    load_version(store, name, wanted)
    store.set_head(HEAD + name, known[wanted])
    return wanted


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
        from .model.layers import parse_layer
        from .model.path import Path

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
        from .model.build import build

        fetch = partial(self._store.get_tensors, finite=True)
        module = build(self.path, self.problem.all_ports, fetch=fetch).eval()
        return module.to(self.device)

    @cached_property
    def writer(self) -> PathModule:
        """The path as it writes texts, laid out for the processor once."""
        from .model.decode import packed

        return packed(self.module) if self.writes and self.device == "cpu" else self.module

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
        from .model.decode import Decoding

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
        """The text written about the first row, as far as it is written, after each token. Raises BadInput."""
        from .model.decode import stream
        from .problem.features import Text

        feature = next((one for one in self.problem.outputs if isinstance(one, Text)), None)
        rows, inputs, bad = self.encode(table.slice(0, 1))
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
                from .model.decode.tiles import answer_pixels

                self.problem.check(chunk, targets=False)
                how = self.record.calibration
                rows, found, bad = answer_pixels(self.module, self.problem, chunk, calibration=how, device=self.device)
                yield by_row(found, rows, bad, count=len(chunk))
            elif len(chunk):
                rows, inputs, bad = self.encode(chunk)
                how = self.record.calibration
                module = self.module if decoding is not None and decoding.integers else self.writer
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


def by_row(
    found: Mapping[str, Sequence[Mapping[str, Json]]], rows: np.ndarray, bad: Mapping[int, str], *, count: int
) -> list[dict[str, Json]]:
    """An answer for each of `count` rows, from those of the rows that could be used; {"error": why} for the others."""
    result: list[dict[str, Json]] = [{"error": bad.get(row, "cannot be used")} for row in range(count)]
    for place, row in enumerate(rows.tolist()):
        result[row] = {output: dict(answers[place]) for output, answers in found.items()}
    return result


def said(
    module: PathModule,
    problem: Problem,
    inputs: Mapping[str, np.ndarray],
    *,
    calibration: Mapping[str, Mapping[str, Any]],
    device: str = "cpu",
    decoding: Decoding | None = None,
) -> dict[str, list[dict[str, Json]]]:
    """Output -> what is said about every row of encoded inputs: {value, ...}; `decoding`: how texts are looked for."""
    found: dict[str, list[dict[str, Json]]] = {}
    if any(not feature.generated for feature in problem.outputs):
        raw = forward(module, inputs, device=device)
    for feature in problem.outputs:
        how = calibration.get(feature.name, {})
        if feature.type == "reply":
            from .model.replies import answer_replies

            found[feature.name] = answer_replies(module, feature, inputs, how, device=device)
        elif feature.generated:
            from .model.decode import generate

            found[feature.name] = generate(module, problem, feature, inputs, how, device=device, decoding=decoding)
        else:
            found[feature.name] = feature.decode(raw[feature.name], how)
    return found


def bring(layers: Sequence[str]) -> tuple[str, ...]:
    """Makes the user's own layers known, each `package.module:ClassName`; gives their kinds. Raises BadInput."""
    from .model.layers import bring

    return bring(layers) if layers else ()


Truth: TypeAlias = Mapping[str, "tuple[Feature, np.ndarray]"]
"""Output -> its feature and the encoded targets of the rows at hand."""


def truth_of(dataset: Dataset, rows: np.ndarray) -> Truth:
    """The truth about some rows of a dataset."""
    return {one.name: (one, np.asarray(dataset.targets[one.name][rows])) for one in dataset.problem.outputs}


def forward(
    module: PathModule, inputs: Mapping[str, np.ndarray], *, device: str = "cpu", truth: Truth | None = None
) -> dict[str, np.ndarray]:
    """Raw predictions {output: [N, ...]} of a path in eval mode, batch by batch; with `truth`, what is kept of them."""
    import torch

    count = len(next(iter(inputs.values()))) if inputs else 0
    parts: dict[str, list[np.ndarray]] = {name: [] for name in module.outputs}
    size = batch_size(module)
    with torch.inference_mode():
        for begin in range(0, count, size):
            batch = {
                port: torch.from_numpy(np.ascontiguousarray(array[begin : begin + size])).to(device)
                for port, array in inputs.items()
                if port in module.ports
            }
            for name, value in module(batch).items():
                if truth is not None and name in truth:
                    feature, targets = truth[name]
                    value = feature.kept(value.float(), torch.from_numpy(targets[begin : begin + size]).to(device))
                parts[name].append(value.float().cpu().numpy())
    return {name: np.concatenate(part) if part else np.zeros((0, 1), np.float32) for name, part in parts.items()}


def batch_size(module: PathModule) -> int:
    """Rows that are predicted at a time: fewer where pictures are large."""
    pixels = max((math.prod(form.size) for form in module.ports.values() if form.kind == "map"), default=1)
    return max(1, min(BATCH, BATCH_PIXELS // pixels)) if pixels > 96 * 96 else BATCH
