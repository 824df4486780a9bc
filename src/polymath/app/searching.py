"""The commands `search` and `adopt`: parts are invented, shown, and become options of a store."""

from __future__ import annotations

import math
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..knowledge import Polymath
from ..spec import BadInput, plain, printable, seconds
from . import commands, terminal
from .terminal import duration, number

if TYPE_CHECKING:
    from ..inventing import Invented, Inventions, Order
    from ..search import Clock, Experiment

SHOWN = 10
"""Leaders that are listed."""
QUIET_SECONDS = 10.0
"""At most one line without a new best in this time."""


def search(
    what: str,
    *,
    begin: float,
    name: str | None,
    budget: str | None,
    experiments: int | None,
    generator: str | None,
    seed: int,
    lanes: int | None,
    picture: Path | None,
    report: Path | None,
    store: str | Path,
    as_json: bool,
) -> None:
    """Search for parts of one kind, say how it goes, show what was found."""
    from .. import inventing

    searched = inventing.searching(what)
    spent = time.monotonic() - begin
    budget_seconds = None if budget is None else max(seconds(budget) - spent, 1.0)
    with Polymath(store) as knowledge, _Watcher() as watcher:
        given = {"generator": generator or inventing.GENERATORS[what], "lanes": lanes}
        order = inventing.Order(
            name=name or what,
            budget_seconds=budget_seconds,
            experiments=experiments,
            seed=seed,
            watcher=watcher,
            **{word: one for word, one in given.items() if one is not None},  # type: ignore[arg-type]
        )
        found = searched(knowledge.store, order)
        written = _written(knowledge, found, picture=picture, report=report, order=order)
    if as_json:
        terminal.print_json({**found.as_json(), **written})
    else:
        _print(found, store=store)
        for kind, path in written.items():
            terminal.say(f"{kind} written to {path}")


def _written(
    knowledge: Polymath, found: Inventions, *, picture: Path | None, report: Path | None, order: Order
) -> dict[str, str]:
    """The files that were asked for: what they are -> where."""
    from .. import inventing
    from ..explain.invention import Attempt, write_invention_page, write_invention_picture

    if found.best is None or (picture is None and report is None):
        return {}
    attempts = [
        Attempt(one.number, one.generator, one.rung, one.score, one.label)
        for one in inventing.entries(knowledge.store, found.search)
    ]
    written = {}
    if picture is not None:
        written["picture"] = str(write_invention_picture(found.search, attempts, found.best.formula, picture))
    if report is not None:
        order.watcher.say("judging the winner beside what people made")
        sections = inventing.reporting(found.kind)(knowledge.store, found, lanes=order.lanes)
        written["report"] = str(write_invention_page(found.search, attempts, found.best.formula, sections, report))
    return written


def _print(found: Inventions, *, store: str | Path) -> None:
    counted = f"{found.experiments:,} experiments, {found.failed:,} of them died, {duration(found.seconds)}"
    if not found.leaders:
        sys.stdout.write(f"{found.search}: {counted}; nothing was found yet. The same command goes on.\n")
        return
    rows = [
        [one.name, f"{one.rung}", number(one.score), printable(one.formula, limit=104)] for one in found.leaders[:SHOWN]
    ]
    terminal.table(f"{found.search}: {counted}", ["name", "rung", "score", "formula"], rows)
    best = found.leaders[0]
    where = "" if str(store) == "knowledge" else f" --store {store}"
    sys.stdout.write(f"{best.formula}\n\nKeep it: polymath adopt {best.name} --as my-{found.kind}{where}\n")


def adopt(name: str, *, as_name: str | None, python: Path | None, store: str | Path, as_json: bool) -> None:
    """Give what was found a name in the store, or write it as Python, or both."""
    from .. import inventing

    if as_name is None and python is None:
        raise BadInput("nothing is asked for", remedy="Give --as NAME, --python FILE, or both.")
    with commands.opened(store) as knowledge:
        found: Invented = inventing.lookup(knowledge.store, name)
        if as_name is not None:
            found = inventing.adopt(knowledge.store, found, name=as_name)
        written = None if python is None else _python(found, python)
    if as_json:
        answer = plain(found.model_dump(mode="json"))
        terminal.print_json({**answer, **({"python": str(written)} if written else {})})
        return
    if as_name is not None:
        sys.stdout.write(f"{found.kind} {found.name} = {found.formula}\nEvery search of this store may take it now.\n")
    if written is not None:
        terminal.say(f"written to {written}")


def _python(found: Invented, path: Path) -> Path:
    """A rule or cell as one Python file. Raises BadInput if it cannot be written."""
    from .. import inventing

    try:
        path.write_text(inventing.python_of(found), encoding="utf-8")
    except OSError as error:
        raise BadInput(f"cannot be written: {error.strerror}", file=path, remedy="Give another --python.") from error
    return path


class _Watcher:
    """Tells of each new best, and how far the search has come: a line that moves in a terminal."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._best = (0, -math.inf)
        self._count = self._failed = 0
        self._last = time.monotonic()

    def __enter__(self) -> _Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def say(self, text: str) -> None:
        self._clear()
        terminal.say(text)

    def tried(self, experiment: Experiment, *, formula: str, clock: Clock) -> None:
        self._count += len(experiment.results) == 1
        self._failed += experiment.failed
        place = (len(experiment.results), experiment.results[-1].score)
        if not experiment.failed and place > self._best:
            self._best = place
            said = f"rung {place[0]}, score {number(place[1])}"
            self.say(f"  {said}  #{experiment.number} {printable(formula, limit=100)}")
        elif self._live or time.monotonic() - self._last > QUIET_SECONDS:
            self._last = time.monotonic()
            self._draw(clock)

    def _draw(self, clock: Clock) -> None:
        left = "" if math.isinf(clock.seconds_left) else f"{duration(clock.seconds_left)} left, "
        line = f"  {left}{self._count:,} experiments, {self._failed:,} died, best score {number(self._best[1])}"
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write("\r" + printable(line, limit=width).ljust(width))
            sys.stderr.flush()
        else:
            terminal.say(line)

    def _clear(self) -> None:
        if self._live:
            sys.stderr.write("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r")
