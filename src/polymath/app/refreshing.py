"""The commands `refresh` and `rollback`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..spec import plain
from . import commands, terminal
from .terminal import duration, number

if TYPE_CHECKING:
    from ..learning import Refreshed

PARTS = {"old_rows": "the old rows", "new_rows": "the new rows", "all_rows": "all of them"}


def refresh(
    task: str,
    data: str,
    *,
    begin: float,
    budget: str | None,
    memory: str | None,
    store: str | Path,
    as_json: bool,
    **wishes: Any,
) -> None:
    """Learn a task further and say which version is in force now."""
    from ..learning import Wishes
    from ..learning import refresh as refresh_
    from .progress import Progress

    wish = Wishes.wished(budget, memory, name=task, begin=begin, **wishes)
    with commands.opened(store) as knowledge, Progress(wish) as progress:
        _, found = refresh_(data, store=knowledge.store, wishes=wish, listener=progress)
    if as_json:
        terminal.print_json(plain(found.model_dump(mode="json")))
    else:
        _print(found)


def rollback(task: str, *, to: int | None, store: str | Path, as_json: bool) -> None:
    """Put an earlier version in force."""
    with commands.opened(store) as knowledge:
        version = knowledge.rollback(task, to=to)
        found = knowledge.task(task).versions()
    if as_json:
        terminal.print_json({"task": task, "version": version, "versions": plain(found)})
    else:
        terminal.say(f"version {version} of task {task!r} is in force; the others stay in the store")


def _print(found: Refreshed) -> None:
    rows = [
        [words, number(found.old.get(part)), number(found.new.get(part)), number(found.noise.get(part))]
        for part, words in PARTS.items()
    ]
    columns = [found.metric, "before", "now", "noise"]
    terminal.table(f"task {found.task}, on rows not trained on", columns, rows)
    state = "published" if found.published else "not published, the version before stays"
    repeated = f", {found.rows_repeated:,} repeated" if found.rows_repeated else ""
    sys.stdout.write(
        f"{state}: {found.why}\n"
        f"  {found.rows_new:,} new rows{repeated}, {found.rows_old:,} old ones; {duration(found.seconds)}; "
        f"{found.versions} {'version' if found.versions == 1 else 'versions'}\n"
    )
    if found.published:
        sys.stdout.write(f"Next: polymath rollback {found.task}    the version before\n")
