"""Does experience pay? Work that the second, fifth, tenth problem of a family needs to reach the result of a cold search.

    python benchmarks/search_transfer.py            all families
    python benchmarks/search_transfer.py --quick    few problems, two seeds, no training: does it run?

Cold: a search with no past. Its result is the best score after the family's budget; its work is what it took to get there.
Warm: the same generator with the experiments of earlier problems, which were cold searches of that budget (on tables) or
what stands in the store (real learning). Both medians over seeds; one ratio per problem. Three families:

* graphs: nine data sets of NAS-Bench-Graph in random order; one unit of work is one query;
* lcdb: which of 20 learners on how many rows, on the sets of LCDB in random order; work is seconds of training;
* digits: one digit against the rest as a table, learned by the whole of `learn`, one store for all ten.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas

import common
import data
import reporting
import search_problems
from polymath.search.choices import Answer, Choose, Sketch, draw
from polymath.search.generators import Experience, News, Past, generators
from prepare.architectures import GRAPHS

ASKED, WORST, AIM = 0.5, 1.1, 1 / 3
NEVER = 2.0
"""A search that has not reached the cold result after so many budgets counts as having needed that much."""
OTHERS, ANEW = 5000, 10_000
"""Added to the seeds for the cold searches that set the result to reach, and for those that show what chance does."""
CHANCE = -1
"""Stands where the number of earlier problems stands: cold searches from other seeds, beside the cold ones."""
NAME = "search_transfer"


@dataclass(frozen=True)
class Table:
    """A problem whose experiments are looked up."""

    name: str
    draw: Callable[[Answer], Sketch]
    score: Callable[[Sketch], float]
    work: Callable[[Sketch], float]
    fingerprint: Mapping[str, float]


@dataclass(frozen=True)
class Family:
    """Problems of one kind: which are measured, and after how many others."""

    name: str
    problems: Sequence[str]
    table: Callable[[str], Table]
    measured: Sequence[str]
    earlier: Sequence[int]
    queries: int


# Looked-up experiments ---------------------------------------------------------------------------------------------
def graphs(cache: Path, *, quick: bool) -> Family:
    """NAS-Bench-Graph, leave one out: each data set as the 2nd, 5th and 9th of the family."""

    def table(name: str) -> Table:
        problem = search_problems.graphs(name, cache)
        return Table(name, problem.draw, problem.score, lambda sketch: 1.0, problem.fingerprint)

    return Family("graphs", GRAPHS, table, GRAPHS[:2] if quick else GRAPHS, (1, 8) if quick else (1, 4, 8), 100)


SIZES = (64, 181, 512, 1448)
"""Rows offered to a learner of LCDB: every third of its training sizes."""


def lcdb(cache: Path, *, quick: bool) -> Family:
    """LCDB: a learner and a number of rows; sets where at least 15 learners were trained on the largest of the sizes."""
    curves = pandas.read_parquet(data.replay("lcdb", cache=cache) / "curves.parquet")
    facts = pandas.read_parquet(data.replay("lcdb", cache=cache) / "sets.parquet").set_index("set")
    curves = curves[curves["size"].isin(SIZES)]
    count = curves[curves["size"] == SIZES[-1]].groupby("set")["learner"].nunique()
    sets = [str(name) for name in count[count >= 15].index if name in facts.index]
    learners = sorted(curves["learner"].unique())
    found = {(str(row.set), row.learner, row.size): (row.valid, row.seconds) for row in curves.itertuples(index=False)}

    def space(choose: Choose) -> list[Any]:
        return [choose("learner", learners), choose("rows", list(SIZES))]

    def table(name: str) -> Table:
        row = facts.loc[int(name)]
        about = {key: math.log10(1 + float(row[key])) for key in ("rows", "features", "classes")}

        def looked_up(sketch: Sketch) -> tuple[float, float]:
            score, seconds = found.get((name, *sketch.built), (-math.inf, 0.0))
            return (score if math.isfinite(score) else -math.inf), max(float(seconds), 1e-3)

        return Table(
            name,
            lambda answer: draw(space, answer),
            lambda sketch: looked_up(sketch)[0],
            lambda sketch: looked_up(sketch)[1],
            about,
        )

    chosen = np.random.default_rng(0).permutation(sets)[: 3 if quick else 30]
    return Family("lcdb", sets, table, [str(name) for name in chosen], (1, 9), 25)


def play(
    table: Table, generator: str, *, seed: int, queries: int, past: Sequence[Past] = (), until: float | None = None
) -> list[News]:
    """One search, one lane; ends at a score of `until` where that is given."""
    experience = Experience(fingerprint=table.fingerprint, past=tuple(past))
    made = generators()[generator](table.draw, seed=seed, experience=experience)
    told: list[News] = []
    seen: set[str] = set()
    for number in range(20 * queries):
        sketch = made.propose(number)
        if sketch.identity in seen:
            continue
        seen.add(sketch.identity)
        made.begin(len(told), sketch)
        score = -math.inf if sketch.error else table.score(sketch)
        score = score if math.isfinite(score) else -math.inf
        work = 1e-3 if sketch.error else table.work(sketch)
        news = News(len(told), sketch.trace, score, work, by=sketch.by or generator, proxies=sketch.proxies)
        made.observe(news)
        told.append(news)
        if len(told) >= queries or (until is not None and score >= until):
            break
    return told


def reached(told: Sequence[News], score: float) -> float:
    """Work until `score` was reached; infinite where it never was."""
    work = 0.0
    for news in told:
        work += news.work
        if news.score >= score:
            return work
    return math.inf


def race(family: Family, generator: str, *, seeds: Sequence[int], keep: Callable[[dict[str, Any]], None]) -> None:
    """Cold and warm searches of a family; one record for each measured problem, place in the family and seed."""
    tables = {name: family.table(name) for name in family.problems}
    cold: dict[tuple[str, int], list[News]] = {}

    def cold_search(name: str, seed: int) -> list[News]:
        if (name, seed) not in cold:
            cold[name, seed] = play(tables[name], generator, seed=seed, queries=family.queries)
        return cold[name, seed]

    for name in family.measured:
        began = time.monotonic()
        # From searches of its own: those that set the mark reach it by definition, and would flatter the cold ones.
        result = statistics.median(max(n.score for n in cold_search(name, seed + OTHERS)) for seed in seeds)
        budget = statistics.median(sum(news.work for news in cold_search(name, seed)) for seed in seeds)
        for seed in seeds:
            others = [one for one in family.problems if one != name]
            order = np.random.default_rng([seed, family.problems.index(name)]).permutation(others)
            for earlier in (0, CHANCE, *family.earlier):
                past = [
                    Past(str(one), tables[one].fingerprint, tuple(cold_search(one, seed)))
                    for one in order[: max(earlier, 0)]
                ]
                told = [] if earlier else cold_search(name, seed)
                if reached(told, result) == math.inf:
                    most, own = round(NEVER * family.queries), seed + ANEW * (earlier == CHANCE)
                    told = play(tables[name], generator, seed=own, queries=most, past=past, until=result)
                record = {"family": family.name, "problem": name, "earlier": earlier, "seed": seed}
                work = min(reached(told, result), NEVER * budget)
                keep({**record, "work": work, "result": result, "generator": generator})
        print(f"{family.name} {name}: {time.monotonic() - began:.0f} s", flush=True)


# Real learning -----------------------------------------------------------------------------------------------------
def digit(number: int) -> pandas.DataFrame:
    """Scikit-learn's digits as a table: 64 pixels, and whether it is this one."""
    from sklearn.datasets import load_digits

    images = load_digits()
    table = pandas.DataFrame(images.data.astype(int), columns=[f"pixel{n}" for n in range(64)])
    table["this"] = np.where(images.target == number, "yes", "no")
    return table


def learned(folder: Path, number: int, *, seed: int, work: float, generator: str) -> list[tuple[float, float]]:
    """Learns one digit into the store in `folder`: (work so far, best score so far) after each finished rung."""
    from polymath import Polymath
    from polymath.search.ledger import Ledger

    store = Polymath(folder / "store")
    name = f"digit{number}"
    store.learn(digit(number), target="this", name=name, work=work, seed=seed, generator=generator, lanes=1,
                engine="inline", metric="log_loss", cache=str(folder / "cache"))  # fmt: skip
    curve: list[tuple[float, float]] = []
    spent, best, before = 0.0, -math.inf, {}
    for entry in Ledger(store.store, name).entries():
        spent += entry.work - before.get(entry.number, 0.0)
        before[entry.number] = entry.work
        best = max(best, -math.inf if entry.score is None else entry.score)
        curve.append((spent, best))
    store.close()
    return curve


def learn_race(
    generator: str, *, seeds: Sequence[int], work: float, problems: int, keep: Callable[[dict[str, Any]], None]
) -> None:
    """Ten digits into one store in random order; the second, fifth and tenth also into an empty one."""
    for seed in seeds:
        order = np.random.default_rng(seed).permutation(10)[:problems].tolist()
        with tempfile.TemporaryDirectory() as family:
            for place, number in enumerate(order):
                began = time.monotonic()
                warm = learned(Path(family), number, seed=seed, work=work, generator=generator)
                if place in (1, 4, 9):
                    with tempfile.TemporaryDirectory() as empty:
                        cold = learned(Path(empty), number, seed=seed, work=work, generator=generator)
                    result = cold[-1][1]
                    for earlier, curve in ((0, cold), (place, warm)):
                        spent = next((work for work, best in curve if best >= result), NEVER * work)
                        keep({"family": "digits", "problem": f"{number} seed {seed}", "earlier": earlier, "seed": seed,
                              "work": spent, "result": result, "got": curve[-1][1], "generator": generator})  # fmt: skip
                print(f"digit {number}, seed {seed}: {time.monotonic() - began:.0f} s", flush=True)


# The report --------------------------------------------------------------------------------------------------------
def ratios(records: Sequence[Mapping[str, Any]], family: str, earlier: int) -> dict[str, float]:
    """Problem -> median work of its warm searches over that of its cold ones."""
    work: dict[tuple[str, int], list[float]] = {}
    for record in records:
        if record["family"] == family:
            work.setdefault((record["problem"], record["earlier"]), []).append(record["work"])
    return {
        problem: statistics.median(found) / statistics.median(work[problem, 0])
        for (problem, number), found in work.items()
        if number == earlier
    }


def report(file: Path, records: Sequence[Mapping[str, Any]], *, command: str) -> None:
    """Asked beside got, the worst beside the median, and every problem."""
    rows, each = [], []
    for family in dict.fromkeys(record["family"] for record in records):
        own = [record for record in records if record["family"] == family]
        for earlier in sorted({record["earlier"] for record in own} - {0}):
            found = ratios(records, family, earlier)
            middle, worst = statistics.median(found.values()), max(found.values())
            mean, chance = statistics.geometric_mean(found.values()), earlier == CHANCE
            met = "-" if chance else "yes" if middle <= ASKED and worst <= WORST else "no"
            number = "none, other seeds" if chance else str(earlier)
            asked = ("-", "-") if chance else (f"<= {ASKED} (aim {AIM:.2f})", f"<= {WORST}")
            rows.append([family, number, str(len(found)), asked[0], f"{middle:.2f}", f"{mean:.2f}", asked[1],
                         f"{worst:.2f}", f"{sum(v > WORST for v in found.values())}", met])  # fmt: skip
            each.append([family, number, ", ".join(f"{name} {value:.2f}" for name, value in sorted(found.items()))])
    seeds = {
        family: len({record["seed"] for record in records if record["family"] == family})
        for family in dict.fromkeys(record["family"] for record in records)
    }
    lines = [
        "# What experience is worth",
        "",
        "Work of a search with a past to reach the result of a cold one, over the cold one's work. Medians over seeds for",
        f"each problem; a search that did not get there counts {NEVER:g} budgets (real learning: twice its work). Cold",
        "searches from other seeds stand beside: what is no better than they are is chance.",
        "",
        *reporting.table(
            [
                "family",
                "earlier problems",
                "problems",
                "asked, median",
                "got",
                "geometric mean",
                "asked, worst",
                "got",
                "worse than 1.1",
                "met",
            ],
            rows,
        ),
        "## Every problem",
        "",
        *reporting.table(["family", "earlier", "ratio of work"], each),
        "## How it was run",
        "",
        f"- Machine: {common.hardware()}; generator: {', '.join(sorted({r['generator'] for r in records}))}",
        f"- {common.now()}, Polymath at {common.commit()}, seeds from 1000: {', '.join(f'{family} {count}' for family, count in seeds.items())}",
        f"- Command: `{command}`",
    ]
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join(lines) + "\n")
    print("\n".join(lines[4:]))


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="few problems, two seeds, no training")
    made.add_argument("--only", nargs="+", choices=("graphs", "lcdb", "digits"))
    made.add_argument("--generator", default="bandit", choices=sorted(generators()))
    made.add_argument("--seeds", type=int, help="how many, from 1000 (default: graphs 20, lcdb 60, real training 3)")
    made.add_argument("--problems", type=int, default=10, help="digits in the family of real learning")
    made.add_argument(
        "--work", type=float, default=60.0, help="units of one real learning; what is always tried first takes 15"
    )
    made.add_argument("--cache", type=Path, default=data.DEFAULT_CACHE)
    given = made.parse_args()
    only = given.only or (["graphs", "lcdb"] if given.quick else ["graphs", "lcdb", "digits"])
    stem = f"{NAME}-quick" if given.quick else NAME
    records: list[dict[str, Any]] = []
    for name, family, usual in (("graphs", graphs, 20), ("lcdb", lcdb, 60)):
        if name in only:
            seeds = range(1000, 1000 + (given.seeds or (2 if given.quick else usual)))
            race(family(given.cache, quick=given.quick), given.generator, seeds=seeds, keep=records.append)
    if "digits" in only:
        real = range(1000, 1000 + (given.seeds or 3))
        learn_race(given.generator, seeds=real, work=given.work, problems=given.problems, keep=records.append)
    file = common.HERE / "results" / f"{stem}.jsonl"
    records = [record for record in common.kept(file) if record["family"] not in only] + records
    file.unlink(missing_ok=True)
    for record in records:
        common.keep(file, record)
    words = "python benchmarks/search_transfer.py" + (" --quick" if given.quick else "")
    report(common.HERE / "reports" / f"{stem}.md", records, command=words)


if __name__ == "__main__":
    main()
