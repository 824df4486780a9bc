"""`polymath`: the command line. Only typer and rich are imported here; a command imports the rest when it runs."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from . import terminal
from .lean import lean

BEGIN = time.monotonic() - terminal.seconds_since_start()
"""When this process began: a budget counts the whole command, start included."""

app = typer.Typer(
    help="Hand it data, get a working model; everything it learns is added to one growing store.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Store = Annotated[Path, typer.Option("--store", help="Folder of the store.")]
Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout.")]
Name = Annotated[str, typer.Argument(metavar="TASK", help="Name of a task.")]
Data = Annotated[
    str, typer.Argument(metavar="DATA", help="A CSV, TSV, Parquet, JSON-lines or Arrow file, or a folder.")
]
Layers = Annotated[
    list[str] | None, typer.Option("--layer", help="A layer of your own, MODULE:CLASS; may be repeated.")
]
KNOWLEDGE = Path("knowledge")


@contextmanager
def _errors(as_json: bool) -> Iterator[None]:
    """What the user can mend becomes one line and exit code 2; a store that fails, exit code 3."""
    from ..spec import BadInput

    try:
        yield
    except BadInput as error:
        terminal.fail(str(error), as_json=as_json)
        raise typer.Exit(2) from error
    except ValueError as error:  # a validation wraps what it met, a layer of the user's own that was not named
        met = [one.get("ctx", {}).get("error") for one in getattr(error, "errors", list)()]
        bad = next((one for one in met if isinstance(one, BadInput)), None)
        if bad is None:
            raise
        terminal.fail(str(bad), as_json=as_json)
        raise typer.Exit(2) from error
    except KeyboardInterrupt as error:
        terminal.fail("stopped; what was published before stays", as_json=as_json)
        raise typer.Exit(130) from error
    except BrokenPipeError as error:
        raise typer.Exit(0) from error
    except OSError as error:
        from ..knowledge import StoreError

        if not isinstance(error, StoreError):
            raise
        terminal.fail(str(error), as_json=as_json)
        raise typer.Exit(3) from error


def _command(function: Callable[..., None]) -> Callable[..., None]:
    """Registers a command whose errors become one line."""

    @app.command(function.__name__.rstrip("_"))
    @wraps(function)
    def command(*args: Any, **kwargs: Any) -> None:
        with _errors(bool(kwargs.get("json"))):
            function(*args, **kwargs)

    return command


@_command
def learn(
    data: Data,
    target: Annotated[
        list[str] | None, typer.Option("--target", "-t", help="Column to predict; may be repeated.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", "-n", help="Name of the task (default: from DATA).")] = None,
    budget: Annotated[str | None, typer.Option("--budget", "-b", help="Time for everything: 60s, 10m, 2h.")] = None,
    work: Annotated[
        float | None, typer.Option("--work", help="Work units instead of time: the same result on any machine.")
    ] = None,
    type_: Annotated[list[str] | None, typer.Option("--type", help="COLUMN=TYPE overrides an inferred type.")] = None,
    raters: Annotated[
        list[str] | None, typer.Option("--raters", help="TARGET=COLUMN,COLUMN,...: who graded it; may be repeated.")
    ] = None,
    ignore: Annotated[list[str] | None, typer.Option("--ignore", help="Column to leave out; may be repeated.")] = None,
    metric: Annotated[
        str | None, typer.Option("--metric", help="What to make best, for example auc, rmse, f1_macro.")
    ] = None,
    test: Annotated[str | None, typer.Option("--test", help="File or folder with the test rows.")] = None,
    validation: Annotated[str | None, typer.Option("--validation", help="File or folder with validation rows.")] = None,
    split: Annotated[str | None, typer.Option("--split", help="random, stratified, group:COLUMN, time:COLUMN.")] = None,
    test_fraction: Annotated[float, typer.Option(help="Share of the rows kept for the one test at the end.")] = 0.2,
    problem: Annotated[Path | None, typer.Option("--problem", help="Problem file (TOML or JSON).")] = None,
    seed: Annotated[int, typer.Option(help="Same seed and work: same result.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    engine: Annotated[str, typer.Option(help="processes, or inline: everything in this process.")] = "processes",
    lanes: Annotated[int | None, typer.Option(help="Experiments side by side (default: one per core).")] = None,
    generator: Annotated[
        str | None, typer.Option(help="Who proposes experiments: bandit, random, surrogate, evolution, ...")
    ] = None,
    cutter: Annotated[str | None, typer.Option(help="Who cuts them between rungs: halving, top_k, median, ...")] = None,
    space: Annotated[str | None, typer.Option(help="What is searched: all, paths, families or heads.")] = None,
    layer: Layers = None,
    memory: Annotated[str | None, typer.Option("--memory", help="Memory to stay below, for example 4GB.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Build upon no stored task.")] = False,
    private: Annotated[bool, typer.Option("--private", help="Later tasks may not build upon this one.")] = False,
    gate: Annotated[
        str, typer.Option("--gate", help="TASK[:VALUE[@PROBABILITY]]: answer only where that task says so.")
    ] = "",
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Learn a task from DATA: infer the problem, search for a model, add it to the store."""
    from . import commands

    commands.learn(
        data,
        begin=BEGIN,
        store=store,
        as_json=json,
        target=tuple(target or ()),
        name=name,
        budget=budget,
        work=work,
        types=tuple(type_ or ()),
        raters=tuple(raters or ()),
        ignore=tuple(ignore or ()),
        metric=metric,
        test=test,
        validation=validation,
        split=split,
        test_fraction=test_fraction,
        problem=problem,
        seed=seed,
        device=device,
        engine=engine,
        lanes=lanes,
        memory=memory,
        layers=commands.own(layer),
        build_on=not fresh,
        private=private,
        gate=gate,
        **{word: given for word, given in (("generator", generator), ("cutter", cutter), ("space", space)) if given},
    )


@_command
def consolidate(
    budget: Annotated[str, typer.Option("--budget", "-b", help="Time for the trunk: 60s, 10m, 2h.")] = "10m",
    only: Annotated[list[str] | None, typer.Option("--only", help="Only this task; may be repeated.")] = None,
    seed: Annotated[int, typer.Option(help="Of the search for the trunk.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Sleep: learn one trunk from the pictures of all tasks, and move the tasks that it serves no worse."""
    from . import consolidating

    consolidating.consolidate(
        tuple(only or ()), begin=BEGIN, budget=budget, seed=seed, device=device, store=store, as_json=json
    )


@_command
def absorb(
    data: Data,
    name: Annotated[
        str | None, typer.Option("--name", "-n", help="Name of what is absorbed (default: from DATA).")
    ] = None,
    budget: Annotated[str, typer.Option("--budget", "-b", help="Time for everything: 60s, 10m, 2h.")] = "10m",
    type_: Annotated[list[str] | None, typer.Option("--type", help="COLUMN=TYPE overrides an inferred type.")] = None,
    ignore: Annotated[list[str] | None, typer.Option("--ignore", help="Column to leave out; may be repeated.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed and data: same features, if there is time for all rows.")] = 0,
    memory: Annotated[str | None, typer.Option("--memory", help="Memory to stay below, for example 4GB.")] = None,
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Learn features from pictures, texts or a table without a target, for later tasks to build upon."""
    from . import absorbing

    absorbing.absorb(
        data,
        begin=BEGIN,
        name=name,
        budget=budget,
        types=tuple(type_ or ()),
        ignore=tuple(ignore or ()),
        memory=memory,
        store=store,
        as_json=json,
        seed=seed,
    )


@_command
def refresh(
    task: Name,
    data: Data,
    budget: Annotated[str | None, typer.Option("--budget", "-b", help="Time for everything: 60s, 10m, 2h.")] = None,
    work: Annotated[float | None, typer.Option("--work", help="Work units instead of time.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed and work: same result.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    engine: Annotated[str, typer.Option(help="processes, or inline: everything in this process.")] = "processes",
    lanes: Annotated[int | None, typer.Option(help="Experiments side by side (default: one per core).")] = None,
    layer: Layers = None,
    memory: Annotated[str | None, typer.Option("--memory", help="Memory to stay below, for example 4GB.")] = None,
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Learn a task further from the new rows of DATA. Exit code 0, published or not: the output says which."""
    from . import commands, refreshing

    refreshing.refresh(
        task,
        data,
        begin=BEGIN,
        budget=budget,
        memory=memory,
        store=store,
        as_json=json,
        work=work,
        seed=seed,
        device=device,
        engine=engine,
        lanes=lanes,
        layers=commands.own(layer),
    )


@_command
def distill(
    task: Name,
    data: Annotated[
        str | None, typer.Option("--data", help="What it was learned from (default: where that was).")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", "-n", help="Name of the student (default: TASK-small).")] = None,
    budget: Annotated[str | None, typer.Option("--budget", "-b", help="Time for everything: 60s, 10m, 2h.")] = None,
    work: Annotated[float | None, typer.Option("--work", help="Work units instead of time.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed and work: same result.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    engine: Annotated[str, typer.Option(help="processes, or inline: everything in this process.")] = "processes",
    lanes: Annotated[int | None, typer.Option(help="Experiments side by side (default: one per core).")] = None,
    layer: Layers = None,
    memory: Annotated[str | None, typer.Option("--memory", help="Memory to stay below, for example 4GB.")] = None,
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Teach a small, fast student the answers of TASK."""
    from . import commands, distilling

    distilling.distill(
        task,
        data=data,
        name=name,
        begin=BEGIN,
        budget=budget,
        memory=memory,
        store=store,
        as_json=json,
        work=work,
        seed=seed,
        device=device,
        engine=engine,
        lanes=lanes,
        layers=commands.own(layer),
    )


@_command
def rollback(
    task: Name,
    to: Annotated[
        int | None, typer.Option("--to", min=1, help="Number of the version (default: the one before).")
    ] = None,
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Put an earlier version of a task in force; `show` lists them."""
    from . import refreshing

    refreshing.rollback(task, to=to, store=store, as_json=json)


@_command
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
    from . import commands

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


@_command
def evaluate(task: Name, data: Data, layer: Layers = None, store: Store = KNOWLEDGE, json: Json = False) -> None:
    """Score a task on DATA that holds the truth."""
    from . import commands

    commands.own(layer)
    commands.evaluate(task, data, store=store, as_json=json)


@_command
def tasks(store: Store = KNOWLEDGE, json: Json = False) -> None:
    """List the tasks of the store."""
    from . import commands

    commands.tasks(store=store, as_json=json)


@_command
def show(task: Name, layer: Layers = None, store: Store = KNOWLEDGE, json: Json = False) -> None:
    """What a task is: problem, path, scores, where it came from."""
    from . import commands

    commands.own(layer)
    commands.show(task, store=store, as_json=json)


@_command
def leaderboard(task: Name, store: Store = KNOWLEDGE, json: Json = False) -> None:
    """Everything that was tried for a task, best first, failures too."""
    from . import commands

    commands.leaderboard(task, store=store, as_json=json)


@_command
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
    from . import commands, ledger

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


@_command
def replay(
    experiment: Annotated[str, typer.Argument(metavar="TASK/NUMBER", help="Id of an experiment: digits/12.")],
    layer: Layers = None,
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Run an experiment again and compare, bit for bit. Exit code 1: something came out otherwise."""
    from . import commands, ledger

    commands.own(layer)
    with commands.opened(store) as knowledge:
        raise typer.Exit(ledger.replay(experiment, knowledge=knowledge, as_json=json))


@_command
def report(
    task: Name,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Where to write it (default: TASK.html).")] = None,
    layer: Layers = None,
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Write one self-contained HTML page with pictures about a task."""
    from . import commands

    commands.own(layer)
    commands.report(task, out=out, store=store, as_json=json)


@_command
def import_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of what is imported.")],
    tensors: Annotated[Path, typer.Argument(metavar="FILE.safetensors", help="Its tensors.")],
    layers: Annotated[
        Path, typer.Option("--layers", help="JSON file: ports, path, and which tensor goes to which layer.")
    ],
    layer: Layers = None,
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Take in pretrained layers, frozen, for later tasks to build upon."""
    from . import commands, whole

    commands.own(layer)
    whole.take_in(name, tensors, layers, store=store, as_json=json)


@_command
def map(
    out: Annotated[Path | None, typer.Option("--out", "-o", help="An .html or .svg file (default: map.html).")] = None,
    layer: Layers = None,
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Draw the whole model: layers, the tasks that share them, which task builds on which."""
    from . import commands, whole

    commands.own(layer)
    with commands.opened(store) as knowledge:
        whole.draw(out, knowledge=knowledge, as_json=json)


@_command
def search(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="What to invent: optimizer or cell.")],
    budget: Annotated[str | None, typer.Option("--budget", "-b", help="Time for everything: 60s, 20m, 2h.")] = None,
    experiments: Annotated[
        int | None, typer.Option("--experiments", min=1, help="At most so many, instead of or beside a time.")
    ] = None,
    generator: Annotated[
        str | None, typer.Option("--generator", "-g", help="Who proposes: bandit, random, evolution, surrogate, ...")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the search.")] = 0,
    lanes: Annotated[int | None, typer.Option(help="Experiments side by side (default: one per core).")] = None,
    name: Annotated[
        str | None, typer.Option("--name", "-n", help="Of the search (default: WHAT); the same name goes on.")
    ] = None,
    picture: Annotated[Path | None, typer.Option("--picture", help="Draw the search: an .svg file.")] = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="Judge the winner on other exercises: an .html page.")
    ] = None,
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Invent an update rule or a recurrent cell; stopped or killed, the same command goes on."""
    from . import searching

    searching.search(
        what,
        begin=BEGIN,
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


@_command
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
    from . import searching

    searching.adopt(name, as_name=as_, python=python, store=store, as_json=json)


@_command
def verify(
    level: Annotated[str, typer.Option(help="quick or full (hash everything).")] = "full",
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Check the store. Exit code bits: 1 corrupt, 2 missing, 4 unreadable, 8 catalogue differs."""
    from . import commands

    raise typer.Exit(commands.verify(level, store=store, as_json=json))


@_command
def forget(task: Name, store: Store = KNOWLEDGE, json: Json = False) -> None:
    """Remove a task and what only it used; its experiments stay in the ledger, without weights."""
    from . import commands, keeping

    with commands.opened(store) as knowledge:
        keeping.forget(task, knowledge=knowledge, as_json=json)


@_command
def collect(
    old: Annotated[bool, typer.Option("--old", help="Also versions of tasks that newer ones replaced.")] = False,
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Take away what nobody needs, while others use the store."""
    from . import commands, keeping

    with commands.opened(store) as knowledge:
        keeping.collect(old=old, knowledge=knowledge, as_json=json)


@_command
def merge(
    other: Annotated[Path, typer.Argument(metavar="OTHER_STORE", help="Folder of the store to take in.")],
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Take in all that another store knows. It is not changed, and nothing about it is trusted."""
    from . import commands, keeping

    with commands.opened(store) as knowledge:
        keeping.merge(other, knowledge=knowledge, as_json=json)


@_command
def copy(
    task: Name,
    other: Annotated[Path, typer.Argument(metavar="OTHER_STORE", help="Folder of the store to copy it to.")],
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Copy one task, with all that it needs, into another store."""
    from . import commands, keeping

    with commands.opened(store) as knowledge:
        keeping.copy(task, other, knowledge=knowledge, as_json=json)


@_command
def backup(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="New folder, or that of the last backup.")],
    store: Store = KNOWLEDGE,
    json: Json = False,
) -> None:
    """Copy the store while others use it. Exit code 1: something in it is damaged and was left out."""
    from . import commands, keeping

    with commands.opened(store) as knowledge:
        raise typer.Exit(keeping.backup(folder, knowledge=knowledge, as_json=json))


@_command
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
    from . import commands

    commands.rebuild(catalogue, store=store, as_json=json)


@app.command()
def version() -> None:
    """Print the version."""
    from .. import __version__

    sys.stdout.write(__version__ + "\n")


def main() -> None:
    """Entry point of the `polymath` command."""
    try:
        with lean():
            app()
    except KeyboardInterrupt:  # before the command itself began
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done: Ctrl-C now would only spoil the tidying up


if __name__ == "__main__":
    main()
