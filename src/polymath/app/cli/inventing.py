"""What looks for parts: update rules and recurrent cells."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import root
from .root import KNOWLEDGE, Json, Lanes, Store, command


@command
def search(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="What to invent: optimizer or cell.")],
    budget: Annotated[
        str | None, typer.Option("--budget", "-b", help="Time for the search: 60s, 20m, 2h; --report comes after it.")
    ] = None,
    experiments: Annotated[
        int | None, typer.Option("--experiments", min=1, help="At most so many, instead of or beside a time.")
    ] = None,
    generator: Annotated[
        str | None, typer.Option("--generator", "-g", help="Who proposes: bandit, random, evolution, surrogate, ...")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the search.")] = 0,
    lanes: Lanes = None,
    name: Annotated[
        str | None, typer.Option("--name", "-n", help="Of the search (default: WHAT); the same name goes on.")
    ] = None,
    picture: Annotated[Path | None, typer.Option("--picture", help="Draw the search: an .svg file.")] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", help="Judge the winner on other exercises, for some minutes: an .html page."),
    ] = None,
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Invent an update rule or a recurrent cell; stopped or killed, the same command goes on."""
    from .. import searching

    searching.search(
        what,
        begin=root.BEGIN,
        name=name,
        budget=budget,
        experiments=experiments,
        generator=generator,
        seed=seed,
        lanes=lanes,
        picture=picture,
        report=report,
        store=store,
        as_json=json,
    )


@command
def adopt(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What was found: optimizer/137, or optimizer for the best.")
    ],
    as_: Annotated[
        str | None, typer.Option("--as", help="Its name from now on, an option in every search of this store.")
    ] = None,
    python: Annotated[
        Path | None, typer.Option("--python", help="Write it as one Python file that needs nothing of Polymath.")
    ] = None,
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Make what a search found a named part of the store, or take it away as Python."""
    from .. import searching

    searching.adopt(name, as_name=as_, python=python, store=store, as_json=json)
