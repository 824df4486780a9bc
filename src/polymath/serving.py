"""Many tasks answered together: what they share is held once and computed once. Loads no search and no training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from .model.together import Together
from .predicting import BATCH, HEAD, Predictor, by_row, load_record, said
from .problem import Problem
from .spec import BadInput, Json

if TYPE_CHECKING:
    import pyarrow as pa

    from .store import Store


class Serving:
    """Tasks made ready to answer mixed requests, each when it is first asked, and again when a new version is in force.

    One thread at a time.
    """

    def __init__(self, store: Store, *, device: str = "cpu") -> None:
        self._store, self._device = store, device
        self._together = Together(partial(store.get_tensors, finite=True), device=device)
        self._ready: dict[str, tuple[str, Predictor]] = {}

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

    def predict(self, requests: Sequence[tuple[str, pa.Table]]) -> list[list[dict[str, Json]]]:
        """For each request, the name of a task and rows, its answers as `Predictor.predict` gives them.

        Rows of all requests are computed together, at most `BATCH` at a time: see `Together` for how closely answers
        agree with those of each task alone. A request that cannot be used costs the others nothing: its rows say why.
        """
        found: list[list[dict[str, Json]]] = [[] for _ in requests]
        waiting: list[_Piece] = []
        for number in sorted(range(len(requests)), key=lambda number: self._place(requests[number][0])):
            name, table = requests[number]
            for begin in range(0, len(table), BATCH):
                chunk = table.slice(begin, BATCH)
                try:
                    if self._predictor(name).record.gate is not None:  # asked first, so in no batch with others
                        found[number] += [one for part in self._predictor(name).predict(chunk) for one in part]
                        continue
                    piece = _Piece(number, name, len(chunk), *self._predictor(name).encode(chunk))
                except BadInput as error:
                    found[number] += [{"error": str(error)} for _ in range(len(chunk))]
                    continue
                if sum(len(one.rows) for one in waiting) + len(piece.rows) > BATCH:
                    self._answer(waiting, found)
                    waiting = []
                waiting.append(piece)
        self._answer(waiting, found)
        return found

    def _predictor(self, name: str) -> Predictor:
        address = self._store.head(HEAD + name)
        if name not in self._ready or self._ready[name][0] != address:
            self.drop(name)
            predictor = Predictor(load_record(self._store, name), self._store, device=self._device)
            if not any(output.generated for output in predictor.problem.outputs):
                self._together.add(name, predictor.path, predictor.problem.ports)
            self._ready[name] = str(address), predictor
        return self._ready[name][1]

    def _place(self, name: str) -> tuple[int, ...]:
        """Where a task stands in a batch: beside those whose paths begin alike."""
        try:
            self._predictor(name)
        except BadInput:  # said in the answers
            return ()
        return self._together.nodes(name) if name in self._together else ()

    def _answer(self, pieces: Sequence[_Piece], found: list[list[dict[str, Json]]]) -> None:
        """Computes a mixed batch and hands the answers to their requests."""
        asked: dict[str, list[_Piece]] = {}
        for piece in pieces:
            asked.setdefault(piece.name, []).append(piece)
        together = {name: _joined(own) for name, own in asked.items() if name in self._together}
        raw = self._together({name: inputs for name, inputs in together.items() if len(next(iter(inputs.values())))})
        for name, own in asked.items():
            predictor, begin = self._ready[name][1], 0
            calibration = predictor.record.calibration
            for one in own:
                end = begin + len(one.rows)
                if not len(one.rows):
                    told = {}
                elif name in raw:
                    told = {
                        feature.name: feature.decode(
                            raw[name][feature.name][begin:end].float().cpu().numpy(), calibration.get(feature.name, {})
                        )
                        for feature in predictor.problem.outputs
                    }
                else:  # an answer that is written word by word
                    told = said(
                        predictor.module,
                        predictor.problem,
                        one.inputs,
                        calibration=calibration,
                        device=self._device,
                    )
                found[one.number] += by_row(told, one.rows, one.bad, count=one.count)
                begin = end


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


def _joined(pieces: Sequence[_Piece]) -> dict[str, np.ndarray]:
    """The rows of one task by port."""
    if len(pieces) == 1:
        return pieces[0].inputs
    return {port: np.concatenate([one.inputs[port] for one in pieces]) for port in pieces[0].inputs}
