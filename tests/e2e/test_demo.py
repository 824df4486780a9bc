"""The demo as `dev.py` runs it: a process that did something else for a while, then became the demo."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_demo_shows_the_whole_way(tmp_path: Path) -> None:
    become = "os.execv(sys.executable, [sys.executable, '-m', 'polymath.app.demo', '14s'])"
    wait = f"import os, sys, time; time.sleep(16); {become}"
    done = subprocess.run(
        [sys.executable, "-c", wait], capture_output=True, text=True, cwd=tmp_path, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    assert "test accuracy 0.9" in done.stdout
    answers = [line for line in done.stdout.splitlines() if line.startswith("this-is-a-")]
    assert len(answers) == 8
    right = [line for line in answers if line.split("-")[3] == line.split(": ")[1][0]]
    assert len(right) >= 6, answers
    assert "<svg" in (tmp_path / "polymath-demo.html").read_text()
