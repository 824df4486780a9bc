"""Turns kept records into a report: one table of medians and worsts, one of ranks, what failed, how it was run."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import common
import data
import scoring

Record = dict[str, Any]


def value(record: Record, target: str, metric: str) -> float | None:
    """The score of a record, None when it failed or has none."""
    found = record.get("scores", {}).get(target, {}).get(metric)
    return None if found is None else float(found)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    return [f"| {' | '.join(header)} |", "|" + "---|" * len(header), *(f"| {' | '.join(row)} |" for row in rows), ""]


def page(name: str, body: Sequence[str], *, title: str, about: str, told: Sequence[str], quick: bool) -> Path:
    """Write a report that is no race: a title, what it is about, its tables, and how it was run. Where it is.

    `told`: what to say of the run beside machine, load, date, commit and command.
    """
    lines = [
        f"# {title}",
        "",
        about,
        "",
        *body,
        "## How it was run",
        "",
        f"- Machine: {common.hardware()}; load at the end: {os.getloadavg()[0]:.1f}",
        f"- Date: {common.now()}; Polymath at {common.commit()}",
        *(f"- {one}" for one in told),
        f"- Command: `{' '.join(['python', f'benchmarks/{name}.py', *sys.argv[1:]])}`",
        "",
    ]
    file = common.HERE / "reports" / f"{name}{'-quick' if quick else ''}.md"
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join(lines))
    return file


def verdict(good: bool) -> str:
    """What a table says of a claim."""
    return "met" if good else "**NOT met**"


def spread(values: Sequence[float], *, lower_is_better: bool) -> str:
    """Median and worst over seeds."""
    worst = max(values) if lower_is_better else min(values)
    return f"{statistics.median(values):.4g} ({worst:.4g})"


def ranks(scores: dict[str, float | None], *, lower_is_better: bool) -> dict[str, float]:
    """Rank of each system on one run; ties share their mean rank, failures share the last places."""
    bad = float("inf") if lower_is_better else float("-inf")
    numbers = {system: bad if score is None else score for system, score in scores.items()}
    key = (lambda number: number) if lower_is_better else (lambda number: -number)
    ordered = sorted(key(number) for number in numbers.values())
    return {
        system: ordered.index(key(number)) + (ordered.count(key(number)) + 1) / 2 for system, number in numbers.items()
    }


def scores_section(records: Sequence[Record], *, systems: Sequence[str], pick: Callable[[str], str]) -> list[str]:
    """Median (worst) of one metric for each set, output and system."""
    rows = []
    for name, target, kind in _outputs(records):
        metric = pick(kind)
        row = [name, f"{target}, {metric}"]
        for system in systems:
            own = [record for record in records if record["set"] == name and record["system"] == system]
            found = [score for record in own if (score := value(record, target, metric)) is not None]
            text = spread(found, lower_is_better=metric in scoring.LOWER_IS_BETTER) if found else "-"
            row.append(text + (f", {len(own) - len(found)} failed" if len(found) < len(own) else ""))
        rows.append(row)
    return table(["set", "output, metric", *systems], rows)


def ranks_section(
    records: Sequence[Record], *, systems: Sequence[str], pick: Callable[[str], str]
) -> tuple[list[str], dict[str, float]]:
    """Mean rank of each system over sets (ranked on each seed, averaged over seeds, then over sets), and the worst rank."""
    by_set: dict[str, list[dict[str, float]]] = {}
    for name, target, kind in _outputs(records):
        metric = pick(kind)
        for seed in sorted({record["seed"] for record in records if record["set"] == name}):
            found = {
                record["system"]: value(record, target, metric)
                for record in records
                if record["set"] == name and record["seed"] == seed
            }
            if set(systems) <= set(found):
                by_set.setdefault(name, []).append(ranks(found, lower_is_better=metric in scoring.LOWER_IS_BETTER))
    if not by_set:
        return ["No set has been run by every system yet, so there are no ranks.", ""], {}
    each = {
        system: [statistics.fmean(seed[system] for seed in seeds) for seeds in by_set.values()] for system in systems
    }
    means = {system: statistics.fmean(found) for system, found in each.items()}
    rows = [
        [system, f"{means[system]:.2f}", f"{max(each[system]):.2f}", str(len(by_set))]
        for system in sorted(systems, key=lambda s: means[s])
    ]
    return table(["system", "mean rank", "worst set", "sets"], rows), means


def costs_section(records: Sequence[Record], *, systems: Sequence[str]) -> list[str]:
    """Seconds, memory and bytes: medians and worsts over all runs of a system."""
    rows = []
    for system in systems:
        own = [record for record in records if record["system"] == system and record["status"] == "ok"]
        if not own:
            continue
        over = [record["fit_seconds"] / record["budget"] for record in own]
        late = sum(record["fit_seconds"] > max(1.05 * record["budget"], record["budget"] + 2) for record in own)
        size = [record["model_bytes"] / 2**20 for record in own if "model_bytes" in record]
        rows.append(
            [
                system,
                f"{statistics.median(over):.2f} ({max(over):.2f})",
                f"{late} of {len(own)}",
                spread([record["predict_seconds"] for record in own], lower_is_better=True),
                spread([record["peak_bytes"] / 2**20 for record in own], lower_is_better=True),
                spread(size, lower_is_better=True) if size else "-",
            ]
        )
    return table(["system", "fit time / budget", "over by 5 % and 2 s", "predict s", "peak MiB", "model MiB"], rows)


def failures_section(records: Sequence[Record]) -> list[str]:
    failed = [record for record in records if record["status"] != "ok"]
    lines = [
        f"- {record['set']}, {record['system']}, seed {record['seed']}: {record['error'].strip().splitlines()[-1][:300]}"
        for record in failed
    ]
    return ["## Failures", "", *(lines or ["None."]), ""]


def how_section(records: Sequence[Record], *, chosen: common.Settings) -> list[str]:
    """Hardware, versions, dates, the command: what a stranger needs to run it again."""
    versions: dict[str, set[str]] = {}
    for record in records:
        for package, number in record.get("versions", {}).items():
            versions.setdefault(package, set()).add(number)
    dates = sorted(record["when"] for record in records)
    seeds = ", ".join(map(str, sorted({record["seed"] for record in records})))
    budgets = ", ".join(f"{budget:g} s" for budget in sorted({record["budget"] for record in records}))
    commits = (
        ", ".join(sorted({record["commit"] for record in records if record["system"].startswith("polymath")})) or "-"
    )
    packages = ", ".join(f"{package} {'/'.join(sorted(found))}" for package, found in sorted(versions.items())) or "-"
    sets = ", ".join(f"{name} ({_sizes(name, chosen)})" for name in dict.fromkeys(record["set"] for record in records))
    return [
        "## How it was run",
        "",
        f"- Machine: {common.hardware()}",
        f"- Dates: {dates[0]} to {dates[-1]}; Polymath at {commits}",
        f"- Seeds: {seeds}; budgets: {budgets}",
        f"- Versions: {packages}",
        f"- Sets: {sets}",
        f"- Command: `{' '.join(['python', f'benchmarks/{chosen.name}.py', *sys.argv[1:]])}`",
        f"- Every run: `benchmarks/results/{chosen.results.name}`",
        "",
    ]


def _sizes(name: str, chosen: common.Settings) -> str:
    entry = data.prepare(name, cache=chosen.cache)
    return f"{entry['rows']} rows" + (f", {entry['classes']} classes" if entry.get("classes") else "")


def _outputs(records: Sequence[Record]) -> list[tuple[str, str, str]]:
    """(set, target, kind) in the order of the records."""
    found: dict[tuple[str, str, str], None] = {}
    for record in records:
        for target, scores in record.get("scores", {}).items():
            found[(record["set"], target, "category" if "accuracy" in scores else "number")] = None
    return list(found)


def write(
    chosen: common.Settings,
    *,
    title: str,
    about: str,
    records: Sequence[Record],
    systems: Sequence[str],
    verdict: Sequence[str],
) -> None:
    """Write the report of a race and say where it is."""
    present = [system for system in systems if any(record["system"] == system for record in records)]
    if not records:
        print("no results yet, no report")
        return
    first, _ = ranks_section(records, systems=present, pick=lambda kind: scoring.PRIMARY[kind])
    second, _ = ranks_section(records, systems=present, pick=lambda kind: scoring.SECOND[kind])
    lines = [
        f"# {title}",
        "",
        about,
        "",
        *verdict,
        "",
        "## Scores: median over seeds (worst)",
        "",
        *scores_section(records, systems=present, pick=lambda kind: scoring.PRIMARY[kind]),
        "## Mean rank on that metric",
        "",
        *first,
        "## Second metric: median over seeds (worst)",
        "",
        *scores_section(records, systems=present, pick=lambda kind: scoring.SECOND[kind]),
        "## Mean rank on the second metric",
        "",
        *second,
        "## Cost: median (worst)",
        "",
        *costs_section(records, systems=present),
        *failures_section(records),
        *how_section(records, chosen=chosen),
    ]
    chosen.report.parent.mkdir(exist_ok=True)
    chosen.report.write_text("\n".join(lines).replace("\n\n\n", "\n\n").rstrip() + "\n")
    print(f"report: {chosen.report}")


def compare(records: Sequence[Record], *, ours: str, other: str, target: str, metric: str, name: str) -> list[float]:
    """Ours minus the other on each seed that both ran, signed so that positive is better for us."""
    sign = -1.0 if metric in scoring.LOWER_IS_BETTER else 1.0
    found: dict[tuple[str, int], float] = {}
    for record in records:
        score = value(record, target, metric)
        if record["set"] == name and score is not None:
            found[(record["system"], record["seed"])] = score
    seeds = sorted({seed for _, seed in found})
    return [
        sign * (found[(ours, seed)] - found[(other, seed)])
        for seed in seeds
        if (ours, seed) in found and (other, seed) in found
    ]
