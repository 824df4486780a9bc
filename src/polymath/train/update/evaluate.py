"""What a rule says at one step, elementwise over tensors of any shape; the only evaluator there is.

Values are kept as a tensor times a number, so that constants, signs and corrections of bias cost no pass over the
tensors. Each part is computed once; what is needed no more is written over.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu_

from .expression import Expression, Graph, Node
from .program import Adam, Program, program_of
from .vocabulary import DELTA, FUNCTIONS, MEANS

FAR_FROM_0 = 2.0**64
"""Times a product of which the sign is taken: two numbers of 1e-32 do not come down to 0."""


@dataclass
class Operands:
    """What a rule reads at one step."""

    gradient: Tensor
    weight: Tensor | None = None
    """Of the gradient's shape; needed if `expression.weighted`."""
    step: int | Tensor = 1
    """1 at the first step: corrects the bias of running means, and lets noise die down."""
    progress: float | Tensor | None = None
    """Share of the training done, 0 to 1; needed if `expression.scheduled`. A tensor is broadcast over the gradient."""
    corrections: Mapping[float, Tensor] | None = None
    """For each memory, 1 / (1 - memory ** step): a compiled step would raise to that power for each weight."""
    generator: torch.Generator | None = None
    """Where noise comes from; None is PyTorch's own generator of the device."""
    scratch: list[Tensor] | None = None
    """Memory to work in, kept from step to step: fresh memory costs more than the arithmetic on large tensors. It grows
    by itself and goes with one shape; the update returned is in it, so it is overwritten by the next evaluation."""


class Scaled(NamedTuple):
    """The value `scale * tensor`."""

    tensor: Tensor
    scale: float


Value = float | Scaled


class Update(NamedTuple):
    """The update `scale * tensor`, or `scale * tensor * other`: whoever subtracts it multiplies in the same pass."""

    tensor: Tensor
    scale: float
    other: Tensor | None = None


def new_state(expression: Expression, like: Tensor) -> list[Tensor]:
    """The running means of a rule before the first step: zeros, one tensor for each of `expression.means`."""
    return [torch.zeros(like.shape, dtype=like.dtype, device=like.device) for _ in expression.means]


def evaluate(expression: Expression, operands: Operands, state: Sequence[Tensor] = ()) -> Tensor:
    """The update, of the gradient's shape; changes the running means in `state` in place.

    The update may be the gradient itself or one of the means: read it, do not write to it. Call it under
    `torch.no_grad()`. NaN and infinity pass through; nothing is raised for them.
    """
    tensor, scale = evaluate_scaled(expression.graph, operands, state)
    return tensor if scale == 1 else tensor * scale


def evaluate_factors(graph: Graph, program: Program, operands: Operands, state: Sequence[Tensor]) -> Update:
    """The update with its last multiplication still to be done, by a program that was made before."""
    return _Run(graph, program, operands, state).factors()


def evaluate_scaled(graph: Graph, operands: Operands, state: Sequence[Tensor]) -> Scaled:
    """The update as a tensor and the number that it still has to be multiplied by."""
    kernel = has_kernel(operands.gradient) and all(tensor.is_contiguous() for tensor in (operands.gradient, *state))
    return run_program(graph, program_of(graph, kernel), operands, state)


def has_kernel(tensor: Tensor) -> bool:
    """Whether PyTorch has its fused optimizers for the device of a tensor."""
    return tensor.device.type in ("cpu", "cuda")


def run_program(graph: Graph, program: Program, operands: Operands, state: Sequence[Tensor]) -> Scaled:
    """The same, by a program that was made before: this is what a compiler may trace."""
    return _Run(graph, program, operands, state).all()


class _Run:
    """One evaluation."""

    def __init__(self, graph: Graph, program: Program, operands: Operands, state: Sequence[Tensor]) -> None:
        if len(state) != len(program.means):
            raise ValueError(f"the rule keeps {len(program.means)} running means, but the state holds {len(state)}")
        self._graph, self._program, self._operands, self._state = graph, program, operands, state
        self._values: list[Value | None] = list(program.values)
        self._shape = operands.gradient.shape
        self._advanced: set[int] = set()
        self._before: dict[int, Tensor] = {}
        self._scratch = operands.scratch
        self._free = list(operands.scratch or ())

    def all(self) -> Scaled:
        self._compute(len(self._graph))
        result = self._value(len(self._graph) - 1)
        return result if isinstance(result, Scaled) else Scaled(self._full(result), 1.0)

    def factors(self) -> Update:
        """As `all`, but two tensors that the last node multiplies are given as they are."""
        root = self._graph[-1]
        early = [self._graph[self._program.owners[source]].function == "previous_mean" for source in root.inputs]
        known = self._program.values[-1] is not None or len(self._graph) - 1 in self._program.bare
        if root.function != "*" or known or any(early):  # a previous mean is brought up to date at the end
            return Update(*self.all())
        self._compute(len(self._graph) - 1)
        x, y = (self._value(source) for source in root.inputs)
        full = all(isinstance(one, Scaled) and one.tensor.shape == self._shape for one in (x, y))
        if not full:
            return Update(*self.all())
        assert isinstance(x, Scaled) and isinstance(y, Scaled)
        return Update(x.tensor, x.scale * y.scale, y.tensor)

    def _compute(self, end: int) -> None:
        """All nodes before `end`, and the running means."""
        program, values = self._program, self._values
        for place, node in enumerate(self._graph[:end]):
            if program.needed[place] and values[place] is None:
                values[place] = self._one(place, node)
        for slot in reversed(range(len(program.means))):  # a mean of an earlier mean's previous value reads it first
            self._advance(slot)

    def _one(self, place: int, node: Node) -> Value:
        name = node.function
        if name in MEANS:
            mean = self._mean(node)
            self._release(place)
            return mean
        if not node.inputs:
            return self._operand(node)
        if place in self._program.bare:
            return self._product_of_signs(place)
        inputs = [self._value(source) for source in node.inputs]
        self._release(place)
        if len(inputs) == 2:
            x, y = inputs
            known = self._program.values[node.inputs[1]]
            if name == "power":
                return self.power(x, y, bounded=known is None or known <= 0)
            if name == "/" and isinstance(y, float) and known is None:
                y += DELTA
            return _BINARY[name](self, x, y)
        only = inputs[0]
        if name == "drop":
            return self._drop(only, node.number or 0.0)
        if isinstance(only, Scaled):
            return self._unary(node, only)
        function = FUNCTIONS[name].constant
        assert function is not None
        return float(function(only) if node.number is None else function(only, node.number))

    def _value(self, place: int) -> Value:
        value = self._values[place]
        assert value is not None
        return value

    def _operand(self, node: Node) -> Value:
        operands, name = self._operands, node.function
        if name == "g":
            return Scaled(operands.gradient, 1.0)
        if name == "w":
            if operands.weight is None:
                raise ValueError("the rule reads the weights, but none were given")
            return Scaled(operands.weight, 1.0)
        if name == "noise":
            return Scaled(self._normal(), node.number) if node.number else 0.0
        if name == "annealed_noise":
            return self._times(self._normal(), (1 + operands.step) ** -0.275)
        progress = operands.progress
        if progress is None:
            raise ValueError("the rule follows a schedule, but the progress of the training was not given")
        if isinstance(progress, Tensor):
            return Scaled(_schedule_of_tensor(name, progress.to(operands.gradient.dtype), node.number or 0.0), 1.0)
        return _schedule(name, progress, node.number or 0.0)

    # Running means ----------------------------------------------------------------------------------------------
    def _mean(self, node: Node) -> Value:
        memory = node.number or 0.0
        slot = self._program.slots[node.inputs[0], memory]
        if node.function == "previous_mean":
            if not self._program.copied[slot]:
                return Scaled(self._state[slot], 1.0)
            self._advance(slot)
            return Scaled(self._before[slot], 1.0)
        self._advance(slot)
        if node.function == "raw_mean":
            return Scaled(self._state[slot], 1.0)
        given = self._operands.corrections
        correction = 1 / (1 - memory**self._operands.step) if given is None else given[memory]
        return self._times(self._state[slot], correction)

    @staticmethod
    def _times(tensor: Tensor, number: float | Tensor) -> Scaled:
        return Scaled(tensor * number, 1.0) if isinstance(number, Tensor) else Scaled(tensor, number)

    def _advance(self, slot: int) -> None:
        """Bring a running mean up to date, once."""
        if slot in self._advanced:
            return
        if slot in self._program.adams:
            self._adam(self._program.adams[slot])
            return
        self._advanced.add(slot)
        source, memory = self._program.means[slot]
        kept, value = self._state[slot], self._value(source)
        if self._program.copied[slot]:
            self._before[slot] = kept.clone()
        if not isinstance(value, Scaled):
            kept.mul_(memory).add_(value * (1 - memory))
        elif value.scale == 1 and value.tensor.shape == self._shape:
            kept.lerp_(value.tensor, 1 - memory)
        else:
            kept.mul_(memory).add_(value.tensor, alpha=(1 - memory) * value.scale)

    def _adam(self, adam: Adam) -> None:
        """The means of an Adam step and the step itself in one pass, by PyTorch's own kernel."""
        for slot in (adam.first, adam.second):
            if slot is None:
                continue
            self._advanced.add(slot)
            if self._program.copied[slot]:
                self._before[slot] = self._state[slot].clone()
        value, step = self._value(adam.source), self._operands.step
        assert isinstance(value, Scaled) and isinstance(step, int)
        gradient = self._plain(value, None)
        into = self._new(avoid=gradient).zero_()
        means = self._program.means
        adam_kernel(
            [into],
            [gradient],
            first=None if adam.first is None else ([self._state[adam.first]], means[adam.first][1]),
            second=([self._state[adam.second]], means[adam.second][1]),
            step=step if adam.corrected else None,
            rate=-1.0,
        )
        self._values[adam.quotient] = Scaled(into, 1.0)

    # Memory -----------------------------------------------------------------------------------------------------
    def _release(self, place: int) -> None:
        """Give back the tensors that nothing after this node reads; the node itself may still write over them."""
        if self._scratch is None:
            return
        for source in self._program.dying[place]:
            value = self._values[source]
            if isinstance(value, Scaled) and value.tensor.shape == self._shape:
                self._free.append(value.tensor)

    def _new(self, avoid: Tensor | None = None) -> Tensor:
        """Memory of full shape, other than `avoid`."""
        for place in range(len(self._free) - 1, -1, -1):
            if self._free[place] is not avoid:
                return self._free.pop(place)
        made = torch.empty_like(self._operands.gradient, requires_grad=False)
        if self._scratch is not None:
            self._scratch.append(made)
        return made

    def _out(self, *values: Value, avoid: Tensor | None = None) -> Tensor | None:
        """Memory for a result of these; None to take fresh memory, of another shape if it follows from progress."""
        if self._scratch is not None:
            for value in values:
                if isinstance(value, Scaled) and value.tensor.shape == self._shape:
                    return self._new(avoid)
        return None

    def _full(self, value: float) -> Tensor:
        return self._new().fill_(value)

    def _normal(self) -> Tensor:
        return self._new().normal_(generator=self._operands.generator)

    def _plain(self, value: Scaled, avoid: Tensor | None) -> Tensor:
        """With nothing left to multiply: may be the value's own tensor."""
        if value.scale == 1:
            return value.tensor
        return torch.mul(value.tensor, value.scale, out=self._out(value, avoid=avoid))

    # Functions of one -------------------------------------------------------------------------------------------
    def _unary(self, node: Node, x: Scaled) -> Scaled:
        name, number, (tensor, scale) = node.function, node.number, x
        positive = self._program.positive[node.inputs[0]]
        if name == "negate":
            return Scaled(tensor, -scale)
        if name == "abs":
            return x if positive else Scaled(torch.abs(tensor, out=self._out(x)), abs(scale))
        if name == "sign":
            return Scaled(torch.sign(tensor, out=self._out(x)), math.copysign(1.0, scale))
        if name == "square":
            return self._scaled(torch.mul(tensor, tensor, out=self._out(x)), scale * scale)
        if name == "cube":
            squared = torch.mul(tensor, tensor, out=self._out(x, avoid=tensor))
            return self._scaled(squared.mul_(tensor), scale * scale * scale)
        if name == "sqrt":
            out = self._out(x)
            root = torch.sqrt(tensor, out=out) if positive else torch.abs(tensor, out=out).sqrt_()
            return Scaled(root, math.sqrt(abs(scale)))
        if name == "clip":
            assert number is not None
            bound = number / abs(scale)
            return Scaled(torch.clamp(tensor, -bound, bound, out=self._out(x)), scale)
        if name == "log":
            return Scaled(torch.mul(tensor, scale, out=self._out(x)).abs_().add_(DELTA).log_(), 1.0)
        assert name in ("exp", "tanh")
        if name == "exp" and 1e-3 < abs(scale) < 30 and self._are_signs(node.inputs[0]):
            return self._exp_of_signs(x)
        function = torch.exp if name == "exp" else torch.tanh
        if scale == 1:
            return Scaled(function(tensor, out=self._out(x)), 1.0)
        plain = torch.mul(tensor, scale, out=self._out(x))
        return Scaled(function(plain, out=plain), 1.0)

    def _are_signs(self, place: int) -> bool:
        """Whether a tensor is made of -1, 0 and 1; a progress that is a tensor is no number for all weights."""
        return self._program.signs[place] and not isinstance(self._operands.progress, Tensor)

    def _product_of_signs(self, place: int) -> Value:
        x, y = (self._value(source) for source in self._program.bare[place])
        self._release(place)
        if isinstance(x, Scaled) and isinstance(y, Scaled):
            nothing = x.tensor.new_zeros(())
            signs = torch.addcmul(nothing, x.tensor, y.tensor, value=FAR_FROM_0, out=self._out(x, y)).sign_()
            return Scaled(signs, math.copysign(1.0, x.scale) * math.copysign(1.0, y.scale))
        product = self.multiply(x, y)
        if isinstance(product, float):
            return float(product > 0) - float(product < 0)
        return Scaled(torch.sign(product.tensor, out=self._out(product)), math.copysign(1.0, product.scale))

    def _exp_of_signs(self, x: Scaled) -> Scaled:
        """Takes three values, on two straight lines that meet at 0: a fifth of the time of an exponential."""
        slope = math.expm1(x.scale)
        bent = self._out(x)
        bent = x.tensor.clone() if bent is None else bent if bent is x.tensor else bent.copy_(x.tensor)
        return Scaled(leaky_relu_(bent, math.exp(-x.scale)).add_(1 / slope), slope)

    def _drop(self, x: Value, share: float) -> Scaled:
        """As dropout: what is kept grows by what is lost."""
        tensor, scale = x if isinstance(x, Scaled) else Scaled(self._full(x), 1.0)
        kept = self._new(avoid=tensor).bernoulli_(1 - share, generator=self._operands.generator)
        return Scaled(kept.mul_(tensor), scale / (1 - share))

    def _scaled(self, tensor: Tensor, scale: float) -> Scaled:
        """Multiplied out where the number alone could underflow, overflow or be divided by."""
        return Scaled(tensor, scale) if 1e-30 < abs(scale) < 1e30 else Scaled(tensor * scale, 1.0)

    # Functions of two -------------------------------------------------------------------------------------------
    def add(self, x: Value, y: Value, sign: float = 1.0) -> Value:
        if isinstance(x, Scaled):
            if isinstance(y, Scaled):
                ratio = sign * y.scale / x.scale
                return Scaled(torch.add(x.tensor, y.tensor, alpha=ratio, out=self._out(x, y)), x.scale)
            return Scaled(torch.add(x.tensor, sign * y / x.scale, out=self._out(x)), x.scale)
        if isinstance(y, Scaled):
            return Scaled(torch.add(y.tensor, sign * x / y.scale, out=self._out(y)), sign * y.scale)
        return x + sign * y

    def subtract(self, x: Value, y: Value) -> Value:
        return self.add(x, y, -1.0)

    def multiply(self, x: Value, y: Value) -> Value:
        if isinstance(x, Scaled):
            if isinstance(y, Scaled):
                return self._scaled(torch.mul(x.tensor, y.tensor, out=self._out(x, y)), x.scale * y.scale)
            return self._scaled(x.tensor, x.scale * y)
        return self._scaled(y.tensor, x * y.scale) if isinstance(y, Scaled) else x * y

    def divide(self, x: Value, y: Value) -> Value:
        if not isinstance(y, Scaled):
            if isinstance(x, Scaled):
                return self._scaled(x.tensor, _quotient(x.scale, y))
            return _quotient(x, y)
        if not isinstance(x, Scaled):
            below = torch.add(y.tensor, DELTA / y.scale, out=self._out(y))
            return self._scaled(below.reciprocal_(), x / y.scale)
        full = y.tensor.shape == self._shape
        below = torch.add(y.tensor, DELTA / y.scale, out=self._out(y, avoid=x.tensor))
        return self._scaled(torch.div(x.tensor, below, out=below if full else self._out(x)), x.scale / y.scale)

    def power(self, x: Value, y: Value, *, bounded: bool) -> Value:
        """|x|^y; `bounded`: what is nearer to 0 than DELTA counts as DELTA, for y may be negative."""
        least = DELTA if bounded else 0.0
        if not isinstance(x, Scaled):
            base = max(abs(x), least)
            return Scaled(torch.pow(base, self._plain(y, None)), 1.0) if isinstance(y, Scaled) else _power(base, y)
        if not isinstance(y, Scaled):
            size = torch.abs(x.tensor, out=self._out(x))
            if bounded:
                size.clamp_(min=least / abs(x.scale))
            return self._scaled(size.pow_(y), _power(abs(x.scale), y))
        power = self._plain(y, x.tensor)
        size = torch.abs(self._plain(x, power), out=self._out(x, avoid=power)).clamp_(min=least)
        return Scaled(torch.pow(size, power), 1.0)


def adam_kernel(
    weights: list[Tensor],
    gradients: list[Tensor],
    *,
    first: tuple[list[Tensor], float] | None,
    second: tuple[list[Tensor], float],
    step: int | None,
    rate: float,
    decay: float = 0.0,
) -> None:
    """PyTorch's fused AdamW on lists. `first`, `second`: running means and their memory; without `first` the
    gradients themselves are divided. `step`: for the bias of the means; None leaves it."""
    # Where the first mean remembers nothing it is the gradient: the kernel then writes what it has read.
    averages, memory = (gradients, 0.0) if first is None else first
    count = torch.tensor(_NO_BIAS if step is None else float(step), device=weights[0].device)
    torch._fused_adamw_(
        weights,
        gradients,
        averages,
        second[0],
        [],
        [count] * len(weights),
        lr=rate,
        beta1=memory,
        beta2=second[1],
        weight_decay=decay,
        eps=DELTA,
        amsgrad=False,
        maximize=False,
    )


_NO_BIAS = 1e8
"""Steps after which no memory that the language allows has a bias."""


def _quotient(x: float, y: float) -> float:
    return x / y if y else math.inf


def _power(x: float, y: float) -> float:
    try:
        return float(x**y)
    except OverflowError:
        return math.inf


def _schedule(name: str, progress: float, number: float) -> float:
    if name == "linear_decay":
        return 1 - progress
    turn = 2 * number * progress if name == "cosine_decay" else number * progress % 1
    return 0.5 * (1 + math.cos(math.pi * turn))


def _schedule_of_tensor(name: str, progress: Tensor, number: float) -> Tensor:
    if name == "linear_decay":
        return 1 - progress
    turn = 2 * number * progress if name == "cosine_decay" else number * progress % 1
    return (torch.cos(math.pi * turn) + 1) * 0.5


_BINARY: dict[str, Callable[[_Run, Value, Value], Value]] = {
    "+": _Run.add,
    "-": _Run.subtract,
    "*": _Run.multiply,
    "/": _Run.divide,
}
