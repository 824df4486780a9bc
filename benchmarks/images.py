"""Claim: on five real picture sets Polymath is within 0.5 points of a hand-written one-cycle residual net given the same seconds.

python benchmarks/images.py [--quick] [--seeds 0 1 2] [--budget S] [--only fashion ...] [--systems hog expert polymath]
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import common
import data
import reporting

SYSTEMS = ("hog", "expert", "polymath")
BUDGETS = {"fashion": 300.0, "mnist10k": 120.0, "cifar10": 600.0, "icons_faenza": 120.0, "icons_mate": 120.0}
QUICK = ("mnist10k", "icons_faenza")


def verdict(records: Sequence[reporting.Record]) -> list[str]:
    """Points of accuracy ahead of the expert and of HOG, set by set."""
    lines = []
    for name in dict.fromkeys(record["set"] for record in records):
        for other in ("expert", "hog"):
            ahead = reporting.compare(
                records, ours="polymath", other=other, target="label", metric="accuracy", name=name
            )
            if not ahead:
                continue
            median, worst = statistics.median(ahead) * 100, min(ahead) * 100
            state = f": must of -0.5 **{'met' if median >= -0.5 else 'NOT met'}**" if other == "expert" else ""
            lines.append(f"- {name}: {median:+.2f} points against {other} (worst seed {worst:+.2f}){state}")
    return lines


def main() -> None:
    parser = common.parser("images", about=__doc__, sets=list(data.IMAGES), systems=SYSTEMS)
    chosen = common.settings(parser, name="images", sets=list(data.IMAGES), quick_sets=QUICK, systems=SYSTEMS)
    races = []
    for name in chosen.only:
        mirror = data.prepare(name, cache=chosen.cache)["mirror"]
        races.append(
            common.Race(
                name,
                chosen.budget or (20.0 if chosen.quick else BUDGETS[name]),
                SYSTEMS,
                {"expert": {"mirror": mirror}},
            )
        )
    records = common.race_all(races, chosen=chosen)
    reporting.write(
        chosen,
        title="Pictures",
        records=records,
        systems=SYSTEMS,
        verdict=verdict(records),
        about=(
            "Fashion-MNIST and CIFAR-10 (as JPEG) with their own split; 10,000 MNIST digits and two Debian icon themes (class = folder, one picture "
            "per icon name at 48 pixels, split by name) 75/25 by seed. Pictures are read from files within the clock by every system. The expert is "
            "`benchmarks/experts/resnet.py`: a residual net with a one-cycle schedule, told by a person whether mirroring keeps the class; Polymath "
            "is told nothing. HOG + logistic regression is the floor and ignores the budget."
        ),
    )


if __name__ == "__main__":
    main()
