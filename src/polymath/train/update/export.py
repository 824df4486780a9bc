"""A rule as one Python file that needs PyTorch and nothing of ours."""

from __future__ import annotations

from .expression import Expression, Graph, Node, constants, needed_nodes, running_means
from .formula import formula
from .simplify import simplify
from .vocabulary import DELTA, MEANS, SCHEDULES

_SUM, _PRODUCT, _POWER, _ATOM = 1, 2, 4, 5


def as_python(expression: Expression, *, name: str = "Rule") -> str:
    """The text of a Python file with a class `name`, a `torch.optim.Optimizer` whose `step` says the rule line by line.

    It takes `lr`, `weight_decay` and, for rules with a schedule, `total_steps`, and takes the steps that
    `ExpressionOptimizer` takes.
    """
    if not name.isidentifier():
        raise ValueError(f"{name!r} is not the name of a Python class")
    rule = simplify(expression)
    body = _Body(rule.graph)
    extra = (", total_steps", ", total_steps=total_steps") if rule.scheduled else ("", "")
    return _FILE.format(
        formula=formula(rule).replace("\\", ""),
        name=name,
        math="import math\n\n" if "math." in "\n".join(body.lines) else "",
        argument=extra[0],
        default=extra[1],
        start="".join(
            f'                    state["mean_{slot}"] = torch.zeros_like(w)\n' for slot in range(len(rule.means))
        ),
        lines="\n".join(f"                {line}" for line in body.lines),
        update=body.update,
    )


class _Body:
    """The lines of a step, and the expression of its update."""

    def __init__(self, graph: Graph) -> None:
        self._graph, self._known, self._needed = graph, constants(graph), needed_nodes(graph)
        self._means = running_means(graph)
        self._written: list[tuple[str, int]] = []
        self._uses = [0] * len(graph)
        for place, node in enumerate(graph):
            if self._needed[place] and self._known[place] is None:
                for source in node.inputs:
                    self._uses[source] += 1
        for source, _ in self._means:
            self._uses[source] += 1
        self._advanced: set[int] = set()
        self.lines: list[str] = []
        if any(node.function in SCHEDULES and self._needed[place] for place, node in enumerate(graph)):
            self.lines.append('progress = min((t - 1) / group["total_steps"], 1.0)')
        for slot in self._previous():
            self.lines.append(f'previous_{slot} = state["mean_{slot}"].clone()')
        for place, node in enumerate(graph):
            self._written.append(self._one(place, node))
        for slot in range(len(self._means)):
            self._advance(slot)
        self.update = self._written[-1][0]

    def _previous(self) -> list[int]:
        """Means whose value before this step is read."""
        read = {
            self._means.index((node.inputs[0], node.number or 0.0))
            for place, node in enumerate(self._graph)
            if node.function == "previous_mean" and self._needed[place]
        }
        return sorted(read)

    def _one(self, place: int, node: Node) -> tuple[str, int]:
        known = self._known[place]
        if not self._needed[place]:
            return "", _ATOM
        if known is not None:
            return (repr(known), _ATOM) if known >= 0 else (f"({known!r})", _ATOM)
        text, binding = self._mean(node) if node.function in MEANS else self._function(node)
        if node.function in SCHEDULES:
            self.lines.append(f"decay_{place} = torch.tensor({text}, dtype=w.dtype)")
            return f"decay_{place}", _ATOM
        if place < len(self._graph) - 1 and binding < _ATOM + (len(text) > 30) and self._uses[place] > 1:
            self.lines.append(f"x{place} = {text}")
            return f"x{place}", _ATOM
        return text, binding

    def _mean(self, node: Node) -> tuple[str, int]:
        slot = self._means.index((node.inputs[0], node.number or 0.0))
        if node.function == "previous_mean":
            return f"previous_{slot}", _ATOM
        self._advance(slot)
        if node.function == "raw_mean":
            return f"mean_{slot}", _ATOM
        return f"corrected_{slot}", _ATOM

    def _advance(self, slot: int) -> None:
        if slot in self._advanced:
            return
        self._advanced.add(slot)
        source, memory = self._means[slot]
        value = _within(self._written[source], _PRODUCT)
        self.lines.append(f'mean_{slot} = state["mean_{slot}"].mul_({memory!r}).add_((1 - {memory!r}) * {value})')
        if any(node.function == "mean" and (node.inputs[0], node.number) == (source, memory) for node in self._graph):
            self.lines.append(f"corrected_{slot} = mean_{slot} / (1 - {memory!r}**t)")

    def _function(self, node: Node) -> tuple[str, int]:
        name, inputs = node.function, [self._written[place] for place in node.inputs]
        number = repr(node.number)
        if name in ("g", "w"):
            return name, _ATOM
        if name in _CALLS:
            return _CALLS[name].format(*(text for text, _ in inputs), n=number), _ATOM
        if name == "negate":
            return f"-{_within(inputs[0], _POWER)}", _PRODUCT
        if name in ("square", "cube"):
            return f"{_within(inputs[0], _ATOM)} ** {2 if name == 'square' else 3}", _POWER
        if name == "power":
            known = self._known[node.inputs[1]]
            least = "" if known is not None and known > 0 else f".clamp(min={DELTA!r})"
            base = f"torch.as_tensor({inputs[0][0]}).abs(){least}"
            return f"{base} ** {_within(inputs[1], _ATOM)}", _POWER
        if name == "/" and self._known[node.inputs[1]] is None:
            return f"{_within(inputs[0], _PRODUCT)} / ({inputs[1][0]} + {DELTA!r})", _PRODUCT
        level = _SUM if name in ("+", "-") else _PRODUCT
        right = _within(inputs[1], level + (name in ("-", "/")))
        return f"{_within(inputs[0], level)} {name} {right}", level


_CALLS = {
    "sign": "torch.sign({0})",
    "abs": "torch.abs({0})",
    "sqrt": "torch.sqrt(torch.abs({0}))",
    "exp": "torch.exp({0})",
    "log": f"torch.log(torch.abs({{0}}) + {DELTA!r})",
    "tanh": "torch.tanh({0})",
    "clip": "torch.clamp({0}, -{n}, {n})",
    "drop": "(torch.bernoulli(torch.full_like(g, 1 - {n})) * ({0}) / (1 - {n}))",
    "noise": "({n} * torch.randn_like(g))",
    "annealed_noise": "(torch.randn_like(g) * (1 + t) ** -0.275)",
    "linear_decay": "1 - progress",
    "cosine_decay": "0.5 * (1 + math.cos(2 * math.pi * {n} * progress))",
    "restart_decay": "0.5 * (1 + math.cos(math.pi * ({n} * progress % 1)))",
}


def _within(part: tuple[str, int], binding: int) -> str:
    return part[0] if part[1] >= binding else f"({part[0]})"


_FILE = '''"""{name}, an update rule: the update is {formula}.

Here g is the gradient, w the weights; the weights lose lr * (update + weight_decay * w) at each step.
Written by Polymath; needs PyTorch only.
"""

{math}import torch


class {name}(torch.optim.Optimizer):
    """Use it as any optimizer of PyTorch."""

    def __init__(self, params{argument}, lr=1e-3, weight_decay=0.0):
        super().__init__(params, dict(lr=lr, weight_decay=weight_decay{default}))

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                precise = torch.float32 if p.dtype in (torch.float16, torch.bfloat16) else p.dtype
                g, w = p.grad.to(precise), p.detach().to(precise)
                state = self.state[p]
                if not state:
                    state["step"] = 0
{start}                state["step"] += 1
                t = state["step"]
{lines}
                update = {update}
                p.copy_((1 - group["lr"] * group["weight_decay"]) * w - group["lr"] * update)
        return loss
'''
