"""Runs any cell over a sequence, forward and backward, close to the speed of a hand-written LSTM.

The backward pass is derived by hand. Within a step everything but the linear maps works value by value, so h_t and c_t
depend on each slot, on h_{t-1} and on c_{t-1} by diagonal Jacobians. Those are known once the forward pass is over, for
all steps at the same time; what is left to do step by step is to multiply them with the gradients of h_t and c_t and
one matrix product: four calls, whatever the graph.

Axes: S stacked copies (seeds, learning rates; 1 in a layer), B examples, T time, D values given, H width, P slots,
K columns (slots, then h and c where a step reads them value by value).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .graph import Node
from .plan import Plan

Adjoint = Tensor | float | None
"""Of a value: none, one number for all of it, or values."""


def _copied(given: Tensor, *, out: Tensor) -> Tensor:
    return out.copy_(given)


IN_PLACE: Mapping[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh_,
    "sigmoid": torch.sigmoid_,
    "relu": torch.relu_,
}
INTO: Mapping[str, Callable[..., Tensor]] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": partial(torch.clamp_min, min=0),
    "identity": _copied,
    "add": torch.add,
    "subtract": torch.sub,
    "multiply": torch.mul,
    "add_product": torch.addcmul,
    "subtract_product": partial(torch.addcmul, value=-1),
}
"""Operations of a call, written to `out`."""
PLAIN: Mapping[str, Callable[..., Tensor]] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "identity": lambda given: given,
    "add": torch.add,
    "subtract": torch.sub,
    "multiply": torch.mul,
}


def run(
    plan: Plan,
    x_STBD: Tensor,
    *,
    map_x: Tensor,
    map_h: Tensor,
    bias: Tensor,
    h_SBH: Tensor,
    c_SBH: Tensor,
) -> tuple[Tensor, Tensor]:
    """All h_t [S, T, B, H], and the last c [S, B, H].

    `map_x` [S, D, slots of x * H], `map_h` [S, H, slots of h * H], `bias` [S, P * H]; slots as in the plan.
    """
    hidden: Tensor
    hidden, memory = _Run.apply(plan, x_STBD, map_x, map_h, bias, h_SBH, c_SBH)  # type: ignore[no-untyped-call]
    return hidden, memory


def plainly(
    plan: Plan,
    x_STBD: Tensor,
    *,
    map_x: Tensor,
    map_h: Tensor,
    bias: Tensor,
    h_SBH: Tensor,
    c_SBH: Tensor,
) -> tuple[Tensor, Tensor]:
    """The same as `run` in single operations that any tracer can follow: for export, and to compare with."""
    H = h_SBH.shape[-1]
    names, first_h = plan.slots, plan.first_h
    mapped = x_STBD @ map_x[:, None]
    hidden = []
    for x_SBX in mapped.unbind(1):
        from_x = [*x_SBX.split(H, -1), *[0.0] * (len(names) - plan.num_x)]
        from_h = [*[0.0] * first_h, *(h_SBH @ map_h).split(H, -1)] if first_h < len(names) else [0.0] * len(names)
        offsets = bias[:, None].split(H, -1)
        value: dict[str, Any] = {"h": h_SBH, "c": c_SBH}
        for name, x, h, offset in zip(names, from_x, from_h, offsets, strict=True):
            value[name] = x + h + offset
        for node in plan.cell.ordered:
            if node.operation != "linear":
                value[node.name] = PLAIN[node.operation](*(value[name] for name in node.inputs))
        h_SBH = value[plan.cell.hidden]
        c_SBH = value[plan.cell.memory] if plan.cell.memory else c_SBH
        hidden.append(h_SBH)
    return torch.stack(hidden, 1), c_SBH


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0913 - autograd passes all by position
        ctx: Any, plan: Plan, x_STBD: Tensor, map_x: Tensor, map_h: Tensor, bias: Tensor, h_SBH: Tensor, c_SBH: Tensor
    ) -> tuple[Tensor, Tensor]:
        values = _Values(plan, x_STBD, map_x=map_x, bias=bias, h_SBH=h_SBH, c_SBH=c_SBH)
        values.step_through(map_h)
        ctx.values = values
        ctx.save_for_backward(x_STBD, map_x, map_h)
        last = values.state["c"][:, -1] if plan.cell.memory else c_SBH
        return values.state["h"][:, 1:], last.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_h: Tensor, grad_c: Tensor) -> tuple[Tensor | None, ...]:
        x_STBD, map_x, map_h = ctx.saved_tensors
        plan = ctx.values.plan
        D_STBKH, grad_h0, grad_c0 = _step_back(ctx.values, map_h, grad_h, grad_c)
        S, T, B, K, H = D_STBKH.shape
        flat = D_STBKH.view(S, T * B, K * H)
        slots = flat[..., : len(plan.slots) * H]
        of_x, of_h = flat[..., : plan.num_x * H], flat[..., plan.first_h * H : len(plan.slots) * H]
        x_SND = x_STBD.reshape(S, T * B, -1)
        before = ctx.values.state["h"][:, :-1].reshape(S, T * B, H)
        grad_x = torch.bmm(of_x, map_x.mT).view_as(x_STBD) if ctx.needs_input_grad[1] else None
        return (
            None,
            grad_x,
            torch.bmm(x_SND.mT, of_x),
            torch.bmm(before.mT, of_h),
            slots.sum(1),
            grad_h0,
            grad_c0 if plan.cell.memory else grad_c,
        )


class _Values:
    """Everything that a pass computed: slots, nodes and states, each for all steps."""

    def __init__(
        self, plan: Plan, x_STBD: Tensor, *, map_x: Tensor, bias: Tensor, h_SBH: Tensor, c_SBH: Tensor
    ) -> None:
        S, T, B, _ = x_STBD.shape
        H = h_SBH.shape[-1]
        self.plan, self.sizes = plan, (S, T, B, H)
        new = x_STBD.new_empty
        P, X = len(plan.slots), plan.num_x * H
        if plan.num_x == P:
            mapped = torch.baddbmm(bias[:, None], x_STBD.reshape(S, T * B, -1), map_x)
            self.slots = mapped.view(S, T, B, P, H)
        else:
            self.slots = new(S, T, B, P, H)
            flat = self.slots.view(S, T * B, P * H)
            flat[..., X:] = bias[:, None, X:]
            flat[..., :X] = torch.baddbmm(bias[:, None, :X], x_STBD.reshape(S, T * B, -1), map_x)
        self.state = {"h": new(S, T + 1, B, H)}
        self.state["h"][:, 0] = h_SBH
        if plan.cell.memory:
            self.state["c"] = new(S, T + 1, B, H)
            self.state["c"][:, 0] = c_SBH
        self.node: dict[str, Tensor] = {
            name: self.slots[:, :, :, plan.slots.index(slot)]
            for name, slot in (*plan.home.items(), *((slot, slot) for slot in plan.slots))
        }
        for state in plan.states:
            self.node[state] = self.state[state][:, :-1]
            self.node[plan.node_of(state)] = self.state[state][:, 1:]
        for call in plan.calls:
            if call.node and call.node not in self.node:
                self.node[call.node] = new(S, T, B, H)

    def steps(self, values: Tensor) -> tuple[Tensor, ...]:
        """Views of each step: without the axis S where there is one copy, because that is quicker."""
        return values[0].unbind(0) if self.sizes[0] == 1 else values.unbind(1)

    def step_through(self, map_h: Tensor) -> None:
        """The forward pass: one matrix product and the calls of the plan, step by step."""
        S, T, B, H = self.sizes
        plan = self.plan
        rows = self.slots.view(S, T, B, len(plan.slots) * H)
        before, into = self.steps(self.state["h"]), self.steps(rows[..., plan.first_h * H :])
        matrix, product = (map_h[0], torch.Tensor.addmm_) if S == 1 else (map_h, torch.Tensor.baddbmm_)
        activations, calls = [], []
        for call in plan.calls:
            if call.node:
                given = list(zip(*(self.steps(self.node[name]) for name in call.inputs), strict=True))
                calls.append((INTO[call.operation], given, self.steps(self.node[call.node])))
            else:
                activations.append((IN_PLACE[call.operation], self.steps(rows[..., call.first * H : call.last * H])))
        for t in range(T):
            if plan.first_h < len(plan.slots):
                product(into[t], before[t], matrix)
            for activate, where in activations:
                activate(where[t])
            for operation, arguments, out in calls:
                operation(*arguments[t], out=out[t])


def _step_back(
    values: _Values, map_h: Tensor, grad_h_STBH: Tensor, grad_c_SBH: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Gradients of all columns [S, T, B, K, H], of the first h and of the first c."""
    S, T, B, H = values.sizes
    plan = values.plan
    P, K = len(plan.slots), len(plan.columns)
    grad = {"h": map_h.new_empty(S, T + 1, B, H)}
    grad["h"][:, 0], grad["h"][:, 1:] = 0, grad_h_STBH
    D_STBKH, added, cross = _jacobians(values)
    rows = D_STBKH.view(S, T, B, K * H)
    of_h = values.steps(rows[..., plan.first_h * H : P * H])
    matrix = map_h[0].T if S == 1 else map_h.mT
    product = torch.Tensor.addmm_ if S == 1 else torch.Tensor.baddbmm_
    column = {name: values.steps(D_STBKH[:, :, :, plan.columns.index(name)]) for name in plan.columns[P:]}
    hidden = values.steps(grad["h"])
    memory = [*column.get("c", ()), grad_c_SBH[0] if S == 1 else grad_c_SBH]  # memory[t + 1] is the gradient of c_t
    total_STBH = map_h.new_empty(S, T, B, H)
    total, wide_total = values.steps(total_STBH), values.steps(total_STBH.unsqueeze(-2))
    wide_hidden = values.steps(grad["h"].unsqueeze(-2))
    crossed = () if cross is None else values.steps(cross)
    multiplied = {state: values.steps(D_STBKH[:, :, :, slice(*plan.ranges[state])]) for state in plan.states}
    more = () if added is None else values.steps(added)
    for t in reversed(range(T)):
        wide = {"h": wide_hidden[t + 1]}
        if "c" in plan.states:
            wide["c"] = memory[t + 1].unsqueeze(-2)
            if crossed:
                first, second = (memory, hidden) if plan.earlier == "c" else (hidden, memory)
                torch.addcmul(first[t + 1], second[t + 1], crossed[t], out=total[t])
                wide[plan.earlier] = wide_total[t]
        multiplied[plan.earlier][t].mul_(wide[plan.earlier])
        if more:
            multiplied[plan.later][t].addcmul_(more[t], wide[plan.later])
        elif plan.later != plan.earlier:
            multiplied[plan.later][t].mul_(wide[plan.later])
        if plan.first_h < P:
            product(hidden[t], of_h[t], matrix)
        if "h" in column:
            hidden[t].add_(column["h"][t])
    grad_c0 = D_STBKH[:, 0, :, plan.columns.index("c")] if "c" in column else None
    return D_STBKH, grad["h"][:, 0], grad_c0


def _jacobians(values: _Values) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """By columns [S, T, B, K, H]; those of `later` alone where columns overlap; of `later` by `earlier`."""
    plan = values.plan
    S, T, B, H = values.sizes
    by_column = values.slots.new_empty(S, T, B, len(plan.columns), H)
    added = None
    if plan.overlap:
        first, last = plan.ranges[plan.later]
        added = values.slots.new_empty(S, T, B, last - first, H)
    cross: Tensor | None = None
    written: set[int] = set()
    for state in dict.fromkeys((plan.earlier, plan.later)):
        stop = plan.node_of(plan.earlier) if state != plan.earlier else None
        adjoints = _adjoints(values, state, stop=stop)
        first, last = plan.ranges[state]
        for place in range(first, last):
            apart = added is not None and state == plan.later
            into = added[:, :, :, place - first] if apart and added is not None else by_column[:, :, :, place]
            if not apart:
                written.add(place)
            _write(adjoints.get(plan.columns[place]), into)
        if stop is not None and adjoints.get(stop) is not None:
            cross = values.slots.new_empty(S, T, B, H)
            _write(adjoints[stop], cross)
    for place in set(range(len(plan.columns))) - written:
        by_column[:, :, :, place] = 0
    return by_column, added, cross


def _write(adjoint: Adjoint, into: Tensor) -> None:
    if isinstance(adjoint, Tensor):
        into.copy_(adjoint)
    else:
        into.fill_(adjoint or 0.0)


def _adjoints(values: _Values, state: str, *, stop: str | None) -> dict[str, Adjoint]:
    """How a state depends on every node and source of its step, through none that `stop` stands for."""
    plan = values.plan
    found: dict[str, Adjoint] = {plan.node_of(state): 1.0}
    for node in reversed(plan.cell.ordered):
        adjoint = found.get(node.name)
        if adjoint is None or node.name == stop or node.operation == "linear":
            continue
        for taken, share in _shares(values, node, adjoint):
            found[taken] = _sum(found.get(taken), share)
    return found


def _shares(values: _Values, node: Node, adjoint: Tensor | float) -> list[tuple[str, Tensor | float]]:
    """What each input of a node gets of its adjoint."""
    operation, inputs = node.operation, node.inputs
    if operation in ("add", "subtract"):
        return [(inputs[0], adjoint), (inputs[1], adjoint if operation == "add" else -adjoint)]
    if operation == "multiply":
        return [(inputs[i], adjoint * values.node[inputs[1 - i]]) for i in (0, 1)]
    if operation == "identity":
        return [(inputs[0], adjoint)]
    own = values.node[node.name]
    if operation == "tanh":
        slope = 1 - own * own
    elif operation == "sigmoid":
        slope = own - own * own
    else:
        slope = (own > 0).to(own.dtype)
    return [(inputs[0], slope if isinstance(adjoint, float) and adjoint == 1.0 else slope * adjoint)]


def _sum(one: Adjoint, other: Tensor | float) -> Tensor | float:
    return other if one is None else one + other
