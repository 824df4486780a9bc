"""What the small benchmarks share: rows of named measurements against a limit, kept and reported like the races."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import common
import data
import reporting


@dataclass(frozen=True)
class Measured:
    """One quantity, measured a few times; `must` and `aim` are in the same unit, `more` says that more is better."""

    name: str
    values: tuple[float, ...]
    unit: str
    must: float | None = None
    more: bool = False
    note: str = ""

    def row(self) -> list[str]:
        worst = min(self.values) if self.more else max(self.values)
        middle = statistics.median(self.values)
        met = self.must is None or (middle >= self.must if self.more else middle <= self.must)
        limit = "-" if self.must is None else f"{self.must:g} {self.unit}: {'met' if met else '**NOT met**'}"
        return [self.name, f"{middle:.3g} {self.unit}", f"{worst:.3g} {self.unit}", limit, self.note]


@dataclass(frozen=True)
class Options:
    quick: bool
    repeats: int
    only: tuple[str, ...]
    cache: Path
    command: tuple[str, ...]


def options(name: str, *, about: str | None, parts: Sequence[str]) -> Options:
    """The command line of a small benchmark."""
    made = argparse.ArgumentParser(
        prog=f"benchmarks/{name}.py", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--quick", action="store_true", help="small data, once: does it run?")
    made.add_argument("--repeats", type=int, help="measurements of each (default 3; with --quick 1)")
    made.add_argument("--only", nargs="+", choices=parts, help="only these parts")
    made.add_argument("--cache", type=Path, default=data.DEFAULT_CACHE, help="data (default: %(default)s)")
    made.add_argument("--polymath", nargs="+", help="the command to measure (default: polymath of this environment)")
    given = made.parse_args()
    command = tuple(given.polymath or common.polymath_command())
    repeats = given.repeats or (1 if given.quick else 3)
    return Options(given.quick, repeats, tuple(given.only or parts), given.cache.expanduser().resolve(), command)


def timed(words: Sequence[str], *, folder: Path, home: Path) -> tuple[float, subprocess.CompletedProcess[str]]:
    """Seconds of one command in `folder`, with `home` as home folder (so that caches are ours). Raises when it fails."""
    home.mkdir(parents=True, exist_ok=True)
    surroundings = {**common.environment(), "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    began = time.monotonic()
    done = subprocess.run(words, cwd=folder, env=surroundings, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - began
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return seconds, done


def write(name: str, *, title: str, about: str, found: Sequence[Measured], chosen: Options) -> None:
    """Print the measurements and write the report."""
    rows = [measured.row() for measured in found]
    header = ("what", "median", "worst", "must", "note")
    file = reporting.page(
        name,
        reporting.table(header, rows),
        title=title,
        about=about,
        told=[f"{chosen.repeats} measurement(s) of each"],
        quick=chosen.quick,
    )
    for row in rows:
        print("  ".join(f"{cell:<28}" if index == 0 else cell for index, cell in enumerate(row)))
    print(f"report: {file}")
