"""What every system script shares: read the job, keep the clock, write the answer. Standard library only, since each
system runs in an environment of its own.

A job is a JSON file: family (table, text, image, mixed), train, test, targets, kinds, budget (seconds), seed, scratch
(a folder to work in), options. The answer: outputs (target -> values, classes, probabilities), fit_seconds,
predict_seconds, model_bytes, versions, notes.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

STARTED = time.monotonic()


@dataclass
class Job:
    family: str
    train: str
    test: str
    targets: list[str]
    kinds: list[str]
    budget: float
    seed: int
    scratch: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> str:
        return self.targets[0]

    @property
    def kind(self) -> str:
        return self.kinds[0]

    def left(self) -> float:
        """Seconds of the budget that remain, the start of the interpreter and the imports included."""
        return self.budget - (time.monotonic() - STARTED)


def read_job() -> Job:
    return Job(**json.loads(Path(sys.argv[1]).read_text()))


def write_answer(outputs: dict[str, Any], *, fitted: float, packages: tuple[str, ...], **more: Any) -> None:
    """Write the answer beside the job. `fitted` is the monotonic time at which fitting ended."""
    answer = {
        "outputs": outputs,
        "fit_seconds": fitted - STARTED,
        "predict_seconds": time.monotonic() - fitted,
        "versions": {name: version(name) for name in packages},
        **more,
    }
    Path(sys.argv[2]).write_text(json.dumps(answer))


def folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
