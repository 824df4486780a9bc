"""The report of growing.py: for every family asked beside got, medians and worsts, and every task."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import reporting
from reporting import table, verdict

from .cold import NAMES
from .family import NET_STEPS, STORE_STEPS, Family, Kept, Plan, Record

ASKED = (1, 2, 5)
"""Examples of each class with which the store must do as well as the best cold method with ten times as many."""
CLOSE = 0.005
"""Half a point: by which a control may be worse, and what counts as having reached a result."""
Row = list[str]


class Found:
    """What was measured of the tasks that were new to the store."""

    def __init__(self, kept: Kept) -> None:
        self.by: dict[tuple[str, str, float], Record] = {}
        self.work: dict[tuple[str, str, float], Record] = {}
        for (part, *rest), record in kept.records.items():
            if part == "target":
                self.by[rest[0], rest[1], rest[2]] = record
            elif part == "work":
                self.work[rest[0], rest[1], rest[2]] = record
        self.names = sorted({name for name, *_ in self.by})
        self.sizes = sorted({int(size) for _, system, size in self.by if system in NAMES})
        self.whole = kept.records["whole",]

    def accuracy(self, name: str, system: str, each: int) -> float:
        return float(self.by[name, system, each]["accuracy"])

    def best(self, name: str, each: int) -> float | None:
        """Of all cold methods with so many examples; None where that many were not there."""
        found = [self.accuracy(name, system, each) for system in NAMES if (name, system, each) in self.by]
        return max(found, default=None)

    def gains(self, each: int, times: int) -> dict[str, float]:
        """Task -> the store with `each` examples minus the best cold method with so many times as many."""
        return {
            name: self.accuracy(name, "store", each) - bar
            for name in self.names
            if (bar := self.best(name, times * each)) is not None
        }


def write(
    families: Sequence[tuple[Family, Plan, Kept]], together: Sequence[str], *, quick: bool, told: Sequence[str]
) -> None:
    """The page of all families that were run to their end. `together`: what is said of all in one store."""
    if not families:
        print("no family was run to its end yet, no report")
        return
    asked: list[Row] = []
    body: list[str] = []
    for family, plan, kept in families:
        found = Found(kept)
        asked += [[family.name, *row] for row in claims(family, plan, kept, found)]
        body += part(family, plan, kept, found)
    file = reporting.page(
        "growing",
        ["## Asked and got", "", *table(["family", "what", "asked", "got", "", "worst"], asked), *together, *body],
        title="One growing model: what the next task of a family needs",
        about="Two thirds of a family's tasks are learned into a store, then each of the others, with the store and cold. Cold is the best of "
        "nearest neighbour, support vectors, boosted trees and a plain net, chosen by the test rows. Medians are over tasks.",
        told=[*told, *(budgets(family, plan) for family, plan, _ in families)],
        quick=quick,
    )
    print("\n".join(file.read_text().splitlines()[4:40]))
    print(f"report: {file}")


def budgets(family: Family, plan: Plan) -> str:
    return (
        f"{family.name}: {plan.source_seconds:g} s a source with {plan.each} examples per class, {plan.gather_seconds:g} s between, "
        f"{plan.target_seconds:g} s a new task with the store, {plan.net_seconds:g} s a fresh net (0.6 of it with five examples, 0.4 with fewer); "
        "one core each"
    )


# Asked and got -------------------------------------------------------------------------------------------------------
def claims(family: Family, plan: Plan, kept: Kept, found: Found) -> list[Row]:
    """[what, asked, got, verdict, worst] of everything that the family is to reach."""
    rows: list[Row] = []
    if family.name == "scripts":
        rows += [gain(found, each, 10, floor=0.0) for each in ASKED if found.gains(each, 10)]
        rows += [reached(plan, found), *sizes(found), *compared(plan, found)]
    elif family.alone:
        rows += [gain(found, each, 1, floor=-CLOSE, every=True) for each in plan.examples]
        rows += [beside_alone(found, each) for each in plan.examples]
    else:
        strict = family.gather is not None
        rows += [gain(found, each, 1, floor=0.0, strict=strict) for each in plan.examples]
    ours = [record for (_, system, _), record in found.by.items() if system == "store"]
    outside = sum(bool(record.get("imported")) for record in ours)
    said = "yes" if outside else "no"
    rows.append([f"imported knowledge; new tasks that use it, of {len(ours)}", "", f"{said}, {outside}", "", ""])
    looks = kept.of_part("looks")
    changed = sum(record["changed"] for record in looks)
    count = sum(record["looks"] for record in looks)
    rows.append(
        [
            f"earlier answers asked again after each new task ({count:,} looks): changed",
            "0",
            str(changed),
            verdict(not changed),
            "",
        ]
    )
    return rows


def gain(found: Found, each: int, times: int, *, floor: float, strict: bool = False, every: bool = False) -> Row:
    """`strict`: above the floor, not at it. `every`: not only the median, the worst task too."""
    gains = found.gains(each, times)
    worst = min(gains, key=lambda name: gains[name])
    middle = statistics.median(gains.values())
    held = gains[worst] if every else middle
    said = "above 0" if strict else f"{floor:g} or more"
    return [
        f"with {each}: store minus best cold with {times * each}, {'every task' if every else 'median'}",
        said,
        f"{held:+.3f}" + (f" (median {middle:+.3f})" if every else ""),
        verdict(held > floor if strict else held >= floor),
        f"{worst} {gains[worst]:+.3f}",
    ]


def beside_alone(found: Found, each: int) -> Row:
    """What the store has cost or brought, Polymath itself being the same."""
    gains = {name: found.accuracy(name, "store", each) - found.accuracy(name, "alone", each) for name in found.names}
    worst = min(gains, key=lambda name: gains[name])
    middle = statistics.median(gains.values())
    return [
        f"with {each}: full store minus empty store, median",
        "",
        f"{middle:+.3f}",
        "",
        f"{worst} {gains[worst]:+.3f}",
    ]


def reached(plan: Plan, found: Found) -> Row:
    """Processor seconds until the cold net's best result is reached, over those that the net needs for it itself."""
    shares: dict[str, float] = {}
    for name in found.names:
        nets = [found.work[name, "net", share] for share in NET_STEPS] + [found.by[name, "net", plan.ladder]]
        ours = [found.work[name, "store", share] for share in STORE_STEPS] + [found.by[name, "store", plan.ladder]]
        bar = max(net["accuracy"] for net in nets) - CLOSE
        needed = [
            min((r["cpu_seconds"] for r in one if r["accuracy"] >= bar), default=math.inf) for one in (ours, nets)
        ]
        shares[name] = needed[0] / needed[1]
    worst = max(shares, key=lambda name: shares[name])
    middle = statistics.median(shares.values())
    never = sum(math.isinf(share) for share in shares.values())
    return [
        f"work to a fresh net's best result with {plan.ladder} examples, over the net's own, median (never reached: {never} of {len(shares)})",
        "1/3 or less",
        f"{middle:.2f}",
        verdict(middle <= 1 / 3),
        f"{worst} {shares[worst]:.2f}",
    ]


def sizes(found: Found) -> list[Row]:
    """New parameters of a task, and the share of the whole model that answering it takes."""
    ours = {key: record for key, record in found.by.items() if key[1] == "store"}
    fresh = {
        name: max(r["parameters"] for (n, system, _), r in found.by.items() if n == name and system == "net")
        for name in found.names
    }
    new = [record["parameters_new"] / fresh[name] for (name, *_), record in ours.items()]
    rows = [
        [
            f"new parameters over those of a fresh net, median ({found.whole['tasks']} tasks)",
            "10 % or less",
            f"{statistics.median(new):.1%}",
            verdict(statistics.median(new) <= 0.1),
            f"{max(new):.1%}",
        ]
    ]
    for what, kind in (("parameters", "active"), ("multiply-adds", "active_work")):
        shares = [found.whole[kind][name] for name in found.names]
        middle = statistics.median(shares)
        rows.append(
            [
                f"active share of the whole model's {what}, median",
                "5 % or less",
                f"{middle:.1%}",
                verdict(middle <= 0.05),
                f"{max(shares):.1%}",
            ]
        )
    return rows


def compared(plan: Plan, found: Found) -> list[Row]:
    """Mean accuracy beside the two usual ways to use a parent, on the same processor time."""
    rows = []
    for each in plan.compared:
        for rival, said in (
            ("finetuned", "fine-tuning all of the best parent"),
            ("frozen", "a linear head on the best parent"),
        ):
            gains = {
                name: found.accuracy(name, "store", each) - found.by[name, "store", each][rival]["accuracy"]
                for name in found.names
            }
            theirs = statistics.fmean(found.by[name, "store", each][rival]["accuracy"] for name in found.names)
            mean, worst = statistics.fmean(gains.values()), min(gains, key=lambda name: gains[name])
            rows.append(
                [
                    f"with {each}: mean accuracy minus that of {said} ({theirs:.3f}), equal work",
                    "above 0",
                    f"{mean:+.3f}",
                    verdict(mean > 0),
                    f"{worst} {gains[worst]:+.3f}",
                ]
            )
    return rows


# One family ----------------------------------------------------------------------------------------------------------
def part(family: Family, plan: Plan, kept: Kept, found: Found) -> list[str]:
    """Medians, every task, who was best, what became of the sources."""
    sources = kept.of_part("source")
    gathered = kept.records.get(("gathered",))
    learned = (
        f"{len(sources)} tasks learned first, then {gathered['what']} in {gathered['seconds']:.0f} s. "
        if gathered
        else (f"{len(sources)} tasks learned first. " if sources else "")
    )
    times = plan.times
    lines = [f"## {family.title}", "", f"{learned}{len(found.names)} new tasks. {family.about}", ""]
    heads = ["examples per class", "with the store", *(["empty store"] if family.alone else [])]
    rows = []
    for each in plan.examples:
        systems = ["store", *(["alone"] if family.alone else [])]
        row = [str(each)]
        row += [
            reporting.spread([found.accuracy(n, s, each) for n in found.names], lower_is_better=False) for s in systems
        ]
        for many in times:
            bars = [bar for name in found.names if (bar := found.best(name, many * each)) is not None]
            row.append(reporting.spread(bars, lower_is_better=False) if bars else "not drawn")
        rows.append(row)
    lines += table([*heads, *("cold, the same" if many == 1 else f"cold, {many} x" for many in times)], rows)
    lines += ["Median accuracy over the new tasks (worst).", ""]
    lines += table(
        ["task", "classes", *(f"store {each}" for each in plan.examples), *(f"cold {size}" for size in found.sizes)],
        [
            [
                name,
                str(found.by[name, "store", plan.examples[0]]["classes"]),
                *(f"{found.accuracy(name, 'store', each):.3f}" for each in plan.examples),
                *("-" if (bar := found.best(name, size)) is None else f"{bar:.3f}" for size in found.sizes),
            ]
            for name in found.names
        ],
    )
    lines += table(["system", "times best of the cold", "processor seconds, median (worst)"], took(found))
    refused = {key: record["path"] for key, record in found.by.items() if record.get("path", "").startswith("refused")}
    if refused:
        whom = ", ".join(f"{name} with {each} ({system})" for name, system, each in refused)
        lines += [f"Polymath would not learn {whom}: {next(iter(refused.values()))}. They count as nothing right.", ""]
    if gathered and gathered.get("moved"):
        lines += moved(gathered["moved"])
    return lines


def took(found: Found) -> list[Row]:
    rows = []
    for system in ("store", *NAMES):
        own = {key: record for key, record in found.by.items() if key[1] == system}
        led = sum(record["accuracy"] == found.best(name, int(each)) for (name, _, each), record in own.items())
        seconds = [record["cpu_seconds"] for record in own.values()]
        rows.append([system, "" if system == "store" else str(led), reporting.spread(seconds, lower_is_better=True)])
    return rows


def moved(tasks: Sequence[Record]) -> list[str]:
    """What became of the sources when there was a trunk."""
    gone = [one for one in tasks if one["moved"]]
    changes = [one["after"] - one["before"] for one in tasks if one["before"] is not None and one["after"] is not None]
    if not gone or not changes:
        return ["No source moved onto the trunk.", ""]
    before, after = (statistics.median(one[f"parameters_{when}"] for one in gone) for when in ("before", "after"))
    return [
        f"{len(gone)} of {len(tasks)} sources moved onto the trunk. Accuracy on rows that the trunk has not seen: median {statistics.median(changes):+.3f}, "
        f"worst {min(changes):+.3f} (a task that is worse stays where it was). Parameters of a source's path: {before:,.0f} before, {after:,.0f} after, "
        "most of them the trunk's, stored once.",
        "",
    ]
