"""What is asked of learned tasks: answers, scores, pages, what was tried."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .root import KNOWLEDGE, Data, Json, Layers, Name, Store, command


@command
def predict(
    task: Name,
    data: Data,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Write a CSV, Parquet or JSON-lines file instead; a folder for answers that are pictures.",
        ),
    ] = None,
    beam: Annotated[int | None, typer.Option(help="Texts: hypotheses kept; 1 is fastest.")] = None,
    n_best: Annotated[int | None, typer.Option("--n-best", help="Texts: answers told, the best first.")] = None,
    length: Annotated[float | None, typer.Option(help="Texts: above 1 longer ones, below 1 shorter ones.")] = None,
    coverage: Annotated[float | None, typer.Option(help="Texts: above 0, leave out nothing of what is read.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Texts: drawn at random; 1 as learned.")] = None,
    top_k: Annotated[int | None, typer.Option("--top-k", help="Texts: draw from so many tokens only.")] = None,
    top_p: Annotated[float | None, typer.Option("--top-p", help="Texts: draw from so much probability.")] = None,
    seed: Annotated[int | None, typer.Option(help="Texts: of drawing.")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Texts: faster, in 8-bit integers.")] = False,
    layer: Layers = None,
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Answer for every row of DATA (or for one image or text file)."""
    from .. import commands

    commands.own(layer)
    given = {
        "beam": beam,
        "n_best": n_best,
        "length": length,
        "coverage": coverage,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "seed": seed,
        "integers": int8 or None,
    }
    decoding = {name: value for name, value in given.items() if value is not None}
    commands.predict(task, data, out=out, store=store, as_json=json, decoding=decoding)


@command
def evaluate(task: Name, data: Data, layer: Layers = None, store: Store = KNOWLEDGE, json: Json = False) -> None:
    """Score a task on DATA that holds the truth."""
    from .. import commands

    commands.own(layer)
    commands.evaluate(task, data, store=store, as_json=json)


@command
def tasks(store: Store = KNOWLEDGE, json: Json = False) -> None:
    """List the tasks of the store."""
    from .. import commands

    commands.tasks(store=store, as_json=json)


@command
def show(task: Name, layer: Layers = None, store: Store = KNOWLEDGE, json: Json = False) -> None:
    """What a task is: problem, path, scores, where it came from."""
    from .. import commands

    commands.own(layer)
    commands.show(task, store=store, as_json=json)


@command
def leaderboard(task: Name, store: Store = KNOWLEDGE, json: Json = False) -> None:
    """Everything that was tried for a task, best first, failures too."""
    from .. import commands

    commands.leaderboard(task, store=store, as_json=json)


@command
def experiments(
    task: Name,
    generator: Annotated[
        str | None, typer.Option("--generator", "-g", help="Only what this generator proposed.")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that failed.")] = False,
    finished: Annotated[bool, typer.Option("--finished", help="Only those trained to their end.")] = False,
    best: Annotated[int | None, typer.Option("--best", min=1, help="Only so many, best first.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write all that the ledger holds: .jsonl or .parquet.")
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option("--tensorboard", help="Folder to write learning curves for TensorBoard to.")
    ] = None,
    picture: Annotated[Path | None, typer.Option("--picture", help="Draw the whole search: an .svg file.")] = None,
    layer: Layers = None,
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """List every experiment of a task, write them to a file, draw the search."""
    from .. import commands, ledger

    commands.own(layer)
    with commands.opened(store) as knowledge:
        ledger.experiments(
            task,
            knowledge=knowledge,
            generator=generator,
            failed=failed,
            finished=finished,
            best=best,
            out=out,
            tensorboard=tensorboard,
            picture=picture,
            as_json=json,
        )


@command
def replay(
    experiment: Annotated[str, typer.Argument(metavar="TASK/NUMBER", help="Id of an experiment: digits/12.")],
    layer: Layers = None,
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Run an experiment again and compare, bit for bit. Exit code 1: something came out otherwise."""
    from .. import commands, ledger

    commands.own(layer)
    with commands.opened(store) as knowledge:
        raise typer.Exit(ledger.replay(experiment, knowledge=knowledge, as_json=json))


@command
def report(
    task: Name,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Where to write it (default: TASK.html).")] = None,
    layer: Layers = None,
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Write one self-contained HTML page with pictures about a task."""
    from .. import commands

    commands.own(layer)
    commands.report(task, out=out, store=store, as_json=json)


@command
def map(
    out: Annotated[Path | None, typer.Option("--out", "-o", help="An .html or .svg file (default: map.html).")] = None,
    layer: Layers = None,
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Draw the whole model: layers, the tasks that share them, which task builds on which."""
    from .. import commands, whole

    commands.own(layer)
    with commands.opened(store) as knowledge:
        whole.draw(out, knowledge=knowledge, as_json=json)
