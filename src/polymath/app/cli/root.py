"""What every command shares: the application, its common options, how errors are told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Annotated, Any

import typer

from .. import terminal

BEGIN = time.monotonic() - terminal.seconds_since_start()
"""When this process began: a budget counts the whole command, start included."""

app = typer.Typer(
    help="Hand it data, get a working model; everything it learns is added to one growing store.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Store = Annotated[str, typer.Option("--store", help="Folder of the store, or a bucket: s3://bucket/prefix.")]
Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout.")]
Name = Annotated[str, typer.Argument(metavar="TASK", help="Name of a task.")]
Data = Annotated[
    str, typer.Argument(metavar="DATA", help="A CSV, TSV, Parquet, JSON-lines or Arrow file, or a folder.")
]
Layers = Annotated[
    list[str] | None, typer.Option("--layer", help="A layer of your own, MODULE:CLASS; may be repeated.")
]
Budget = Annotated[str | None, typer.Option("--budget", "-b", help="Time for everything: 60s, 10m, 2h (default: 10m).")]
Work = Annotated[
    float | None, typer.Option("--work", help="Work units instead of time: the same result on any machine.")
]
Seed = Annotated[int, typer.Option("--seed", help="Same seed and work: same result.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Engine = Annotated[str, typer.Option("--engine", help="processes, or inline: everything in this process.")]
Lanes = Annotated[int | None, typer.Option("--lanes", help="Experiments side by side (default: one per core).")]
Memory = Annotated[str | None, typer.Option("--memory", help="Memory to stay below, for example 4GB.")]
Types = Annotated[
    list[str] | None, typer.Option("--type", help="COLUMN=TYPE overrides an inferred type; may be repeated.")
]
Ignore = Annotated[list[str] | None, typer.Option("--ignore", help="Column to leave out; may be repeated.")]
Cost = Annotated[
    str, typer.Option("--cost", help="new=0.02,active=0.01: shares of the score for what a model adds and computes.")
]
KNOWLEDGE = "knowledge"


@contextmanager
def errors(as_json: bool) -> Iterator[None]:
    """What the user can mend becomes one line and exit code 2; a store that fails, exit code 3."""
    from ...spec import BadInput

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
        from ...knowledge import StoreError

        if not isinstance(error, StoreError):
            raise
        terminal.fail(str(error), as_json=as_json)
        raise typer.Exit(3) from error


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Registers a command whose errors become one line."""

    @app.command(function.__name__.rstrip("_"))
    @wraps(function)
    def told(*args: Any, **kwargs: Any) -> None:
        with errors(bool(kwargs.get("json"))):
            function(*args, **kwargs)

    return told
