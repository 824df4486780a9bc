"""The commands that look after a store: `forget`, `merge`, `copy` and `backup`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..knowledge import Polymath
from ..spec import plain, printable
from . import terminal

SHOWN = 3
"""Examples for each reason why something was left out."""


def forget(task: str, *, knowledge: Polymath, as_json: bool) -> None:
    """Remove a task and say what went with it."""
    gone = knowledge.forget(task)
    if as_json:
        terminal.print_json(plain(dataclasses.asdict(gone)))
        return
    terminal.say(
        f"forgot {task}: {_counted(gone.versions, 'version')}, {_counted(gone.objects, 'object')}, "
        f"{_bytes(gone.bytes)} freed"
    )
    for other, layers in gone.shared.items():
        terminal.say(f"  {_counted(layers, 'layer')} stayed: {printable(other)} uses them")
    if gone.waiting:
        terminal.say(f"  {_bytes(gone.waiting)} that nobody needs stay for a day: others may have the store open")
    if gone.experiments:
        terminal.say(
            f"  {_counted(gone.experiments, 'experiment')} stay in the ledger as experience, without weights "
            "and predictions; they hold no rows"
        )


def collect(*, old: bool, knowledge: Polymath, as_json: bool) -> None:
    """Take away what nobody needs and say how much it was."""
    found = knowledge.collect(old=old)
    if as_json:
        terminal.print_json(plain(dataclasses.asdict(found)))
        return
    terminal.say(
        f"collected {_counted(found.records, 'record')} and {_counted(found.objects, 'object')}, "
        f"{_bytes(found.bytes)} freed"
    )
    if found.waiting:
        terminal.say(f"  {_bytes(found.waiting)} that nobody needs stay for a day: others may have the store open")


def merge(other: str | Path, *, knowledge: Polymath, as_json: bool) -> None:
    """Take in another store and say what came and what was left out."""
    found = knowledge.merge(other)
    if as_json:
        terminal.print_json(plain(dataclasses.asdict(found)))
        return
    terminal.say(
        f"merged {other}: {_counted(found.records, 'record')} and {_counted(found.objects, 'object')} "
        f"({_bytes(found.bytes)}) taken in"
    )
    if found.healed:
        terminal.say(f"  {found.healed:,} of them heal damaged ones of this store")
    for name, (before, after) in found.heads.items():
        what = (
            "is new" if before is None else "is forgotten" if after is None else "now means the other's later version"
        )
        terminal.say(f"  {printable(name)} {what}")
    left_out(found.left_out)


def copy(task: str, other: str | Path, *, knowledge: Polymath, as_json: bool) -> None:
    """Copy one task into another store."""
    found = knowledge.copy(task, other)
    if as_json:
        terminal.print_json({"task": task, "to": str(other), **plain(dataclasses.asdict(found))})
    else:
        terminal.say(f"copied {task} to {other}: {_counted(found.objects, 'object')}, {_bytes(found.bytes)}")


def backup(folder: str | Path, *, knowledge: Polymath, as_json: bool) -> int:
    """Copy the store; the exit code is 1 if something of it is damaged and was left out."""
    found = knowledge.backup(folder)
    if as_json:
        terminal.print_json({"to": str(folder), **plain(dataclasses.asdict(found))})
    else:
        terminal.say(
            f"backup in {folder}: {_counted(found.records, 'record')} and {_counted(found.objects, 'object')} "
            f"({_bytes(found.bytes)}) copied"
        )
        left_out(found.left_out)
    return 1 if found.left_out else 0


def left_out(reasons: Mapping[str, Sequence[str]]) -> None:
    """One line for each reason."""
    for reason, what in sorted(reasons.items()):
        more = ", ..." if len(what) > SHOWN else ""
        terminal.say(f"  left out: {len(what):,} {reason}: {', '.join(what[:SHOWN])}{more}")


def _counted(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _bytes(size: float) -> str:
    for unit in ("bytes", "KB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
