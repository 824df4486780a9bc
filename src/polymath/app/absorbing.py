"""The command `absorb`: features from rows without a target, for later tasks to build upon."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..knowledge import Polymath
from ..spec import plain
from . import commands, terminal

if TYPE_CHECKING:
    from ..importing import Imported


def absorb(
    data: str,
    *,
    begin: float,
    name: str | None,
    budget: str | None,
    types: tuple[str, ...],
    ignore: tuple[str, ...],
    memory: str | None,
    store: str | Path,
    as_json: bool,
    **wishes: Any,
) -> None:
    """Learn features and say what is now there."""
    from ..learning import Wishes
    from ..learning.absorb import absorb as absorb_
    from .progress import Progress

    named = {"name": commands.task_name(name), "types": commands.pairs(types)}
    wish = Wishes.wished(budget, memory, ignore=ignore, begin=begin, **named, **wishes)
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
