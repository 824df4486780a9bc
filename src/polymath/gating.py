"""A task that is gated by another: it answers only the rows for which the other, cheaper, says yes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from .problem import Category, Labels, Problem
from .problem.features.common import key
from .spec import BadInput, Spec

YES = ("true", "yes", "1")
"""Classes that mean yes when nobody says which."""


class Gate(Spec):
    """Which task is asked first, and which of its answers opens the way."""

    task: str
    output: str
    value: str
    """The class or label that means yes."""
    least: float | None = Field(default=None, ge=0.0, le=1.0)
    """How likely it must be; None = it is the answer."""
    record: dict[str, Any]
    """The record of the task as it stood: what is gated answers the same whatever becomes of its gate."""

    def opens(self, answer: Mapping[str, Any]) -> bool:
        """Whether a row with this answer of the gate is let through; not where the gate itself had none."""
        if "error" in answer or "gated" in answer:
            return False
        told = answer[self.output]
        if self.least is not None:
            return bool(told.get("probabilities", {}).get(self.value, 0.0) >= self.least)
        values = told["value"] if isinstance(told["value"], list) else [told["value"]]
        return any(key(value) == self.value for value in values)

    def __str__(self) -> str:
        sure = "" if self.least is None else f" with a probability of {self.least:g} or more"
        return f"answers only where {self.task} says {self.output} = {self.value}{sure}"


def parse(text: str) -> tuple[str, str, float | None]:
    """'trigger:yes@0.3' -> ('trigger', 'yes', 0.3); '' and None for what is not said. Raises BadInput."""
    task, _, rest = text.partition(":")
    value, at, least = rest.rpartition("@") if "@" in rest else (rest, "", "")
    try:
        share = float(least) if at else None
    except ValueError:
        share = -1.0
    if not task or (share is not None and not 0 <= share <= 1):
        remedy = "Give --gate TASK, TASK:VALUE or TASK:VALUE@PROBABILITY."
        raise BadInput("is not a gate", value=text, remedy=remedy)
    return task, value, share


def gate_of(record: dict[str, Any], text: str) -> Gate:
    """The gate that `text` says, of the record of its task. Raises BadInput for an answer that it cannot give."""
    task, value, least = parse(text)
    output = Problem.model_validate(record["problem"]).outputs[0]
    classes = [key(one) for one in output.classes or ()] if isinstance(output, Category | Labels) else []
    if not classes:
        raise BadInput("a gate must say one of a few classes", value=task, remedy="Name a task that does.")
    chosen = value or next((one for one in YES if one in classes), "")
    if chosen not in classes:
        said = "is no class of the gate" if value else "does not say which class means yes"
        raise BadInput(said, value=text, remedy=f"Give --gate {task}:VALUE with one of {', '.join(classes[:20])}.")
    kept = record | {"evidence": None, "members": [], "unused": []}
    return Gate(task=task, output=output.name, value=chosen, least=least, record=kept)
