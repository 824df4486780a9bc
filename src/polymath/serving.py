"""Many tasks answered together: what they share is held once and computed once. Loads no search and no training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from .model.together import Together
from .predicting import BATCH, HEAD, Predictor, by_row, load_record
from .problem import Problem
from .spec import BadInput, Json, canonical

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

    from .store import Store


class Serving:
    """Tasks made ready to answer mixed requests, each when it is first asked, and again when a new version is in force.

    One thread at a time.
    """

    def __init__(self, store: Store, *, device: str = "cpu") -> None:
        self._store, self._device = store, device
        self._together = Together(partial(store.get_tensors, finite=True), device=device)
        self._ready: dict[str, tuple[str, Predictor]] = {}
        self._looked: dict[str, tuple[int, ...]] = {}
        self._encodings: dict[str, str] = {}

    @property
    def num_bytes(self) -> int:
        """Of the weights held, each once."""
        return self._together.num_bytes

    def problem(self, name: str) -> Problem:
        """What a task reads and gives; the task is then ready. Raises BadInput if there is none of this name."""
        return self._predictor(name).problem

    def drop(self, name: str) -> None:
        """Lets a task go, and the weights that only it used."""
        self._together.drop(name)
        self._ready.pop(name, None)
        self._encodings.pop(name, None)
        self._looked.pop(name, None)

    def predict(self, requests: Sequence[tuple[str, pa.Table]]) -> list[list[dict[str, Json]]]:
        """For each request, the name of a task and rows, its answers as `Predictor.predict` gives them.

        Rows of all requests are computed together, at most `BATCH` at a time: see `Together` for how closely answers
        agree with those of each task alone. A request that cannot be used costs the others nothing: its rows say why.
        """
        found: list[list[dict[str, Json]]] = [[] for _ in requests]
        groups: dict[tuple[object, ...], list[int]] = {}
        for number in self._ordered(requests, found):
            name, table = requests[number]
            predictor = self._ready[name][1]
            problem = predictor.problem
            try:
                problem.check(table, targets=False)
                if name not in self._together:
                    found[number] = [answer for chunk in predictor.predict(table) for answer in chunk]
                    continue
            except BadInput as error:
                found[number] = [{"error": str(error)} for _ in range(len(table))]
                continue
            if name not in self._encodings:
                self._encodings[name] = _encoding(problem)
            types = tuple(table.schema.field(column).type for column in problem.columns)
            groups.setdefault((self._encodings[name], types), []).append(number)
        waiting: list[_Piece] = []
        count = 0
        for numbers in groups.values():
            for piece in self._pieces(requests, numbers):
                count += len(piece.rows)
                if count > BATCH:
                    self._answer(waiting, found)
                    waiting, count = [], len(piece.rows)
                waiting.append(piece)
        self._answer(waiting, found)
        return found

    def _ordered(self, requests: Sequence[tuple[str, pa.Table]], found: list[list[dict[str, Json]]]) -> list[int]:
        """Requests to tasks that are there, beside those whose paths begin alike; the others are answered here."""
        places: dict[str, tuple[int, ...]] = {}
        wrong: dict[str, str] = {}
        for name in {name for name, _ in requests}:
            try:
                self._predictor(name)
                places[name] = self._together.nodes(name) if name in self._together else ()
            except BadInput as error:
                wrong[name] = str(error)
        for number, (name, table) in enumerate(requests):
            if name in wrong:
                found[number] = [{"error": wrong[name]} for _ in range(len(table))]
        return sorted(
            (number for number, (name, _) in enumerate(requests) if name in places),
            key=lambda number: places[requests[number][0]],
        )

    def _pieces(self, requests: Sequence[tuple[str, pa.Table]], numbers: Sequence[int]) -> Iterator[_Piece]:
        """Rows of requests that are encoded alike, encoded together, `BATCH` at a time, and parted again."""
        import pyarrow as pa

        predictor = self._ready[requests[numbers[0]][0]][1]
        owners = np.repeat(numbers, [len(requests[number][1]) for number in numbers])
        parts = [requests[number][1].select(predictor.problem.columns) for number in numbers]
        whole = pa.concat_tables(parts, promote_options="default")  # of tables some say that nothing is missing
        for begin in range(0, len(whole), BATCH):
            mine = owners[begin : begin + BATCH]
            rows, inputs, bad = predictor.encode(whole.slice(begin, BATCH))
            starts = [0, *(np.flatnonzero(np.diff(mine)) + 1).tolist(), len(mine)]
            for start, end in pairwise(starts):
                chosen = slice(*np.searchsorted(rows, [start, end]))
                own = {port: array[chosen] for port, array in inputs.items()}
                why = {row - start: reason for row, reason in bad.items() if start <= row < end}
                number = int(mine[start])
                yield _Piece(number, requests[number][0], end - start, rows[chosen] - start, own, why)

    def _predictor(self, name: str) -> Predictor:
        version = self._store.version()
        if version is not None and self._looked.get(name) == version:
            return self._ready[name][1]
        address = self._store.head(HEAD + name)
        if name not in self._ready or self._ready[name][0] != address:
            self.drop(name)
            predictor = Predictor(load_record(self._store, name), self._store, device=self._device)
            if _is_one_pass(predictor):
                self._together.add(name, predictor.path, predictor.problem.ports)
            self._ready[name] = str(address), predictor
        if version is not None:
            self._looked[name] = version
        return self._ready[name][1]

    def _answer(self, pieces: Sequence[_Piece], found: list[list[dict[str, Json]]]) -> None:
        """Computes a mixed batch and hands the answers to their requests."""
        asked: dict[str, list[_Piece]] = {}
        for piece in pieces:
            asked.setdefault(piece.name, []).append(piece)
        inputs = {name: _joined(own) for name, own in asked.items()}
        raw = self._together({name: one for name, one in inputs.items() if len(next(iter(one.values())))})
        for name, own in asked.items():
            told = self._told(name, raw[name]) if name in raw else {}
            begin = 0
            for one in own:
                end = begin + len(one.rows)
                mine = {output: answers[begin:end] for output, answers in told.items()}
                found[one.number] += by_row(mine, one.rows, one.bad, count=one.count)
                begin = end

    def _told(self, name: str, raw: Mapping[str, Tensor]) -> dict[str, list[dict[str, Json]]]:
        """Output -> what a task says about each row."""
        predictor = self._ready[name][1]
        calibration = predictor.record.calibration
        return {
            feature.name: feature.decode(raw[feature.name].float().cpu().numpy(), calibration.get(feature.name, {}))
            for feature in predictor.problem.outputs
        }


@dataclass(frozen=True)
class _Piece:
    """Some rows of one request, ready to be computed."""

    number: int
    """Of the request."""
    name: str
    count: int
    """Rows that were asked; `rows` are those that can be used."""
    rows: np.ndarray
    inputs: dict[str, np.ndarray]
    bad: dict[int, str]


def _is_one_pass(predictor: Predictor) -> bool:
    """Whether a task's answers come of one pass through its path; else it answers by itself: written texts, replies,
    maps at the size of the pictures, what another task must let through."""
    generated = any(output.generated for output in predictor.problem.outputs)
    return not (generated or predictor.of_pixels or predictor.record.gate is not None)


def _encoding(problem: Problem) -> str:
    """Equal for problems whose rows become the same arrays: statistics of pictures are for layers, not for that."""
    return canonical(
        [
            one.model_dump(mode="json", exclude={"mean", "deviation"} if one.encoded_once else None)
            for one in problem.inputs
        ]
    )


def _joined(pieces: Sequence[_Piece]) -> dict[str, np.ndarray]:
    """The rows of one task by port."""
    if len(pieces) == 1:
        return pieces[0].inputs
    return {port: np.concatenate([one.inputs[port] for one in pieces]) for port in pieces[0].inputs}
