"""Results for people, on stdout."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..spec import BadInput, Json, printable
from . import terminal
from .pictures import is_picture
from .terminal import duration, number

if TYPE_CHECKING:
    from ..knowledge import Task
    from ..problem import Rows
    from ..problem.inference import Inference

BEST = 12
"""Lines of a leaderboard that follow learning."""


def inference(found: Inference, rows: Rows) -> None:
    """The table of what every column was taken for, and why (on stderr: it is talk)."""
    lines = found.table()
    terminal.table(
        f"{rows.source}: {len(rows):,} rows", list(lines[0]), [list(line) for line in lines[1:]], on_stderr=True
    )


def leaderboard(task: Task, rows: Sequence[Mapping[str, Json]], *, most: int | None = None) -> None:
    """What was tried, best first."""
    shown = [
        [
            str(row["experiment"]),
            printable(str(row["what"]), limit=70),
            number(_sign(task, row["score"])) if not row["failed"] else "failed",
            f"{row['weight']:.2f}" if row["weight"] else "",
            f"{row['parameters']:,}" if isinstance(row["parameters"], int) else "",
            f"{row['seconds']:.1f} s" if isinstance(row["seconds"], float) else "",
            printable(str(row["failed"]), limit=60),
        ]
        for row in list(rows)[:most]
    ]
    metric = task.record.summary.metric
    title = f"{task.name}: {len(rows)} experiments"
    terminal.table(
        title, ["#", "what", f"validation {metric}", "weight", "parameters", "cost", "failed because"], shown
    )
    if cost := task.record.origin.get("cost"):
        sys.stdout.write(f"compared after what they cost: {cost} taken off\n")
    if most is not None and len(rows) > most:
        sys.stdout.write(f"... and {len(rows) - most} more: polymath leaderboard {task.name}\n")


def _sign(task: Task, score: Json) -> float | None:
    if not isinstance(score, (int, float)):
        return None
    return float(score) if task.record.summary.greater_is_better else -float(score)


def learned(task: Task, *, store: str | Path) -> None:
    """The end of `learn`: leaderboard, score with its interval, what to do next."""
    record, summary = task.record, task.record.summary
    leaderboard(task, task.leaderboard(), most=BEST)
    lines = [f"Task {record.name!r}: validation {summary.metric} {number(summary.validation)}"]
    if summary.test is not None:
        interval = ""
        if summary.interval is not None:
            interval = f" (95 % interval {number(summary.interval[0])} to {number(summary.interval[1])})"
        lines.append(f"  test {summary.metric} {number(summary.test)}{interval}")
        if summary.rows_tested is not None:
            lines.append(f"  tested on {summary.rows_tested:,} rows: no time for all; `polymath evaluate` takes them")
        lines += whole_texts(record.problem, record.scores.get("test", {}))
    lines += [
        f"  {summary.experiments} experiments, {summary.failed} failed, {duration(summary.seconds)}; "
        f"{summary.parameters:,} parameters",
        reused(task),
        f"  {summary.rows_used:,} rows used, {summary.rows_unused:,} not",
    ]
    lines += [_unused(one) for one in record.unused if one["what"] == "row"]
    if record.state == "stopped":
        lines.append("Stopped early: the same command goes on where it was.")
    where = "" if str(store) == "knowledge" else f" --store {store}"
    lines += [
        f"Next: polymath predict {record.name} DATA{where}    answers for new rows",
        f"      polymath report {record.name}{where}          a page with pictures",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


NO_BLEU = 'BLEU and chrF need sacrebleu: pip install "polymath-learn[text]"'


def whole_texts(problem: Mapping[str, Any], scores: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    """BLEU and chrF of what was written, a line for each text; what is missing where they are not there."""
    lines = []
    for name in (one["name"] for one in problem["outputs"] if one["type"] == "text"):
        found = scores.get(name, {})
        if (bleu := found.get("bleu")) is not None and (chrf := found.get("chrf")) is not None:
            lines.append(f"  {name}: BLEU {bleu:.1f}, chrF {chrf:.1f} of what is written")
        else:
            lines.append(f"  {NO_BLEU}")
    return lines


def reused(task: Task) -> str:
    """What a task took from earlier ones, and what that saved."""
    record, new = task.record, task.record.summary.parameters_new
    if not record.built_on or new is None:
        return "  built upon no stored task: all its parameters are new"
    shared = record.summary.parameters - new
    wild = f"; knowledge from outside: {', '.join(record.imported)}" if record.imported else ""
    saved = f"{shared:,} parameters reused as they are" if shared else "no layer kept as it was"
    return f"  built upon {', '.join(record.built_on)}: {saved}, {new:,} new{wild}"


def _unused(one: Mapping[str, Any]) -> str:
    example = one.get("example") or {}
    where = f", first: {example['file']}" + (f" row {example['row']}" if example.get("row") else "") if example else ""
    return f"  not used: {one['count']:,} rows, {one['reason']}{where}"


def tasks(found: Sequence[Task]) -> None:
    """One line per task."""
    rows = []
    for task in found:
        summary = task.record.summary
        rows.append(
            [
                task.name,
                task.record.state,
                summary.metric,
                number(summary.validation),
                number(summary.test),
                f"{summary.parameters:,}",
            ]
        )
    terminal.table(f"{len(found)} tasks", ["task", "state", "metric", "validation", "test", "parameters"], rows)


def show(task: Task) -> None:
    """One task for people."""
    from ..problem import Graded, Problem

    record = task.record
    problem = Problem.model_validate(record.problem)
    rows = [[f.name, "input", str(f.type), str(f.form)] for f in problem.inputs]
    rows += [[f.name, "output", str(f.type), f"metric {problem.metric_of(f.name).name}"] for f in problem.outputs]
    terminal.table(f"task {record.name} ({record.state})", ["column", "role", "type", "form"], rows)
    members = [[str(m["number"]), str(m["label"]), f"{m['weight']:.3f}"] for m in record.members]
    terminal.table("its path combines", ["experiment", "what", "weight"], members)
    for split, outputs in record.scores.items():
        for name, scores in outputs.items():
            line = ", ".join(f"{metric} {number(value)}" for metric, value in scores.items())
            sys.stdout.write(f"{split} {name}: {line}\n")
    for feature in problem.outputs:
        if isinstance(feature, Graded):
            line = ", ".join(f"{what} {number(value)}" for what, value in feature.agreement.items())
            sys.stdout.write(f"raters of {feature.name}: {line}\n")
    if record.gate is not None:
        sys.stdout.write(f"gated: {record.gate}\n")
    summary, origin = record.summary, record.origin
    sys.stdout.write(
        f"learned from {origin.get('source')} in {duration(summary.seconds)}, {summary.experiments} experiments; "
        f"{summary.parameters:,} parameters; digest {summary.result_digest[:16]}\n"
    )
    if parents := origin.get("parents"):
        ranked = sorted(parents["promise"].items(), key=lambda one: (-one[1], one[0]))
        by = "what earlier tasks gained" if parents["by"] == "ledger" else "rows and classes"
        named = ", ".join(f"{printable(task)} ({number(promise)})" for task, promise in ranked)
        sys.stdout.write(f"parents tried, ordered by {by}: {named}\n")
    if origin.get("cost"):
        sys.stdout.write(f"chosen by the score after what it costs: {origin['cost']} taken off\n")


def versions(task: Task) -> None:
    """All versions of a task, where there are several."""
    rows = []
    for one in task.versions():
        scores = (number(None if one[part] is None else float(str(one[part]))) for part in ("validation", "test"))
        place = f"{one['version']}" + (" (in force)" if one["in_force"] else "")
        rows.append([place, str(one["source"]), str(one["rows"]), *scores])
    if len(rows) > 1:
        columns = ["version", "learned from", "rows", f"validation {task.record.summary.metric}", "test"]
        terminal.table("versions", columns, rows)


def predictions(answers: Sequence[Mapping[str, Any]]) -> None:
    """Answers as tab-separated lines with a header."""
    names = _outputs(answers)
    header = ["row"]
    for name in names:
        header += [name, *(f"{name}.{key}" for key in _extra(answers, name))]
    sys.stdout.write("\t".join(header) + "\n")
    for row, answer in enumerate(answers, 1):
        cells = [str(row)]
        if "error" in answer:
            cells.append(f"cannot be used: {printable(str(answer['error']))}")
        if "gated" in answer:
            cells.append(f"not answered: {answer['by']} says no")
        for name in names if answer.keys() >= set(names) else ():
            found = answer.get(name, {})
            cells += [_cell(found.get("value")), *(_cell(found.get(key)) for key in _extra(answers, name))]
        sys.stdout.write("\t".join(cells) + "\n")


def _outputs(answers: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of what is answered."""
    told = (answer for answer in answers if "error" not in answer and "gated" not in answer)
    return list(dict.fromkeys(name for answer in told for name in answer))


def _extra(answers: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    first: Mapping[str, Any] = next((answer[name] for answer in answers if name in answer), {})
    return [key for key in ("probability", "low", "high", "shares", "mean", "replies", "alternatives") if key in first]


def _cell(value: Any) -> str:
    if is_picture(value):
        return "a picture; --out FOLDER writes it"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_cell(one)}" for name, one in value.items())
    if isinstance(value, list):
        return ";".join(str(one.get("reply", one.get("value")) if isinstance(one, Mapping) else one) for one in value)
    return "" if value is None else printable(str(value), limit=4_000)


ENDINGS = (".jsonl", ".ndjson", ".parquet", ".csv")
"""Of files that predictions are written to; other names are folders, for answers that are pictures."""


def write_predictions(answers: Sequence[Mapping[str, Any]], path: Path) -> None:
    """A CSV, Parquet or JSON-lines file with one line per row. Raises BadInput for another ending."""
    suffix = path.suffix.lower()
    if suffix in (".jsonl", ".ndjson"):
        path.write_text("".join(json.dumps(answer, allow_nan=False) + "\n" for answer in answers), encoding="utf-8")
        return
    import pyarrow as pa
    from pyarrow import csv, parquet

    names = _outputs(answers)
    columns: dict[str, list[Any]] = {}
    for name in names:
        for key in ("value", *_extra(answers, name)):
            values = [answer.get(name, {}).get(key) for answer in answers]
            plain_values = [_cell(v) if isinstance(v, list | Mapping) else v for v in values]
            columns[name if key == "value" else f"{name}.{key}"] = plain_values
    if any("gated" in answer for answer in answers):
        columns["gated"] = [answer.get("gated", False) for answer in answers]
    if any("error" in answer for answer in answers):
        columns["error"] = [answer.get("error") for answer in answers]
    table = pa.table(columns)
    if suffix == ".parquet":
        parquet.write_table(table, path)
    elif suffix == ".csv":
        csv.write_csv(table, path)
    else:
        raise BadInput("is not a kind of file for predictions", file=path, remedy="Use .csv, .parquet or .jsonl.")


def evaluated(result: Mapping[str, Any]) -> None:
    """Scores, one a line."""
    sys.stdout.write(f"task {result['task']}: {result['rows']:,} rows, {result['rows_unused']:,} not used\n")
    for name, value in result["scores"].items():
        if isinstance(value, Mapping):
            for metric, score in value.items():
                sys.stdout.write(f"  {name} {metric}: {number(score)}\n")
        else:
            sys.stdout.write(f"  {name}: {number(value)}\n")
    if result.get("learned_from"):
        shown = f"polymath show {result['task']}"
        sys.stdout.write(
            f"It was learned from these data, so they flatter it; `{shown}` has the scores of held-out rows.\n"
        )


def verified(found: Any) -> None:
    """What a check of the store found."""
    for finding in found.findings:
        named = ", ".join(f"{kind} {name}" for kind, name in finding.needed_by[:5])
        more = f" and {len(finding.needed_by) - 5} more" if len(finding.needed_by) > 5 else ""
        needed = f"; needed by {named}{more}" if named else ""
        sys.stdout.write(f"{(finding.fault.name or '').lower()}: {finding.address}: {finding.what}{needed}\n")
    state = "sound" if not found.findings else f"{len(found.findings)} finding{'s' * (len(found.findings) > 1)}"
    sys.stdout.write(f"{found.checked:,} objects checked in {found.seconds:.1f} s: {state}\n")
    if found.exit_status & 8:
        sys.stdout.write("Run `polymath rebuild`; no knowledge is lost.\n")
    if found.exit_status & 3:
        sys.stdout.write("Bring back what is lost from a backup: `polymath merge BACKUP`.\n")


def as_dict(report: Any) -> dict[str, Any]:
    """A small result of the store as plain data."""
    found: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(report), default=str))
    return found
