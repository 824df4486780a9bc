"""The corpus of bad inputs through the command line: exit code 2 and one line, or a task and a full count."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from .bad_inputs import CASES

pytestmark = pytest.mark.slow


def flags(options):
    """Options of `infer` as the command line has them."""
    words = [word for name in options.get("target", ()) for word in ("--target", name)]
    words += [word for name in options.get("ignore", ()) for word in ("--ignore", name)]
    return words + [word for name, kind in options.get("types", {}).items() for word in ("--type", f"{name}={kind}")]


ERRORS = [case for case in CASES if case.error is not None and case.unused == 0]
WORKING = [case for case in CASES if case.error is None][::15]
"""Some of those that work: each is a whole run of `learn`."""


def run(case, folder):
    """The result of `polymath learn` on the data of a case."""
    from polymath.app.main import app

    (folder / "in").mkdir()
    words = ["learn", str(case.make(folder / "in")), "--name", "bad", "--store", str(folder / "store"), "--json"]
    limits = ["--work", "0.001", "--engine", "inline", "--memory", "500MB"]
    result = CliRunner().invoke(app, [*words, *limits, *flags(case.options)])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert "Traceback" not in result.output
    return result


@pytest.mark.parametrize("case", ERRORS, ids=lambda case: case.name.encode("unicode_escape").decode()[:60])
def test_one_line_and_exit_code_2(case, tmp_path):
    result = run(case, tmp_path)
    assert result.exit_code == 2, result.output
    assert re.search(case.error, json.loads(result.stdout)["error"])
    assert sum(line.startswith("polymath: ") for line in result.stderr.splitlines()) == 1, result.stderr


@pytest.mark.parametrize("case", WORKING, ids=lambda case: case.name.encode("unicode_escape").decode()[:60])
def test_a_task_and_a_full_count(case, tmp_path):
    result = run(case, tmp_path)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["rows_unused"] == case.unused
