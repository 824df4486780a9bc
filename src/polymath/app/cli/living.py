"""Living with a store: check it, take away, bring together."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from .root import KNOWLEDGE, Json, Name, Store, command


@command
def verify(
    level: Annotated[str, typer.Option(help="quick or full (hash everything).")] = "full",
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Check the store. Exit code bits: 1 corrupt, 2 missing, 4 unreadable, 8 catalogue differs."""
    from .. import commands

    raise typer.Exit(commands.verify(level, store=store, as_json=json))


@command
def rebuild(
    catalogue: Annotated[
        str | None,
        typer.Option(
            "--catalogue",
            help="Where it is from now on: postgresql://user@host/database, or folder; the store remembers it.",
        ),
    ] = None,
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Make the store's catalogue anew from its objects."""
    from .. import commands

    commands.rebuild(catalogue, store=store, as_json=json)


@command
def forget(task: Name, store: Store = KNOWLEDGE, json: Json = False) -> None:
    """Remove a task and what only it used; its experiments stay in the ledger, without weights."""
    from .. import commands, keeping

    with commands.opened(store) as knowledge:
        keeping.forget(task, knowledge=knowledge, as_json=json)


@command
def collect(
    old: Annotated[bool, typer.Option("--old", help="Also versions of tasks that newer ones replaced.")] = False,
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Take away what nobody needs, while others use the store."""
    from .. import commands, keeping

    with commands.opened(store) as knowledge:
        keeping.collect(old=old, knowledge=knowledge, as_json=json)


@command
def merge(
    other: Annotated[str, typer.Argument(metavar="OTHER_STORE", help="Folder or bucket of the store to take in.")],
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Take in all that another store knows. It is not changed, and nothing about it is trusted."""
    from .. import commands, keeping

    with commands.opened(store) as knowledge:
        keeping.merge(other, knowledge=knowledge, as_json=json)


@command
def copy(
    task: Name,
    other: Annotated[str, typer.Argument(metavar="OTHER_STORE", help="Folder or bucket to copy it to.")],
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Copy one task, with all that it needs, into another store."""
    from .. import commands, keeping

    with commands.opened(store) as knowledge:
        keeping.copy(task, other, knowledge=knowledge, as_json=json)


@command
def backup(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="New folder or bucket, or that of the last one.")],
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Copy the store while others use it. Exit code 1: something in it is damaged and was left out."""
    from .. import commands, keeping

    with commands.opened(store) as knowledge:
        raise typer.Exit(keeping.backup(folder, knowledge=knowledge, as_json=json))


@command
def version() -> None:
    """Print the version."""
    from ... import __version__

    sys.stdout.write(__version__ + "\n")
