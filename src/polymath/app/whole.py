"""The commands that look at the whole growing model: `map` draws it, and `show` says what one task shares with it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..spec import plain
from . import terminal

if TYPE_CHECKING:
    from ..growing import Share, Union
    from ..knowledge import Polymath

MOST_NAMES = 8
"""Names of tasks in one line."""


def draw(out: Path | None, *, knowledge: Polymath, as_json: bool) -> None:
    """Write the map; with --json alone print it as data."""
    from ..explain import map_data, write_map

    union = knowledge.union()
    target = None
    if out is not None or not as_json:
        target = write_map(union, out or Path("map.html"))
        terminal.say(f"map written to {target}")
    if as_json:
        terminal.print_json(plain({**map_data(union), **({"out": str(target)} if target else {})}))


def take_in(
    name: str, tensors: Path, layers: Path | None, words: Path | None, *, store: str | Path, as_json: bool
) -> None:
    """Import, and say what was taken in and what not."""
    from ..importing import take_in
    from ..knowledge import Polymath
    from .commands import task_name

    with Polymath(store) as knowledge:
        found = take_in(knowledge.store, task_name(name), tensors=tensors, layers=layers, words=words)
    if as_json:
        terminal.print_json(plain(found.model_dump(mode="json")))
        return
    terminal.say(f"{found.head}: {len(found.path['genes']):,} genes, {found.parameters:,} parameters, frozen")
    if found.unused:
        terminal.say(f"not used: {len(found.unused):,} tensors, first {found.unused[0]}")
    terminal.say("Later tasks may build upon it; their results name it.")


def as_dict(share: Share) -> dict[str, Any]:
    """A share as plain data."""
    return {
        "parameters": share.parameters,
        "parameters_shared": share.parameters_shared,
        "parameters_own": share.parameters_own,
        "work": share.work,
        "active_share": share.active,
        "active_share_work": share.active_work,
        "shares_with": list(share.shares_with),
        "builds_on": list(share.builds_on),
        "built_upon_by": list(share.built_upon_by),
        "imported": list(share.imported),
    }


def show(share: Share, whole: Union) -> None:
    """What a task takes from the whole model and gives to it, in four lines."""
    own, shared = share.parameters_own, share.parameters_shared
    with_ = f" with {_names(share.shares_with)}" if share.shares_with else ""
    lines = [
        f"stored for its path: {share.parameters:,} parameters, of them {shared:,} shared{with_} and {own:,} its own",
        f"active share of the whole model ({len(whole.tasks):,} tasks, {whole.all_parameters:,} parameters): "
        f"{100 * share.active:.3g} % of the parameters, {100 * share.active_work:.3g} % of the multiply-adds",
        f"builds on: {_names(share.builds_on) or 'nothing'}; built upon by: {_names(share.built_upon_by) or 'nobody'}",
        f"imported knowledge: {_names(share.imported) or 'none'}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


def _names(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
