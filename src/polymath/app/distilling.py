"""The command `distill`: a small, fast student of a task."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ..spec import plain
from . import commands, terminal
from .terminal import number


def distill(
    task: str,
    *,
    data: str | None,
    name: str | None,
    begin: float,
    budget: str | None,
    memory: str | None,
    store: str | Path,
    as_json: bool,
    **wishes: Any,
) -> None:
    """Teach a student and say how good and how fast it is beside its teacher."""
    from ..learning import Wishes
    from ..learning.distill import distill as distill_
    from .progress import Progress

    wish = Wishes.wished(budget, memory, name=task, begin=begin, **wishes)
    with commands.opened(store) as knowledge, Progress(wish) as progress:
        _, found = distill_(
            data, store=knowledge.store, wishes=wish, listener=progress, name=commands.task_name(name) or None
        )
    if as_json:
        terminal.print_json({**plain(found.model_dump(mode="json")), "speed_up": round(found.speed_up, 2)})
        return
    columns = ["task", f"test {found.metric}", "rows per second", "parameters"]
    rows = [
        [
            found.task,
            number(found.teacher_score),
            f"{found.teacher_rows_per_second:,.0f}",
            f"{found.teacher_parameters:,}",
        ],
        [
            found.student,
            number(found.student_score),
            f"{found.student_rows_per_second:,.0f}",
            f"{found.student_parameters:,}",
        ],
    ]
    terminal.table("teacher and student", columns, rows)
    sys.stdout.write(f"Task {found.student!r} answers {found.speed_up:.1f} times as fast as {found.task!r}.\n")
