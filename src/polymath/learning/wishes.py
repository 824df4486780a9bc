"""What may be asked of learning, who is told how it goes, and how it is told to stop."""

from __future__ import annotations

import difflib
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from pydantic import Field, ValidationError

from ..problem import Split
from ..search.cutters import cutters
from ..search.generators import generators
from ..search.spaces.designs import SPACES
from ..spec import BadInput, Spec, first_fault, num_bytes, seconds
from .costs import FREE, Cost

if TYPE_CHECKING:
    from ..problem import Dataset
    from ..problem.inference import Inference
    from ..problem.sources import Rows
    from ..search import Clock, Experiment
    from .study import Study

DEFAULT_BUDGET = 600.0
"""Ten minutes: enough for most tables, and short enough to wait for."""


class Wishes(Spec):
    """What may be asked of `learn`; everything has a default."""

    name: str = ""
    targets: tuple[str, ...] = ()
    raters: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Target -> columns of the labels that several raters gave; the target's own column holds adjudicated labels."""
    types: dict[str, str] = Field(default_factory=dict)
    """Column -> type word (number, category, date, text, image, labels)."""
    ignore: tuple[str, ...] = ()
    metric: dict[str, str] | str | None = None
    split: Split = Split()
    budget_seconds: float | None = Field(default=None, gt=0)
    work: float | None = Field(default=None, gt=0)
    """Work units instead of seconds: the result then depends on data, seed, lanes and this alone."""
    begin: float | None = None
    """`time.monotonic()` at which the budget began to run; None = when `learn` is called."""
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    engine: Literal["processes", "inline"] = "processes"
    lanes: int | None = Field(default=None, ge=1, le=256)
    threads: int = Field(default=1, ge=1, le=256)
    """Of each lane."""
    members: int | None = Field(default=None, ge=1)
    """Experiments in the final path at most; None = as many as help."""
    memory_bytes: int | None = Field(default=None, gt=0)
    generator: str = "bandit"
    cutter: str = "halving"
    space: str = "all"
    build_on: bool = True
    """Whether stored tasks may be built upon."""
    gate: str = ""
    """TASK, TASK:VALUE or TASK:VALUE@PROBABILITY: the task that is asked first, and what it must say."""
    private: bool = False
    """Later tasks may not build upon this one."""
    cost: Cost = FREE
    """What is taken off the score of a model for new parameters and for compute."""
    layers: tuple[str, ...] = ()
    """Layers of the user's own that join the space, each `package.module:ClassName`."""
    cache: str | None = None
    """Folder for decoded data (default: ~/.cache/polymath). It holds training rows; the store does not."""
    test: str | None = None
    validation: str | None = None

    @classmethod
    def wished(cls, budget: str | float | None = None, memory: str | int | None = None, **given: Any) -> Self:
        """What was asked for, on the command line or in Python. Raises BadInput that names the first wish that is
        unknown or cannot be. `budget`: seconds, or as in '10m'; `memory`: bytes, or as in '4GB'.
        """
        times = {} if budget is None else {"budget_seconds": seconds(budget)}
        sizes = {} if memory is None else {"memory_bytes": num_bytes(memory)}
        try:
            return cls(**times, **sizes, **given)
        except ValidationError as error:
            name, what, value = first_fault(error)
        if name not in cls.model_fields and name in given:
            near = difflib.get_close_matches(name, cls.model_fields, n=1)
            offered = f"Did you mean {near[0]}?" if near else f"There are {', '.join(sorted(cls.model_fields))}."
            raise BadInput(f"there is no wish called {name!r}", remedy=offered)
        raise BadInput(f"{name}: {what}", value=value)


class Listener(Protocol):
    """Who is told how learning goes."""

    def say(self, text: str) -> None: ...
    def inferred(self, inference: Inference, rows: Rows) -> None: ...
    def ready(self, dataset: Dataset, rows: Rows) -> None: ...
    def tried(self, experiment: Experiment, study: Study, clock: Clock) -> None: ...


class Silent:
    """Tells nobody."""

    def say(self, text: str) -> None: ...
    def inferred(self, inference: Inference, rows: Rows) -> None: ...
    def ready(self, dataset: Dataset, rows: Rows) -> None: ...
    def tried(self, experiment: Experiment, study: Study, clock: Clock) -> None: ...


def check(wishes: Wishes) -> None:
    """Raises BadInput for wishes that nobody can meet, before anything is read."""
    if wishes.work is not None and wishes.budget_seconds is not None:
        raise BadInput("a time budget and work units were given", remedy="Give --budget or --work, not both.")
    for what, word, known in (
        ("generator", wishes.generator, generators()),
        ("cutter", wishes.cutter, cutters()),
        ("space", wishes.space, SPACES),
    ):
        if word not in known:
            raise BadInput(
                f"is no {what} that is known here", value=word, remedy=f"One of: {', '.join(sorted(known))}."
            )


def name_of(source: str) -> str:
    """A task's name from what the user gave: the file or folder, without its ending."""
    stem = Path(source).name.split(".")[0] if source else ""
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in stem).strip("-") or "task"


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Within this, the first Ctrl-C (or SIGTERM) asks to stop, the second one stops at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def handle(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    kept: Mapping[int, Any] = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
