"""The command `consolidate`: one trunk for many tasks of a kind, and a table of what became of each."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..spec import plain
from . import commands, terminal
from .terminal import number

if TYPE_CHECKING:
    from ..learning.consolidate import Consolidated


def consolidate(
    only: tuple[str, ...], *, begin: float, budget: str, seed: int, device: str, store: str | Path, as_json: bool
) -> None:
    """Learn a trunk for each kind of input, move what it serves, and say so."""
    from ..learning import Wishes
    from ..learning.consolidate import consolidate as consolidate_
    from .progress import Progress

    wish = Wishes.wished(budget, begin=begin, seed=seed, device=device)
    with commands.opened(store) as knowledge, Progress(wish) as progress:
        found = consolidate_(knowledge.store, wishes=wish, listener=progress, only=only)
    if as_json:
        terminal.print_json(plain(found.model_dump(mode="json")))
    else:
        _print(found)


def _print(found: Consolidated) -> None:
    """One table for each trunk; tasks that were left out stand in the last."""
    for trunk in found.trunks:
        tasks = [
            one for one in found.tasks if one.trunk == trunk.trunk or (not one.trunk and trunk is found.trunks[-1])
        ]
        rows = [
            [
                one.task,
                one.metric,
                number(one.before),
                number(one.after),
                "moved" if one.moved else f"kept: {one.why}",
                f"{one.parameters_before:,}",
                f"{one.parameters_after:,}" if one.parameters_after else "",
            ]
            for one in tasks
        ]
        columns = ["task", "metric", "old score", f"on {trunk.trunk}", "", "parameters", "now"]
        title = f"{trunk.trunk}: {trunk.reads}, {trunk.classes:,} classes, {trunk.rows:,} rows"
        terminal.table(title, columns, rows)
    sys.stdout.write("Scores are of rows that the trunk has not seen. Later tasks begin with it where that helps.\n")
