"""The search for recurrent cells: language models of equal size, on ever more steps, LSTM and GRU always beside.

Every cell gets the width at which the whole model has the same number of parameters, and two learning rates. A rung
trains from the beginning, so that each has its own warm-up and decay, and no two are compared at different places of a
schedule. The last rung has three fresh seeds and another held-out text. The score is minus the bits per character.
Cells that people made come first, so that what is drawn later begins with them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..model.cells import Cell, parse_cell
from ..model.cells.simplify import behaviour
from ..model.cells.words import formula
from ..model.cells.words import source as source_of
from ..search import Experiment
from ..search.choices import answering
from ..search.cutters import Cutter, Standing
from ..search.cutters.halving import Halving
from ..search.spaces.cells import KNOWN, AdoptedCell, cells
from ..spec import Json, canonical, loads
from ..store import Store
from . import found as records
from .corpus import MANUAL, corpus
from .corpus import Part as PartOfText
from .found import Invented, Inventions, Order
from .language import Trial, attempt
from .plan import Leaders, Part, PartPlan, clock_of, engine_of, searched

SPACE = "recurrent cells"
VERSION = 4
"""Of text, rungs and score together: results of other versions are not compared."""
BEST = 4
"""One in so many goes on to the next rung."""
HUMAN = ("lstm", "gru")
"""What experiments 0 and 1 are."""
STRESS, STRESSED, STRESSED_STEPS, MOST_STATE = 8.0, 16, 400, 1e4
"""Times the usual size of weights, width and steps of the test for bounds, and what no state may reach in it."""
FULL = 3
"""Rungs that other cells that people made come through whatever they score: short trainings rank gates too low."""


@dataclass(frozen=True)
class Rung:
    """One measurement: a trial and the part of the text that it is scored on."""

    trial: Trial
    part: PartOfText
    work: float
    """In trainings of the first rung."""


def rungs(parameters: int) -> tuple[Rung, ...]:
    """The rungs of a search for cells in models of so many parameters."""
    trial = Trial(parameters=parameters, rates=(6e-3, 2e-2))
    return (
        Rung(trial.replace(steps=100, most_read=20_000), "held", 1.0),
        Rung(trial.replace(steps=300), "held", 3.0),
        Rung(trial.replace(steps=900), "held", 9.0),
        Rung(trial.replace(steps=1800, seeds=(11, 12, 13)), "judged", 54.0),
    )


# In the workers ---------------------------------------------------------------------------------------------------
def answered(text: str) -> str:
    """A worker's job, JSON to JSON: one rung of one cell."""
    import torch

    torch.set_num_threads(1)
    request = loads(text)
    begin = time.monotonic()
    rung = rungs(request["parameters"])[request["rung"]]
    outcome = measured(parse_cell(request["part"]), rung, source=request["text"])
    return canonical({**outcome, "work": rung.work, "seconds": round(time.monotonic() - begin, 6)})


def measured(cell: Cell, rung: Rung, *, source: str = MANUAL) -> dict[str, Any]:
    """The outcome of a rung: minus the bits per symbol at the better learning rate, and what else is known of it."""
    if not bounded(cell):
        return {"ok": False, "reason": "died: nothing keeps its state within bounds"}
    tried = attempt(cell, rung.trial, corpus(source), parts=(rung.part,))
    if math.isinf(tried.score):
        return {"ok": False, "reason": "died: the loss is no finite number at any learning rate"}
    return {
        "ok": True,
        "score": round(-tried.score, 6),
        "learning_rate": rung.trial.rates[tried.best_rate],
        "width": tried.width,
        "parameters": tried.parameters,
        "training_seconds": round(tried.seconds, 3),
    }


def bounded(cell: Cell) -> bool:
    """Whether the state of a cell stays small over a long sequence with weights far larger than they begin.

    One that does not may learn well on the text of the search, and then die on another text, with another width or
    another seed: the winner of one search did so in 5 of 12 trainings. LSTM, GRU and their kin stay below 4.
    """
    import torch

    from ..model.cells.module import CellModule

    module = CellModule(cell, STRESSED, STRESSED)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.uniform_(-STRESS * STRESSED**-0.5, STRESS * STRESSED**-0.5, generator=draw)
        out, (_, memory) = module(torch.randn(16, STRESSED_STEPS, STRESSED, generator=draw))
    return bool(out.abs().max() < MOST_STATE) and bool(memory.abs().max() < MOST_STATE)


# In the one process that searches -----------------------------------------------------------------------------------
class KeepingStep(Cutter):
    """The cutter of a search, but nobody goes on before `least` stand there; people's cells go wherever another was.

    `published`: of how many cells that is so for the first `FULL` rungs; LSTM and GRU go to the last.
    """

    name = "keeping step"

    def __init__(self, cutter: Cutter, *, least: int = BEST, published: int = len(HUMAN)) -> None:
        self._cutter, self._least, self._published = cutter, least, published

    def promote(self, standings: Sequence[Standing], *, work_left: float) -> int | None:
        furthest = max((len(one.scores) for one in standings), default=0)
        others = max((len(one.scores) for one in standings if one.number >= len(HUMAN)), default=0)
        for one in standings:
            far = others if one.number < len(HUMAN) else min(others, FULL)
            if one.number < self._published and one.may_go_on and len(one.scores) < far:
                return one.number
        been = [sum(len(one.scores) > rung for one in standings) for rung in range(furthest + 1)]
        waiting = [
            one if one.scores and been[len(one.scores) - 1] >= self._least else replace(one, running=True)
            for one in standings
        ]
        return self._cutter.promote(waiting, work_left=work_left)


def part(parameters: int, source: str) -> Part:
    """The search for cells, as the plan needs it."""

    def describe(cell: Cell) -> Json:
        described: Json = cell.model_dump(mode="json")
        return described

    return Part(
        space=cells,
        describe=describe,
        identify=behaviour,
        label=formula,
        first=tuple(answering(one) for one in KNOWN.values()),
        works=tuple(rung.work for rung in rungs(parameters)),
        settings={"version": VERSION, "parameters": parameters, "text": source},
    )


def search_cell(store: Store | None, order: Order, *, parameters: int = 40_000, source: str = MANUAL) -> Inventions:
    """Searches for recurrent cells; the same call after a kill goes on where it was. Raises BadInput.

    `parameters`: of the language models in which cells are tried. `source`: a file of text; else Python's manual.
    """
    clock = clock_of(order, begin=time.monotonic())
    read = corpus(source)
    order.watcher.say(f"learning {len(read.train):,} {read.unit}s of {read.name}, {parameters:,} parameters each")
    leaders = Leaders(
        store, order, clock, kind="cell", invented=lambda experiment, others: _invented(order.name, experiment, others)
    )
    cutter = KeepingStep(Halving(eta=BEST), published=len(KNOWN))
    plan = PartPlan(part(parameters, source), cutter, most=order.experiments, told=leaders.told)
    engine = engine_of(order, answered)
    try:
        searched(plan, order, engine=engine, clock=clock, store=store, space=SPACE)
    finally:
        engine.close()
        leaders.record()
    return leaders.inventions()


def adopted_cells(store: Store) -> tuple[AdoptedCell, ...]:
    """The cells that a store has adopted, by name: options wherever a net may have a recurrent layer."""
    found = records.adopted(store, "cell")
    return tuple(AdoptedCell(name=name, cell=parse_cell(found[name].expression)) for name in sorted(found))


def cell_as_python(found: Invented) -> str:
    """A cell as one file of plain PyTorch, its class named as the cell is."""
    return source_of(parse_cell(found.expression), found.name.replace("/", "-"))


def _invented(search: str, experiment: Experiment, others: Mapping[int, Experiment]) -> Invented:
    """An experiment as what it invented, with the bits of LSTM and GRU on its last rung if they have seen it."""
    cell: Cell = experiment.sketch.built
    last = experiment.results[-1]
    facts = {name: float(last.outcome[name]) for name in ("learning_rate", "width", "parameters", "training_seconds")}
    facts["bits"] = -last.score
    for number, name in enumerate(HUMAN):
        human = others.get(number)
        if human is not None and not human.failed and len(human.results) >= len(experiment.results):
            facts[f"{name}_bits"] = -human.results[len(experiment.results) - 1].score
    return Invented(
        kind="cell",
        name=f"{search}/{experiment.number}",
        formula=formula(cell),
        score=last.score,
        expression=cell.model_dump(mode="json"),
        identity=behaviour(cell),
        facts=facts,
        rung=len(experiment.results),
    )
