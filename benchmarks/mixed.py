"""Claim: on rows of picture + text + numbers with two outputs, Polymath on all inputs beats Polymath on any single input.

python benchmarks/mixed.py [--quick] [--seeds 0 1 2] [--budget 120] [--systems polymath]
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import common
import data
import reporting
import scoring

INPUTS = {"picture": ("image",), "text": ("description",), "numbers": ("carat", "depth", "table")}
SYSTEMS = ("polymath@all", *(f"polymath@{name}" for name in INPUTS))
BUDGET = 120.0


def ignored(name: str) -> list[str]:
    """The columns that a single-input run leaves out."""
    return [column for other, columns in INPUTS.items() if other != name for column in columns]


def verdict(records: Sequence[reporting.Record]) -> list[str]:
    """For each output, all inputs against the best single one (the median's best)."""
    lines = []
    for name, target, metric in (("garments", "clarity", "accuracy"), ("garments", "price", "rmse")):
        medians = {}
        for system in SYSTEMS:
            scores = [reporting.value(record, target, metric) for record in records if record["system"] == system]
            numbers = [score for score in scores if score is not None]
            if numbers:
                medians[system] = statistics.median(numbers)
        if set(medians) != set(SYSTEMS):
            continue
        lower = metric in scoring.LOWER_IS_BETTER
        best = (min if lower else max)(
            (system for system in SYSTEMS if system != "polymath@all"), key=lambda system: medians[system]
        )
        won = (medians["polymath@all"] < medians[best]) if lower else (medians["polymath@all"] > medians[best])
        lines.append(
            f"- {name}, {target}: all inputs {metric} {medians['polymath@all']:.4g}, best single input ({best}) {medians[best]:.4g}: "
            f"**{'met' if won else 'NOT met'}**"
        )
    return lines


def main() -> None:
    parser = common.parser("mixed", about=__doc__, sets=list(data.MIXED), systems=("polymath",))
    chosen = common.settings(
        parser, name="mixed", sets=list(data.MIXED), quick_sets=list(data.MIXED), systems=("polymath",)
    )
    budget = chosen.budget or (20.0 if chosen.quick else BUDGET)
    options = {f"polymath@{name}": {"ignore": ignored(name)} for name in INPUTS}
    records = common.race_all([common.Race(name, budget, SYSTEMS, options) for name in chosen.only], chosen=chosen)
    reporting.write(
        chosen,
        title="Mixed inputs, two outputs",
        records=records,
        systems=SYSTEMS,
        verdict=verdict(records),
        about=(
            "One row = one real Fashion-MNIST picture, one real Debian package description and three real measurements of a diamond, joined by class "
            "(`benchmarks/prepare/mixed.py` says exactly how); outputs: the clarity grade (category) and the price (number). Each run is one "
            "`polymath learn` with both targets; single-input runs leave the other columns out with `--ignore`."
        ),
    )


if __name__ == "__main__":
    main()
