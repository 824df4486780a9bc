"""Any rule of the language as a `torch.optim.Optimizer`.

Small tensors are worked on together, as one: a step then costs some ten operations, not ten for each tensor. Large ones
are worked on where they are, chunk by chunk, so that what is computed on the way stays small.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...spec import BadInput, Json
from ...store import Store
from .evaluate import Operands, adam_kernel, evaluate_factors, has_kernel, run_program
from .expression import Expression, parse
from .flat import Bucket, Part, advance, bucketed, pieces
from .known import rule_of
from .program import program_of

_Step = Callable[..., None]


def optimizer(
    rule: Expression | Json | os.PathLike[str],
    params: Iterable[Any],
    *,
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    total_steps: int | None = None,
    store: str | os.PathLike[str] | None = None,
    compiled: bool = False,
) -> ExpressionOptimizer:
    """An optimizer for plain PyTorch from a rule: a name, an Expression or its JSON, or the path of a .json file.

    `polymath.optimizer("lion", model.parameters(), lr=1e-4)`. Names are those of the rules that `store` has adopted,
    if it is given, and of known rules. The rest is as for `ExpressionOptimizer`. Raises BadInput.
    """
    found = find_rule(rule, store=store)
    return ExpressionOptimizer(
        params, found, lr=lr, weight_decay=weight_decay, total_steps=total_steps, compiled=compiled
    )


def find_rule(rule: Expression | Json | os.PathLike[str], *, store: str | os.PathLike[str] | None = None) -> Expression:
    """The rule that a name, a path of a .json file or a description means. Raises BadInput."""
    if isinstance(rule, os.PathLike) or (isinstance(rule, str) and rule.endswith(".json")):
        try:
            return parse(Path(rule).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"cannot be read: {error}", file=rule, remedy="Give the path of a rule's JSON.") from None
        except BadInput as error:
            raise BadInput(f"{error}", file=rule) from None
    if isinstance(rule, str) and store is not None and rule[:1].isalpha():
        with Store.open(store if isinstance(store, str) else Path(store), create=False, read_only=True) as opened:
            address = opened.head(f"rule/{rule}")
            if address is not None:
                return parse(opened.record(address)["expression"])
    return rule_of(rule)


class ExpressionOptimizer(torch.optim.Optimizer):
    """`weights -= lr * (update + weight_decay * weights)`, with the update that the rule says.

    `rule` is an Expression, its JSON, or the name of a known rule. A rule with a schedule needs `total_steps`, or the
    group's `progress` (0 to 1) set before each step. Weights in bfloat16 or float16 keep their running means in
    float32. `compiled` leaves each step to `torch.compile`: the first takes seconds to minutes and needs a C++
    compiler; the others take one pass over the weights instead of one for each function. Raises BadInput for what is
    no rule and for a saved state that belongs to another.
    """

    def __init__(
        self,
        params: Iterable[Any],
        rule: Expression | Json,
        *,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        total_steps: int | None = None,
        compiled: bool = False,
    ) -> None:
        expression = rule_of(rule)
        if not lr >= 0 or not weight_decay >= 0:
            raise BadInput("the learning rate and the weight decay of an optimizer are not negative", value=lr)
        self._compiled = _compiled_step(expression) if compiled else None
        super().__init__(
            params,
            {
                "lr": lr,
                "weight_decay": weight_decay,
                "total_steps": total_steps,
                "progress": None,
                "rule": expression.to_json(),
            },
        )
        self._prepare()

    @property
    def rule(self) -> Expression:
        """What it subtracts from the weights."""
        return self._rule

    def _prepare(self) -> None:
        self._rule = parse(self.param_groups[0]["rule"])
        self._buckets: dict[int, list[Bucket]] = {}
        self._memory: dict[tuple[Any, ...], list[Tensor]] = {}
        self._programs = {kernel: program_of(self._rule.graph, kernel) for kernel in (False, True)}
        self._adam = _adam_kernel(self._rule)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._compiled = getattr(self, "_compiled", None)
        self._prepare()

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step for all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for number, group in enumerate(self.param_groups):
            buckets = self._current(number, group)
            advance(buckets)
            for bucket in buckets:
                rate, decay = float(group["lr"]), group["weight_decay"]
                if bucket.listed:
                    assert self._adam is not None
                    self._adam(bucket, rate=rate, decay=decay)
                    continue
                progress = self._progress(group, bucket.step)
                for part in bucket.parts():
                    self._apply(part, rate=rate, keep=1 - rate * decay, progress=progress)
                bucket.finish()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As of every optimizer; the running means keep their precision."""
        for group in state_dict["param_groups"]:
            if "rule" not in group or parse(group["rule"]).graph != self._rule.graph:
                raise BadInput(
                    "the saved state belongs to another update rule",
                    value=group.get("rule"),
                    remedy="Make the optimizer with the rule that was saved.",
                )
        super().load_state_dict(state_dict)
        places = [place for group in state_dict["param_groups"] for place in group["params"]]
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        for place, parameter in zip(places, parameters, strict=True):
            for key, value in state_dict["state"].get(place, {}).items():
                if isinstance(value, Tensor) and key != "step":
                    self.state[parameter][key] = value.detach().clone().to(parameter.device)

    def _current(self, number: int, group: dict[str, Any]) -> list[Bucket]:
        """The buckets of a group, made anew when other parameters take gradients or a state was loaded."""
        learning: list[nn.Parameter] = [parameter for parameter in group["params"] if parameter.grad is not None]
        buckets = self._buckets.get(number)
        if buckets is None or not _fits(buckets, learning, self.state):
            weighted = self._rule.weighted or self._compiled is not None
            listed = self._adam is not None
            buckets = bucketed(learning, self.state, len(self._rule.means), weighted=weighted, listed=listed)
            self._buckets[number] = buckets
            self._memory.clear()
        return buckets

    def _progress(self, group: dict[str, Any], step: int) -> float | None:
        if not self._rule.scheduled:
            return None
        if group["progress"] is not None:
            return float(group["progress"])
        if not group["total_steps"]:
            raise BadInput("the update rule follows a schedule", remedy="Give the optimizer total_steps=.")
        return min((step - 1) / int(group["total_steps"]), 1.0)

    def _apply(self, part: Part, *, rate: float, keep: float, progress: float | None) -> None:
        if self._compiled is not None:
            corrections = [1 / (1 - memory**part.step) for memory in _memories(self._rule)]
            numbers = [torch.tensor(number) for number in (rate, keep, float(part.step), progress or 0.0, *corrections)]
            self._compiled(part.weight, part.gradient, part.means, *numbers)
            return
        gradient = part.gradient
        memory = self._memory.setdefault((gradient.dtype, gradient.device), [])
        scratch = pieces(memory, gradient.numel())
        operands = Operands(gradient, part.weight, step=part.step, progress=progress, scratch=scratch)
        program = self._programs[has_kernel(gradient)]
        update = evaluate_factors(self._rule.graph, program, operands, part.means)
        part.subtract(update, rate=rate, keep=keep)
        memory.extend(scratch[len(memory) :])


def _fits(buckets: list[Bucket], learning: list[nn.Parameter], state: Any) -> bool:
    """Whether these buckets hold these parameters, and their state is the one that the optimizer holds."""
    known = {id(parameter) for parameter in learning}
    return sum(bucket.size for bucket in buckets) == len(known) and all(bucket.fits(known, state) for bucket in buckets)


def _adam_kernel(expression: Expression) -> Callable[..., None] | None:
    """PyTorch's own kernel for the whole step, where the rule is Adam or RMSProp of the gradient, or that and a
    share of the weights, as AdamW is; else None."""
    graph, own_decay = expression.graph, 0.0
    adam = next(iter(program_of(graph).adams.values()), None)
    if adam is None or graph[adam.source].function != "g":
        return None
    if len(expression.means) != (1 if adam.first is None else 2):
        return None
    root = graph[-1]
    if root.function == "+" and root.inputs[0] == adam.quotient:
        share = graph[root.inputs[1]]
        factors = [graph[place] for place in share.inputs]
        if share.function != "*" or factors[0].function != "constant" or factors[1].function != "w":
            return None
        own_decay = factors[0].number or 0.0
    elif adam.quotient != len(graph) - 1:
        return None
    first, second, means = adam.first, adam.second, expression.means

    def step(bucket: Bucket, *, rate: float, decay: float) -> None:
        weights, gradients, pieces = bucket.tensors()
        adam_kernel(
            weights,
            gradients,
            first=None if first is None else (pieces[first], means[first][1]),
            second=(pieces[second], means[second][1]),
            step=bucket.step if adam.corrected else None,
            rate=rate,
            decay=decay + own_decay,
        )

    return step


def _compiled_step(expression: Expression) -> _Step:
    graph = expression.graph
    program = program_of(graph, False)

    memories = _memories(expression)

    def step(weight: Tensor, gradient: Tensor, means: list[Tensor], *numbers: Tensor) -> None:
        rate, keep, count, progress = numbers[:4]
        corrections = dict(zip(memories, numbers[4:], strict=True))
        operands = Operands(gradient, weight, step=count, progress=progress, corrections=corrections)
        update, scale = run_program(graph, program, operands, means)
        weight.copy_(weight * keep - update * (scale * rate))

    compiled: _Step = torch.compile(step, dynamic=True)
    return compiled


def _memories(expression: Expression) -> list[float]:
    """Those of its running means, each once."""
    return sorted({memory for _, memory in expression.means})
