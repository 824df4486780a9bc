"""Claim: 12,000 finished experiments in 2 hours on 2 cores, 90 % of the core time inside training.

    python benchmarks/search_throughput.py [--quick] [--minutes 120] [--generator bandit] [--space paths]

The real thing: `learn` on the 1,789 digit images of scikit-learn (8 x 8 pixels, a folder of class folders) with a budget of
two hours, a new store and home, stopped as by Ctrl-C after so many minutes. An experiment is one set of choices whose
last rung has ended, cut or complete; those that run when time is up do not count.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import common
import reporting

sys.path.insert(0, str(common.ROOT / "src"))

from polymath.app.demo import write_digits
from polymath.learning import Silent, Wishes, learn
from polymath.problem import Dataset
from polymath.problem.sources import Rows
from polymath.search import Entry, Ledger
from polymath.store import Store

NAME, TASK = "search_throughput", "digits"
BUDGET_SECONDS = 7200.0
WANTED, MUST_HOURS, AIM_HOURS = 12_000, 2.0, 1.0
MUST_SHARE, AIM_SHARE = 0.90, 0.95


class Watch(Silent):
    """Stops the search so many seconds after the data are ready."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.began = seconds, 0.0

    def ready(self, dataset: Dataset, rows: Rows) -> None:
        self.began = time.monotonic()
        timer = threading.Timer(self.seconds, os.kill, (os.getpid(), signal.SIGINT))
        timer.daemon = True
        timer.start()


@dataclass(frozen=True)
class Counted:
    """What a search left in its ledger."""

    seconds: float
    lanes: int
    own_seconds: float
    """Processor seconds of the searching process itself."""
    entries: tuple[Entry, ...]

    @property
    def cut(self) -> Counter[int]:
        """Rung after which experiments stopped short of their schedule's end -> how many."""
        return Counter(entry.rung + 1 for entry in self._last if entry.ok and entry.share < 1)

    @property
    def complete(self) -> int:
        return sum(entry.ok and entry.share >= 1 for entry in self._last)

    @property
    def _last(self) -> list[Entry]:
        """The last rung of each experiment."""
        return list({entry.number: entry for entry in self.entries}.values())

    @property
    def failed(self) -> int:
        return sum(not entry.ok for entry in self.entries)

    @property
    def finished(self) -> int:
        """Each lane may have been at work on the next rung of one."""
        return max(len({entry.number for entry in self.entries}) - self.lanes, 0)

    @property
    def per_hour(self) -> float:
        return self.finished / self.seconds * 3600

    def share(self, seconds: float) -> float:
        return seconds / (self.lanes * self.seconds)

    @property
    def training_share(self) -> float:
        return self.share(sum(float(entry.outcome.get("training_seconds") or 0.0) for entry in self.entries))

    @property
    def busy_share(self) -> float:
        return self.share(sum(entry.seconds for entry in self.entries))


def run(chosen: argparse.Namespace, folder: Path) -> Counted:
    """One search, and what it left."""
    known, _ = write_digits(folder)
    lanes = common.cores()
    wishes = Wishes(
        name=TASK,
        budget_seconds=BUDGET_SECONDS,
        generator=chosen.generator,
        cutter=chosen.cutter,
        space=chosen.space,
        lanes=lanes,
        seed=chosen.seed,
        cache=str(folder / "cache"),
    )
    watch = Watch(60 * chosen.minutes)
    with Store.open(folder / "knowledge") as store:
        busy = time.process_time()
        learn(str(known), store=store, wishes=wishes, listener=watch)
        seconds, busy = time.monotonic() - watch.began, time.process_time() - busy
        return Counted(seconds, lanes, busy, tuple(Ledger(store, TASK).entries()))


def write(counted: Counted, *, chosen: argparse.Namespace) -> None:
    """Print the numbers and write the report."""
    hours = WANTED / max(counted.per_hour, 1e-9)
    share = counted.training_share
    jobs = max(len(counted.entries), 1)

    cut = ", ".join(f"{count} after rung {rung}" for rung, count in sorted(counted.cut.items()))
    rows = [
        ["finished experiments", f"{counted.finished:,}", f"in {counted.seconds / 60:.1f} minutes", ""],
        ["... cut", cut, "", ""],
        ["... complete", f"{counted.complete:,}", "", ""],
        ["... failed", f"{counted.failed:,}", "", ""],
        ["finished per hour", f"{counted.per_hour:,.0f}", f"{WANTED / MUST_HOURS:,.0f}", f"{WANTED / AIM_HOURS:,.0f}"],
        [f"hours for {WANTED:,}", f"{hours:.2f}", f"{MUST_HOURS:g}: {reporting.verdict(hours <= MUST_HOURS)}", f"{AIM_HOURS:g}"],
        ["share of core time inside training", f"{share:.1%}", f"{MUST_SHARE:.0%}: {reporting.verdict(share >= MUST_SHARE)}",
         f"{AIM_SHARE:.0%}"],
        ["share of core time inside jobs", f"{counted.busy_share:.1%}", "", ""],
        ["training of one rung, mean", f"{1000 * share * counted.lanes * counted.seconds / jobs:.0f} ms", "", ""],
        ["rest of its job, mean",
         f"{1000 * (counted.busy_share - share) * counted.lanes * counted.seconds / jobs:.0f} ms", "", ""],
        ["processor time of the searching process per rung", f"{1000 * counted.own_seconds / jobs:.1f} ms", "", ""],
    ]  # fmt: skip
    file = reporting.page(
        NAME,
        reporting.table(("what", "got", "must", "aim"), rows),
        title="Experiments per hour",
        about=(__doc__ or "").split("\n\n")[-1].strip(),
        told=[
            f"generator {chosen.generator}, cutter {chosen.cutter}, space {chosen.space}, seed {chosen.seed}, {counted.lanes} lanes"
        ],
        quick=chosen.quick,
    )
    print("\n".join("  ".join(row) for row in rows))
    print(f"report: {file}")


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="one minute: does it run?")
    made.add_argument("--minutes", type=float, help="how long (default 120; with --quick 1)")
    made.add_argument("--generator", default=Wishes().generator)
    made.add_argument("--cutter", default=Wishes().cutter)
    made.add_argument("--space", default="paths")
    made.add_argument("--seed", type=int, default=0)
    chosen = made.parse_args()
    chosen.minutes = chosen.minutes or (1.0 if chosen.quick else 120.0)
    with tempfile.TemporaryDirectory(prefix=NAME) as folder:
        counted = run(chosen, Path(folder))
        size = sum(file.stat().st_size for file in (Path(folder) / "knowledge").rglob("*") if file.is_file())
        print(f"{size / 2**20:.0f} MiB of stores")
    write(counted, chosen=chosen)


if __name__ == "__main__":
    main()
