"""What is said of a found cell: its graph, LSTM and GRU beside it, what recurs, what each node is worth."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from ..model.cells import GRU, LSTM, Cell, Node, parse_cell
from ..model.cells.simplify import behaviour, simplified
from ..model.cells.words import SIGNS, formula, formulas
from ..search import Entry
from ..spec import BadInput, canonical, loads
from ..store import Store
from .corpus import MANUAL, MANUAL_WORDS, PROGRAMS, corpus
from .found import Inventions, Section, entries, furthest
from .language import Trial, attempt
from .plan import workers

JUDGES: Mapping[str, Trial] = {
    PROGRAMS: Trial(parameters=60_000, steps=500, rates=(6e-3, 1.2e-2), seeds=(21, 22, 23)),
    MANUAL_WORDS: Trial(parameters=250_000, steps=250, length=40, rates=(6e-3, 1.2e-2), seeds=(21, 22, 23)),
}
"""Text that no search has seen -> how cells are trained on it."""
ABLATED = Trial(parameters=40_000, steps=180, rates=(2e-2,), seeds=(31, 32))
"""How a cell with one node left out is trained, on the text of the search."""
MOST_RECURRING, FEW_BEST, LEAST = 12, 50, 3


def answered(text: str) -> str:
    """A worker's job, JSON to JSON: one cell on one text."""
    import torch

    torch.set_num_threads(1)
    request = loads(text)
    trial = Trial.model_validate(request["trial"])
    tried = attempt(parse_cell(request["part"]), trial, corpus(request["text"]), parts=("held", "judged"))
    judged = tried.judged[tried.best_rate]
    told = {"width": tried.width, "parameters": tried.parameters, "seconds": tried.seconds / tried.steps}
    return canonical({**told, "bits": [float(one) if math.isfinite(one) else None for one in judged]})


def cell_report(store: Store, found: Inventions, *, lanes: int) -> list[Section]:
    """The sections about the best cell of a search; trains it beside LSTM and GRU, whole and part by part."""
    assert found.best is not None
    best = parse_cell(found.best.expression)
    contenders = {"lstm": LSTM, "gru": GRU, "found": best}
    less = ablations(best)
    asked = [(name, text, cell, trial) for text, trial in JUDGES.items() for name, cell in contenders.items()]
    asked += [(name, MANUAL, cell, ABLATED) for name, cell in [("nothing", best), *less]]
    engine = workers(answered, lanes=lanes)
    try:
        futures = [
            engine.submit(
                canonical({"part": cell.model_dump(mode="json"), "text": text, "trial": trial.model_dump(mode="json")})
            )
            for _, text, cell, trial in asked
        ]
        outcomes = [loads(future.result()) for future in futures]
    finally:
        engine.close()
    count = len(JUDGES) * len(contenders)
    judged = [(text, name, outcome) for (name, text, *_), outcome in zip(asked[:count], outcomes, strict=False)]
    parts = [(name, cell, outcome) for (name, _, cell, _), outcome in zip(asked[count:], outcomes[count:], strict=True)]
    return [_graph(best), _beside(judged), _recurring(entries(store, found.search)), _worth(parts)]


def _graph(cell: Cell) -> Section:
    said = (
        "W and U map x and the last h (every sum with one of them has a bias); c is the memory of the last step. "
        + "; ".join(formulas(cell))
        + "."
    )
    return Section("The cell", said, boxes=boxes(cell))


def boxes(cell: Cell) -> dict[str, tuple[tuple[str, ...], tuple[str, ...], str]]:
    """The graph as boxes: name -> words, what it takes, and "port" for what goes in or "out" for what comes out."""
    sources = {name: said for name, said in (("x", "input"), ("h", "last state"), ("c", "last memory"))}
    taken = {name for node in cell.nodes for name in node.inputs}
    made: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
        name: ((name, said), (), "port") for name, said in sources.items() if name in taken
    }
    for node in cell.ordered:
        kind = "out" if node.name in (cell.hidden, cell.memory) else ""
        what = f"map of {' and '.join(node.inputs)}" if node.operation == "linear" else node.operation
        words = (what, {cell.hidden: "h_t", cell.memory: "c_t"}.get(node.name, ""))
        made[node.name] = (words, tuple(dict.fromkeys(node.inputs)), kind)
    return made


def _beside(judged: Sequence[tuple[str, str, Mapping[str, Any]]]) -> Section:
    rows = []
    for text in JUDGES:
        own = {name: outcome for where, name, outcome in judged if where == text}
        mean = {name: _mean(outcome) for name, outcome in own.items()}
        for name, outcome in own.items():
            over = mean[name] / min(mean["lstm"], mean["gru"])
            size = [f"{outcome['parameters']:,}", str(outcome["width"]), f"{1000 * outcome['seconds']:.1f}"]
            rows.append([f"{text}: {name}", *size, f"{mean[name]:.4f}", f"{over:.4f}"])
    said = (
        "Bits per symbol on held-out parts of texts that the search has not seen: equal parameters, equal steps, the "
        "better of two learning rates, mean of three seeds. The last column: over the better of LSTM and GRU."
    )
    head = ["text and cell", "parameters", "width", "ms per step", "bits", "over the better"]
    return Section("Judged beside LSTM and GRU", said, head, rows)


def _mean(outcome: Mapping[str, Any]) -> float:
    return statistics.fmean(math.inf if one is None else one for one in outcome["bits"])


def _worth(parts: Sequence[tuple[str, Cell, Mapping[str, Any]]]) -> Section:
    whole = _mean(parts[0][2])
    rows = [
        [name, formula(cell), f"{_mean(outcome):.4f}", f"{_mean(outcome) - whole:+.4f}"]
        for name, cell, outcome in parts
    ]
    said = (
        f"The cell with one node replaced by one of its inputs, {ABLATED.steps} steps on the text of the search with "
        "other seeds. Bits per character: what rises most was worth most."
    )
    return Section("What each node is worth", said, ["left out", "what remains", "bits", "change"], rows)


def ablations(cell: Cell) -> list[tuple[str, Cell]]:
    """The cell with one node replaced by one of its inputs, in every way that leaves another cell."""
    found: dict[str, tuple[str, Cell]] = {}
    for node in cell.ordered:
        for taken in dict.fromkeys(node.inputs) if node.operation != "linear" else ():
            nodes = [
                Node(name=one.name, operation="identity", inputs=(taken,)) if one.name == node.name else one
                for one in cell.ordered
            ]
            try:
                remains = simplified(nodes, hidden=cell.hidden, memory=cell.memory)
            except BadInput:
                continue
            name = f"{motif(cell, node.name)}, {motif(cell, taken, depth=1)} kept"
            found.setdefault(behaviour(remains), (name, remains))
    found.pop(behaviour(cell), None)
    return list(found.values())


def motif(cell: Cell, name: str, *, depth: int = 3) -> str:
    """What stands at a node and so many nodes below it, whatever the numbers of maps: `sigmoid(Wx + Uh) * c`."""
    node = cell.by_name.get(name)
    if node is None:
        return name
    if node.operation == "linear":
        return " + ".join(f"{'W' if one == 'x' else 'U'}{one}" for one in node.inputs)
    if depth == 0:
        return "..."
    given = [motif(cell, one, depth=depth - 1) for one in node.inputs]
    if node.operation in SIGNS:
        if node.operation != "subtract":
            given.sort()
        return f" {SIGNS[node.operation]} ".join(f"({one})" if _is_sum(one) else one for one in given)
    return given[0] if node.operation == "identity" else f"{node.operation}({given[0]})"


def _is_sum(words: str) -> bool:
    """Whether an operation stands outside all brackets."""
    level = 0
    for before, letter in pairwise(words):
        level += (before == "(") - (before == ")")
        if level == 0 and before == " " and letter in "+-*":
            return True
    return False


def motifs(cell: Cell) -> set[str]:
    """All that stands at its nodes, to a depth of 2 and 3; single activations of maps say nothing."""
    found = {motif(cell, node.name, depth=depth) for node in cell.nodes for depth in (2, 3)}
    return {one for one in found if "..." not in one and _is_sum(one) and one.count("(") > 0}


def _recurring(tried: Sequence[Entry]) -> Section:
    held = [motifs(parse_cell(one.request["part"])) for one in furthest(tried)]
    few = min(FEW_BEST, max(len(held) // 4, 1))
    best, every = Counter(m for one in held[:few] for m in one), Counter(m for one in held for m in one)
    lift = {one: (count / few) / (every[one] / len(held)) for one, count in best.items() if count >= LEAST}
    order = sorted(lift, key=lambda one: (-best[one] * math.log(max(lift[one], 1.0)), one))
    rows = [[one, str(best[one]), str(every[one]), f"{lift[one]:.1f}"] for one in order[:MOST_RECURRING]]
    said = f"Parts that more of the best {few} cells hold than of all {len(held):,} that trained."
    return Section("What recurs among the best", said, ["part", "of the best", "of all", "times as often"], rows)
