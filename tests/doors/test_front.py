"""The front of the house: what a user imports and types answers at once and is a promise."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

# What `from polymath import ...` offers. A name added here is a promise to users, a name taken away breaks their code.
PUBLIC = ("BadInput", "Polymath", "PolymathClassifier", "PolymathRegressor", "Task", "__version__", "optimizer")
HEAVY = ("torch", "sklearn", "scipy", "pyarrow", "pandas", "PIL", "sentencepiece")
HELP_SECONDS = 0.3


def python(*arguments: str) -> str:
    """Standard output of this Python in a process of its own."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def heavy_after(statement: str) -> list[str]:
    """Which heavy packages are loaded once `statement` has run."""
    return json.loads(
        python("-c", f"import sys, json\n{statement}\nprint(json.dumps([n for n in {HEAVY!r} if n in sys.modules]))")
    )


def test_importing_polymath_loads_nothing_heavy():
    assert heavy_after("import polymath") == []


def test_importing_the_command_line_loads_nothing_heavy(source):
    if not (source / "app" / "main.py").exists():
        pytest.skip("polymath.app is not there yet")
    assert heavy_after("import polymath.app.main") == []


def test_help_is_quick(source):
    """Processor time, which a busy machine stretches less than the clock does; twice the promise, for what it does."""
    if not (source / "app" / "main.py").exists():
        pytest.skip("polymath.app is not there yet")
    seconds = []
    for _ in range(5):
        before = os.times()
        assert "learn" in python("-m", "polymath.app.main", "--help")
        after = os.times()
        seconds.append(after.children_user + after.children_system - before.children_user - before.children_system)
        if seconds[-1] < HELP_SECONDS:
            break
    assert min(seconds) < 2 * HELP_SECONDS, f"polymath --help took {min(seconds):.2f} s of processor time"


def test_public_names(source):
    if not (source / "__init__.py").exists():
        pytest.skip("polymath/__init__.py is not there yet")
    import polymath

    assert tuple(sorted(polymath.__all__)) == PUBLIC
    assert all(hasattr(polymath, name) for name in PUBLIC)
