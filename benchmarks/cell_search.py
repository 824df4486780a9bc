"""Claim: a searched recurrent cell beats LSTM and GRU of equal parameters and equal seconds, and transfers.

    python benchmarks/cell_search.py [--quick] [--minutes 40] [--seeds 5] [--parts speed texts words icu]

Two searches of the same length, one by the default generator and one at random, on the characters of Python's manual
(searches and jobs that ended are kept in the cache, so the same command goes on). The best cell of each is then trained beside LSTM and GRU on texts
that no search has seen: messages of dialogues by characters, and picture captions by words. Every contender has the
same number of parameters, the same learning rates to choose from on a held-out part, and is judged on the test part of
the source, with seeds of its own. Equal seconds: processor time, as much as the LSTM took for its steps; torch's own
LSTM, whose kernel is quicker, runs as well. Last, stays in intensive care (PhysioNet 2012, train on set a, test on b):
hourly means of 37 measurements, the same net and recipe around each cell. Both searches begin with the cells that people
made; the report says whose the winner is.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy

import common
import data
import reporting

sys.path.insert(0, str(common.ROOT / "src"))

import torch
from torch import nn

from cell_jobs import NATIVE, RATES, SHARED, Record, answered, text_of
from polymath.engine import Processes
from polymath.inventing import Order, Silent
from polymath.inventing.cells import search_cell
from polymath.model.cells import GRU, LSTM, Cell, parse_cell
from polymath.model.cells.module import CellModule
from polymath.model.cells.words import formulas
from polymath.search.spaces.cells import KNOWN as POINTS
from polymath.spec import canonical, loads
from polymath.store import Store

NAME = "cell_search"
PARTS = ("speed", "texts", "words", "icu")
HUMAN = {"lstm": LSTM, "gru": GRU}
MUST_SPEED, AIM_SPEED, MUST_BITS, AIM_BITS = 3.0, 1.5, 0.98, 0.95


# Search -----------------------------------------------------------------------------------------------------------
class Watch(Silent):
    """Says what is new."""

    def say(self, text: str) -> None:
        print(text, flush=True)


def searched(chosen: argparse.Namespace) -> tuple[dict[str, Cell], list[Record]]:
    """The best cell of each search, and what is said of both. A search that came to its end is not gone on with."""
    found: dict[str, Cell] = {}
    said: list[Record] = []
    folder = _folder(chosen)
    for name, generator in (("found", chosen.generator), ("random", "random")):
        asked = {"part": "search", "contender": name, "generator": generator, "minutes": chosen.minutes}
        known = _done(chosen, asked)
        if known is not None:
            found[name] = parse_cell(known["cell"])
            said.append(known)
            continue
        with Store.open(folder / generator) as store:
            order = Order(
                name="cell",
                budget_seconds=None if chosen.quick else 60 * chosen.minutes,
                experiments=6 if chosen.quick else None,
                generator=generator,
                lanes=chosen.lanes,
                watcher=Watch(),
            )
            made = search_cell(store, order)
        if made.best is None:
            raise SystemExit(f"the search by {generator} finished nothing: give more --minutes")
        found[name] = parse_cell(made.best.expression)
        said.append(
            {
                **asked,
                "experiments": made.experiments,
                "failed": made.failed,
                "seconds": made.seconds,
                "rung": made.best.rung,
                "whose": _whose(int(made.best.name.rsplit("/", 1)[1])),
                **made.best.facts,
                "cell": made.best.expression,
            }
        )
        _keep(chosen, asked, said[-1])
        print(f"{name}: {made.experiments} experiments, {made.failed} died; {made.best.formula} {made.best.facts}")
    return found, said


def _folder(chosen: argparse.Namespace) -> Path:
    """Stores of the searches, and every job that has ended."""
    return Path(chosen.cache).expanduser().resolve() / "runs" / (f"{NAME}-quick" if chosen.quick else NAME)


def _done(chosen: argparse.Namespace, asked: Record) -> Record | None:
    """What an earlier run of this benchmark got for the same."""
    key = canonical(asked)
    return next((one["record"] for one in common.kept(_folder(chosen) / "done.jsonl") if one["asked"] == key), None)


def _keep(chosen: argparse.Namespace, asked: Record, record: Record) -> None:
    _folder(chosen).mkdir(parents=True, exist_ok=True)
    common.keep(_folder(chosen) / "done.jsonl", {"asked": canonical(asked), "record": record})


def _whose(number: int) -> str:
    """Who made an experiment of a search: people, whose cells come first, or the search."""
    return f"people: {list(POINTS)[number]}" if number < len(POINTS) else "the search"


# Speed ------------------------------------------------------------------------------------------------------------
def speed(found: dict[str, Cell], *, quick: bool) -> list[Record]:
    """Seconds of forward and backward passes over those of torch's own cell of the same width."""
    result = []
    for batch, steps, width in ((32, 64, 128), (32, 64, 64), (64, 100, 256), (16, 50, 64)):
        x = torch.randn(batch, steps, width, requires_grad=True)
        peers = {"lstm": nn.LSTM, "gru": nn.GRU}
        contenders: dict[str, nn.Module] = {f"torch {n}": p(width, width, batch_first=True) for n, p in peers.items()}
        contenders |= {name: CellModule(cell, width, width) for name, cell in (HUMAN | found).items()}
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(5 if quick else 20):  # in turns, so that a busy machine is busy for all
            for name, module in contenders.items():
                begin = time.process_time()
                module(x)[0].sum().backward()
                times[name].append(time.process_time() - begin)
        for name, measured in times.items():
            best = sorted(measured)[len(measured) // 4]
            size = f"{batch} x {steps} x {width}"
            result.append({"part": "speed", "contender": name, "size": size, "milliseconds": 1000 * best})
    return result


# Texts and stays ------------------------------------------------------------------------------------------------------
def run_all(requests: Sequence[Record], *, chosen: argparse.Namespace, lanes: int | None = None) -> list[Record]:
    """All jobs, each with what it was asked; those that an earlier run ended are not run again."""
    lanes = chosen.lanes if lanes is None else lanes
    done = {canonical(one): _done(chosen, one) for one in requests}
    engine = Processes(answered, lanes=lanes, preload=["torch"])
    try:
        futures = {text: engine.submit(text) for text, known in done.items() if known is None}
        for text, future in futures.items():
            done[text] = record = {**loads(text), **loads(future.result())}
            _keep(chosen, loads(text), record)
            print(f"  { {key: record[key] for key in ('part', 'contender', 'seed', 'seconds', 'judged')} }", flush=True)
    finally:
        engine.close()
    found = [done[canonical(one)] for one in requests]
    return [dict(one) for one in found if one is not None]


def texts(part: str, contenders: dict[str, Cell], *, chosen: argparse.Namespace) -> list[Record]:
    """Bits per symbol at equal steps, then at equal seconds, of every contender and seed."""
    if text_of(part, quick=chosen.quick) is None:
        print(f"{part}: the shared data are not there")
        return []
    rates = RATES[1:3] if chosen.quick else RATES
    asked = [
        {"part": part, "contender": name, "cell": cell.model_dump(mode="json"), "seed": seed, "quick": chosen.quick}
        for name, cell in contenders.items()
        for seed in range(chosen.seeds)
    ]
    equal_steps = run_all([{**one, "rates": list(rates)} for one in asked], chosen=chosen)
    best = {name: _best(equal_steps, name) for name in contenders}
    for one in equal_steps:
        one |= {"equal": "steps", "bits": one["judged"][best[one["contender"]]]}
    lstm = next(one for one in asked if one["contender"] == "lstm")
    (alone,) = run_all([{**lstm, "rates": [rates[best["lstm"]]]}], chosen=chosen, lanes=1)
    native = [{**one, "contender": NATIVE} for one in asked if one["contender"] == "lstm"]
    timed = [
        {**one, "seconds": alone["seconds"], "rates": [rates[best[one["contender"].removesuffix(" of torch")]]]}
        for one in [*asked, *native]
    ]
    equal_seconds = run_all(timed, chosen=chosen)
    for one in equal_seconds:
        one |= {"equal": "seconds", "bits": one["judged"][0]}
    return [*equal_steps, *equal_seconds]


def _best(records: Sequence[Record], contender: str) -> int:
    """Index of the learning rate with the lowest mean on the held-out part."""
    own = numpy.array([one["held"] for one in records if one["contender"] == contender])
    return int(own.mean(0).argmin())


def icu(contenders: dict[str, Cell], *, chosen: argparse.Namespace) -> list[Record]:
    """Area under the curve on set b of every contender and seed."""
    if not (SHARED / "icu").exists():
        print("icu: the shared data are not there")
        return []
    asked = [
        {
            "part": "icu",
            "contender": name,
            "cell": cell.model_dump(mode="json"),
            "seed": seed,
            "quick": chosen.quick,
            "rates": [3e-3] if chosen.quick else [1e-3, 3e-3, 1e-2],
        }
        for name, cell in contenders.items()
        for seed in range(chosen.seeds)
    ]
    return run_all(asked, chosen=chosen)


# Report -----------------------------------------------------------------------------------------------------------
def values(records: Sequence[Record], key: str, **where: Any) -> list[float]:
    """A number of all records that fit, by seed."""
    fitting = [one for one in records if all(one.get(name) == value for name, value in where.items())]
    return [one[key] for one in sorted(fitting, key=lambda one: one.get("seed", 0))]


def spread(found: Sequence[float]) -> str:
    """Mean and standard error over seeds."""
    error = statistics.stdev(found) / math.sqrt(len(found)) if len(found) > 1 else math.nan
    return f"{statistics.fmean(found):.4f} ± {error:.4f}"


def text_section(records: Sequence[Record], part: str, *, title: str, verdict: bool) -> list[str]:
    """Bits per symbol of all contenders, and the found cell over the better of LSTM and GRU."""
    own = [one for one in records if one["part"] == part]
    if not own:
        return []
    lines = [f"## {title}", ""]
    names = list(dict.fromkeys(one["contender"] for one in own))
    rows = []
    for name in names:
        first = next(one for one in own if one["contender"] == name)
        cells = [values(own, "bits", contender=name, equal=equal) for equal in ("steps", "seconds")]
        shown = [spread(found) if found else "-" for found in cells]
        rows.append([name, f"{first['parameters']:,}", str(first["width"]), *shown])
    lines += reporting.table(["contender", "parameters", "width", "equal steps", "equal seconds"], rows)
    rows = []
    for equal in ("steps", "seconds"):
        mean = {name: statistics.fmean(v) for name in names if (v := values(own, "bits", contender=name, equal=equal))}
        for ours in ("found", "random"):
            for rivals in (("lstm", "gru"), (NATIVE,)):
                if not all(rival in mean for rival in rivals) or ours not in mean:
                    continue
                better = min(rivals, key=lambda rival: mean[rival])
                pairs = zip(
                    values(own, "bits", contender=ours, equal=equal),
                    values(own, "bits", contender=better, equal=equal),
                    strict=True,
                )
                ratios = [one / other for one, other in pairs]
                ratio = statistics.fmean(ratios)
                said = reporting.verdict(ratio <= MUST_BITS) if verdict and ours == "found" else ""
                rows.append([ours, better, equal, f"{ratio:.4f}", f"{max(ratios):.4f}", said])
    return lines + reporting.table(["cell", "over", "equal", "ratio", "worst seed", f"must be <= {MUST_BITS}"], rows)


def speed_section(records: Sequence[Record]) -> list[str]:
    own = [one for one in records if one["part"] == "speed"]
    if not own:
        return []
    rows = []
    for size in dict.fromkeys(one["size"] for one in own):
        took = {one["contender"]: one["milliseconds"] for one in own if one["size"] == size}
        for name, spent in took.items():
            peer = "torch gru" if name == "gru" else "torch lstm"
            ratio = spent / took[peer]
            said = reporting.verdict(ratio <= MUST_SPEED) if name == "lstm" else ""
            rows.append([size, name, f"{spent:.2f}", peer, f"{ratio:.2f}", said])
    head = ["batch x steps x width", "cell", "ms forward and backward", "over", "ratio", f"must be <= {MUST_SPEED:g}"]
    return ["## Speed", "", *reporting.table(head, rows)]


def icu_section(records: Sequence[Record]) -> list[str]:
    own = [one for one in records if one["part"] == "icu"]
    if not own:
        return []
    names = list(dict.fromkeys(one["contender"] for one in own))
    areas = {name: values(own, "judged", contender=name) for name in names}
    rows = []
    for name in names:
        good = statistics.fmean(areas[name]) >= statistics.fmean(areas["lstm"])
        said = reporting.verdict(good) if name == "found" else ""
        precisions = values(own, "precision", contender=name)
        rows.append([name, spread(areas[name]), f"{min(areas[name]):.4f}", spread(precisions), said])
    head = ["cell", "AUROC on set b", "worst seed", "AUPRC on set b", "must not be worse than LSTM"]
    return ["## Stays in intensive care, set a to set b", "", *reporting.table(head, rows)]


def search_section(records: Sequence[Record]) -> list[str]:
    own = [one for one in records if one["part"] == "search"]
    rows = [
        [
            one["contender"],
            one["generator"],
            f"{one['experiments']:,}",
            f"{one['failed']:,}",
            f"{one['seconds']:.0f}",
            f"{one['rung']}",
            one["whose"],
            *(f"{one[key]:.4f}" if key in one else "-" for key in ("bits", "lstm_bits", "gru_bits")),
        ]
        for one in own
    ]
    head = [
        "cell",
        "generator",
        "experiments",
        "died",
        "seconds",
        "rungs",
        "whose",
        "bits",
        "LSTM's there",
        "GRU's there",
    ]
    lines = ["## Search", "", *reporting.table(head, rows)]
    for one in own:
        lines += [f"{one['contender']}:", "", *(f"    {line}" for line in formulas(parse_cell(one["cell"]))), ""]
    return lines


def write(records: Sequence[Record], *, chosen: argparse.Namespace) -> None:
    """Keep the records, write the report."""
    stem = f"{NAME}-quick" if chosen.quick else NAME
    results = common.HERE / "results" / f"{stem}.jsonl"
    results.write_text("".join(canonical(one) + "\n" for one in records))
    body = [
        *search_section(records),
        *text_section(records, "texts", title="Characters of dialogues, bits per character", verdict=True),
        *text_section(records, "words", title="Words of picture captions, bits per word", verdict=False),
        *icu_section(records),
        *speed_section(records),
    ]
    length = "6 experiments" if chosen.quick else f"{chosen.minutes:g} minutes"
    file = reporting.page(
        NAME,
        body,
        title="Recurrent cells that a search invented",
        about=(__doc__ or "").split("\n\n")[-1].strip(),
        told=[f"{chosen.seeds} seeds; searches of {length} on {chosen.lanes} cores; torch {torch.__version__}"],
        quick=chosen.quick,
    )
    print("\n".join(body))
    print(f"report: {file}")


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="about two minutes on a quiet machine: does it run?")
    made.add_argument("--minutes", type=float, help="of each of the two searches (default 40)")
    made.add_argument("--seeds", type=int, help="of every contender (default 5)")
    made.add_argument("--generator", default="bandit", help="of the search that is judged (default: %(default)s)")
    made.add_argument("--lanes", type=int, default=common.cores(), help="jobs side by side (default: %(default)s)")
    made.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what is measured (default: all)")
    made.add_argument("--cache", type=Path, default=data.DEFAULT_CACHE, help="stores (default: %(default)s)")
    chosen = made.parse_args()
    chosen.minutes = chosen.minutes or 40.0
    chosen.seeds = chosen.seeds or (2 if chosen.quick else 5)
    torch.set_num_threads(1)
    cells, records = searched(chosen)
    contenders = HUMAN | cells
    if "speed" in chosen.parts:
        records += speed(cells, quick=chosen.quick)
    for part in ("texts", "words"):
        if part in chosen.parts:
            records += texts(part, contenders, chosen=chosen)
    if "icu" in chosen.parts:
        records += icu(contenders, chosen=chosen)
    write(records, chosen=chosen)


if __name__ == "__main__":
    main()
