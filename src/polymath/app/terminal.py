"""What people see: results on stdout, talk on stderr, everything readable without colour."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from typing import Any

NUMERIC = re.compile(r"-?[\d.,]+(e[+-]?\d+)?( s)?")


SLOWEST_START = 15.0
"""Python has never taken longer to start; an older process did something else before it became this command (exec)."""


def seconds_since_start() -> float:
    """Seconds since this command began, import time included; 0 where the system does not tell."""
    try:
        with open("/proc/self/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        passed = time.clock_gettime(time.CLOCK_BOOTTIME) - started
        return passed if 0 <= passed <= SLOWEST_START else 0.0
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0


def say(text: str) -> None:
    """One line of talk."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def fail(text: str, *, as_json: bool) -> None:
    """An error: one line on stderr, and with --json one object on stdout."""
    if as_json:
        print_json({"error": text})
    say(f"polymath: {text}")


def print_json(value: Any) -> None:
    """Exactly one JSON object on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=True, allow_nan=False) + "\n")
    sys.stdout.flush()


def table(title: str, columns: list[str], rows: list[list[str]], *, on_stderr: bool = False) -> None:
    """A plain table: columns without a value are left out, numbers stand at the right."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    made = Table(title=title, box=SIMPLE_HEAD, title_justify="left", title_style="bold")
    shown = [n for n in range(len(columns)) if not rows or any(row[n] for row in rows)]
    for n in shown:
        numeric = bool(rows) and all(NUMERIC.fullmatch(row[n]) or row[n] in ("", "-", "failed") for row in rows)
        made.add_column(columns[n], overflow="fold", justify="right" if numeric else "left")
    for row in rows:
        made.add_row(*(escape(row[n]) for n in shown))
    stream = sys.stderr if on_stderr else sys.stdout
    console = Console(file=stream) if stream.isatty() else Console(file=stream, width=140)
    with console.capture() as captured:
        console.print(made)
    stream.write("\n".join(line.rstrip() for line in captured.get().splitlines()).rstrip() + "\n\n")
    stream.flush()


def number(value: float | None, digits: int = 4) -> str:
    """A score for people."""
    if value is None:
        return "-"
    return f"{value:.{digits}g}" if abs(value) >= 1000 or (value and abs(value) < 1e-3) else f"{value:.{digits}f}"


def duration(seconds: float) -> str:
    """'8 s', '3 min 20 s', '1 h 05 min'."""
    whole = round(max(seconds, 0.0))
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
