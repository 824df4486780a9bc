"""The command `absorb`: features from rows without a target, for later tasks to build upon."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..knowledge import Polymath, num_bytes, seconds
from ..spec import plain
from . import commands, terminal

if TYPE_CHECKING:
    from ..importing import Imported


def absorb(
    data: str,
    *,
    begin: float,
    name: str | None,
    budget: str,
    types: tuple[str, ...],
    ignore: tuple[str, ...],
    memory: str | None,
    store: Path,
    as_json: bool,
    **wishes: Any,
) -> None:
    """Learn features and say what is now there."""
    from ..learning import Wishes
    from ..learning.absorb import absorb as absorb_
    from .progress import Progress

    wish = commands.wished(
        lambda: Wishes(
            name=commands.task_name(name),
            types=commands.pairs(types),
            ignore=ignore,
            budget_seconds=seconds(budget),
            memory_bytes=None if memory is None else num_bytes(memory),
            begin=begin,
            **wishes,
        )
    )
    with Polymath(store) as knowledge, Progress(wish) as progress:
        found = absorb_(data, store=knowledge.store, wishes=wish, listener=progress)
    if as_json:
        terminal.print_json(_line(found))
    else:
        terminal.say(
            f"{found.head}: {found.classes} features from {found.rows:,} rows; {found.parameters:,} parameters.\n"
            "Later tasks may build upon it; their results name it."
        )


def _line(found: Imported) -> Any:
    kept = ("rows", "parameters", "source")
    return plain({"name": found.head, "features": found.classes, **{word: getattr(found, word) for word in kept}})
