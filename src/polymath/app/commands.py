"""What each command does, between the arguments of `main` and the library."""

from __future__ import annotations

import errno
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..knowledge import Polymath, StoreError, Task
from ..knowledge import rebuild as rebuild_
from ..knowledge import verify as verify_
from ..predicting import bring
from ..spec import BadInput, plain
from . import output, terminal, whole


def learn(
    data: str,
    *,
    begin: float,
    store: str | Path,
    as_json: bool,
    target: tuple[str, ...],
    name: str | None,
    types: tuple[str, ...],
    raters: tuple[str, ...],
    split: str | None,
    test_fraction: float,
    budget: str | None,
    memory: str | None,
    problem: Path | None,
    cost: str,
    **wishes: Any,
) -> None:
    """Learn a task and say what came out."""
    from ..learning import Wishes
    from ..learning import learn as learn_
    from ..learning.costs import parse_cost
    from ..problem import Problem
    from .progress import Progress

    described = Problem.load(problem) if problem is not None else None
    wish = Wishes.wished(
        budget,
        memory,
        name=task_name(name),
        targets=target,
        types=pairs(types),
        raters=_raters(raters),
        split=_split(split, test_fraction),
        begin=begin,
        cost=parse_cost(cost),
        **wishes,
    )
    with Polymath(store) as knowledge:
        with Progress(wish) as progress:
            record = learn_(data, store=knowledge.store, wishes=wish, listener=progress, problem=described)
        task = Task(knowledge.store, record)
        if as_json:
            terminal.print_json(_line(task))
        else:
            output.learned(task, store=store)


def own(layers: list[str] | None) -> tuple[str, ...]:
    """Makes layers of the user's own known, from modules in the current folder too; gives their names."""
    if layers:
        sys.path.insert(0, str(Path.cwd()))
        bring(layers)
    return tuple(layers or ())


def predict(
    task: str,
    data: str,
    *,
    out: Path | None,
    store: str | Path,
    as_json: bool,
    decoding: Mapping[str, Any] | None = None,
) -> None:
    """Answer for every row; `decoding`: how texts are looked for."""
    with opened(store) as knowledge:
        learned = knowledge.task(task)
        if out is not None and learned.predictor.of_pixels and out.suffix.lower() not in output.ENDINGS:
            predicted = _pictures(learned, data, out)
            out = None
        else:
            predicted = learned.predict(data, **(decoding or {}))
    if out is not None:
        try:
            output.write_predictions(predicted, out)
        except OSError as error:
            raise BadInput(f"cannot be written: {error.strerror}", file=out, remedy="Give another --out.") from error
        terminal.say(f"{len(predicted)} predictions written to {out}")
    if as_json:
        terminal.print_json({"task": task, "predictions": plain(predicted)})
    elif out is None:
        output.predictions(predicted)
    failed = sum(1 for answer in predicted if "error" in answer)
    if failed:
        terminal.say(f"{failed} of {len(predicted)} rows could not be used; their answer says why.")


def _pictures(task: Any, data: str, folder: Path) -> list[dict[str, Any]]:
    """Answers at every pixel, each written as a file below a folder, whose path is then the answer."""
    from ..evaluating import rows_of
    from ..problem.features import Image
    from . import pictures

    rows = rows_of(data, task.predictor.problem)
    first = next(one.name for one in task.predictor.problem.inputs if isinstance(one, Image))
    column = rows.table[first]
    paths = [one if isinstance(one, str) else None for one in column.to_pylist()]
    predicted = [row for chunk in task.predictor.predict(rows.table) for row in chunk]
    return pictures.write(predicted, pictures.names_of(paths), folder)


def answers(task: str, data: Path, *, store: str | Path) -> list[dict[str, Any]]:
    """Answers in the order of the rows, for the demo."""
    with opened(store) as knowledge:
        return knowledge.task(task).predict(data)


def evaluate(task: str, data: str, *, store: str | Path, as_json: bool) -> None:
    """Score a task on new rows."""
    with opened(store) as knowledge:
        learned = knowledge.task(task)
        result = learned.evaluate(data)
        alone = learned.predictor.writes and "bleu" not in str(result["scores"])
    if alone:
        terminal.say(output.NO_BLEU)
    if as_json:
        terminal.print_json(result)
    else:
        output.evaluated(result)


def tasks(*, store: str | Path, as_json: bool) -> None:
    """List all tasks."""
    with opened(store) as knowledge:
        found = knowledge.tasks()
        if as_json:
            terminal.print_json({"tasks": [_line(task) for task in found]})
        else:
            output.tasks(found)


def show(task: str, *, store: str | Path, as_json: bool) -> None:
    """Describe one task."""
    with opened(store) as knowledge:
        found = knowledge.task(task)
        union = knowledge.union()
        share = union.share(found.name)
        if as_json:
            more = {"share": whole.as_dict(share), "versions": found.versions()}
            terminal.print_json(plain({**found.record.model_dump(mode="json"), **more}))
        else:
            output.show(found)
            output.versions(found)
            whole.show(share, union)


def leaderboard(task: str, *, store: str | Path, as_json: bool) -> None:
    """Everything that was tried."""
    with opened(store) as knowledge:
        found = knowledge.task(task)
        rows = found.leaderboard()
    if as_json:
        terminal.print_json({"task": found.name, "metric": found.record.summary.metric, "experiments": plain(rows)})
    else:
        output.leaderboard(found, rows)


def report(task: str, *, out: Path | None, store: str | Path, as_json: bool) -> None:
    """Write the page."""
    with opened(store) as knowledge:
        path = knowledge.task(task).report(out)
    if as_json:
        terminal.print_json({"task": task, "report": str(path)})
    else:
        terminal.say(f"report written to {path}")


def verify(level: str, *, store: str | Path, as_json: bool) -> int:
    """Check the store; gives the exit code."""
    if level not in ("quick", "full"):
        raise BadInput("is not a level of checking", value=level, remedy="Use quick or full.")
    with opened(store) as knowledge:
        found = verify_(knowledge.store, level="quick" if level == "quick" else "full")
    if as_json:
        terminal.print_json(plain(output.as_dict(found)))
    else:
        output.verified(found)
    return int(found.exit_status)


def rebuild(catalogue: str | None, *, store: str | Path, as_json: bool) -> None:
    """Make the catalogue anew, in another place if one is named."""
    with opened(store) as knowledge:
        if catalogue is not None:
            knowledge.store.move_catalogue(None if catalogue == "folder" else catalogue)
        found = rebuild_(knowledge.store)
    if as_json:
        terminal.print_json(plain(output.as_dict(found)))
    else:
        terminal.say(f"catalogue of {found.records:,} records made in {found.seconds:.1f} s")
        for address in found.damaged:
            terminal.say(f"damaged, left out: {address}; bring it back from a backup: polymath merge BACKUP")


def opened(store: str | Path) -> Polymath:
    """An existing store; a mistyped name is not made into a new one. Close it (`with`): others may wait for that.

    Where nothing can be written, or the server of the catalogue is away, it is opened for reading: what only looks goes
    on, what writes says so.
    """
    try:
        return Polymath(store, create=False)
    except StoreError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EHOSTUNREACH):
            raise
        return Polymath(store, read_only=True)


def _line(task: Task) -> dict[str, Any]:
    summary = plain(task.record.summary.model_dump(mode="json"))
    digest = summary.pop("result_digest")
    new = task.record.summary.parameters_new
    reused = {
        "built_on": list(task.record.built_on),
        "imported": list(task.record.imported),
        "parameters_shared": None if new is None else task.record.summary.parameters - new,
    }
    return {"task": task.name, "state": task.record.state, **summary, **reused, "digest": digest}


def task_name(name: str | None) -> str:
    """A name that somebody gave, if it can be one; '' for none."""
    if name is None:
        return ""
    if not name or len(name) > 100 or not all(c.isalnum() or c in "-_." for c in name) or name.startswith("."):
        raise BadInput(
            "is not a name for a task", value=name, remedy="Use letters, digits, '-', '_' and '.', at most 100."
        )
    return name


def pairs(texts: tuple[str, ...]) -> dict[str, str]:
    """['age=number'] -> {'age': 'number'}; the column may hold '=' itself."""
    result = {}
    for text in texts:
        column, equals, word = text.rpartition("=")
        if not equals or not column or not word:
            raise BadInput("is not COLUMN=TYPE", value=text, remedy="Give for example --type age=number.")
        result[column] = word
    return result


def _raters(texts: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """['grade=anna,ben'] -> {'grade': ('anna', 'ben')}."""
    result = {}
    for text in texts:
        target, _, columns = text.partition("=")
        result[target.strip()] = tuple(name.strip() for name in columns.split(",") if name.strip())
        if not target.strip() or len(result[target.strip()]) < 2:
            raise BadInput(
                "is not TARGET=COLUMN,COLUMN,...", value=text, remedy="Give for example --raters grade=anna,ben,chris."
            )
    return result


def _split(text: str | None, test_fraction: float) -> Any:
    from ..problem import Split

    kind, _, column = (text or "auto").partition(":")
    settings: Mapping[str, Any] = {"kind": kind, "column": column or None, "test_fraction": test_fraction}
    try:
        return Split.model_validate(dict(settings))
    except ValueError as error:
        raise BadInput(
            "is not a way to split",
            value=text or test_fraction,
            remedy="Use random, stratified, group:COLUMN or time:COLUMN, and a share from 0 to 0.99.",
        ) from error
