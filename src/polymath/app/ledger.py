"""The commands that look into the ledger: `experiments` lists, draws and exports, `replay` runs one again."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import experiments as ledger
from ..experiments import Replayed, ReplayedRung, State, Tried
from ..knowledge import Polymath
from ..predicting import HEAD, load_record
from ..spec import BadInput, plain, printable
from . import terminal
from .terminal import number

if TYPE_CHECKING:
    from ..predicting import TaskRecord


def experiments(
    task: str,
    *,
    knowledge: Polymath,
    generator: str | None,
    failed: bool,
    finished: bool,
    best: int | None,
    out: Path | None,
    tensorboard: Path | None,
    picture: Path | None,
    as_json: bool,
) -> None:
    """List, draw or export what was tried."""
    if failed + finished > 1 or (failed and best is not None):
        raise BadInput("these options leave nothing to list", remedy="Give one of --failed, --finished and --best.")
    everything, record = _tried(knowledge, task)
    state: State | None = "failed" if failed else "finished" if finished else None
    chosen = ledger.select(everything, generator=generator, state=state, best=best)
    written: dict[str, str] = {}
    if out is not None:
        rungs = ledger.write(chosen, out)
        terminal.say(f"{rungs:,} rungs of {len(chosen):,} experiments written to {out}")
        written["out"] = str(out)
    if tensorboard is not None:
        runs = ledger.write_tensorboard(chosen, tensorboard)
        terminal.say(f"{runs:,} learning curves written; look at them with: tensorboard --logdir {tensorboard}")
        written["tensorboard"] = str(tensorboard)
    if picture is not None:
        written["picture"] = str(knowledge.task(task).picture(picture))
        terminal.say(f"picture written to {picture}")
    summary = None if record is None else record.summary
    metric, greater = (summary.metric, summary.greater_is_better) if summary is not None else ("score", True)
    if as_json:
        about = {"task": task, "metric": metric, "greater_is_better": greater, "total": len(everything)}
        terminal.print_json({**about, "experiments": plain([one.row() for one in chosen]), **written})
    elif not written:
        shown = f"{len(chosen):,}" if len(chosen) == len(everything) else f"{len(chosen):,} of {len(everything):,}"
        _list(f"{task}: {shown} experiments", chosen, metric=metric, sign=1.0 if greater else -1.0)


def _tried(knowledge: Polymath, task: str) -> tuple[list[Tried], TaskRecord | None]:
    """The experiments of a task, which need not be published yet, or of a search for a function. Raises BadInput."""
    store = knowledge.store
    record = load_record(store, task) if store.head(HEAD + task) is not None else None
    found = ledger.tried(store, task, record)
    return found, record if found or record is not None else load_record(store, task)


def _list(title: str, found: Sequence[Tried], *, metric: str, sign: float) -> None:
    if not found:
        sys.stdout.write(title + "\n")
        return
    rows = [
        [
            one.id,
            printable(one.last.label, limit=50),
            one.last.generator,
            one.state,
            str(len(one.rungs)),
            f"{one.last.work:.3g}",
            f"{one.seconds:.1f} s",
            number(None if one.score is None else sign * one.score),
            printable(one.reason, limit=70),
        ]
        for one in found
    ]
    columns = ["experiment", "what", "chosen by", "state", "rungs", "work", "time", metric, "failed because"]
    terminal.table(title, columns, rows)


def replay(id: str, *, knowledge: Polymath, as_json: bool) -> int:
    """Run one experiment again and compare; the exit code is 1 if something came out otherwise."""
    found = ledger.replay(knowledge.store, id, cache=Path.home() / ".cache" / "polymath")
    if as_json:
        terminal.print_json(found.as_json())
    else:
        _print(found)
    return 0 if found.equal else 1


def _print(found: Replayed) -> None:
    lines = [f"{found.id}: {printable(found.label)}, {found.num_rungs} rung{'s' if found.num_rungs > 1 else ''}"]
    for rung in found.rungs:
        lines.append(f"  rung {rung.rung + 1}: {_said(rung)}")
        for one in rung.differences:
            before = "" if one.recorded is None else f"{_short(one.recorded)} was recorded, now "
            lines.append(f"    {one.field}: {before}{_short(one.replayed)}")
    if not found.equal and found.versions:
        changed = ", ".join(f"{name} {then} -> {now}" for name, (then, now) in found.versions.items())
        lines.append(f"  Other versions may be the reason: {changed}.")
    sys.stdout.write("\n".join(lines) + "\n")


def _said(rung: ReplayedRung) -> str:
    if rung.verdict == "cannot be compared":
        return f"cannot be compared: {rung.reason}"
    score = "failed again" if rung.score is None else f"score {number(rung.score)}"
    return f"{rung.verdict}, {score}, {rung.seconds:.1f} s"


def _short(value: Any) -> str:
    return printable(f"{value:.10g}" if isinstance(value, float) else str(value), limit=70)
