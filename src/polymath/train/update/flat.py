"""The tensors that an optimizer changes, as few flat ones: small parameters gathered, large ones by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...spec import BadInput
from .evaluate import Update

SMALL = 1 << 14
"""Elements up to which tensors are gathered: below, a call costs more than a copy."""
CHUNK = 1 << 19
"""Elements worked on at a time: what is computed on the way to an update takes some tensors of 2 MiB, not more."""
CHUNK_ELSEWHERE = 1 << 25
"""The same where a call costs more and memory is faster than a processor's."""


@dataclass
class Part:
    """What is worked on at once: flat tensors of one size, and where the update goes."""

    gradient: Tensor
    weight: Tensor | None
    """The weights themselves, or a copy in float32; None if gathered and not read."""
    means: list[Tensor]
    step: int
    targets: list[Tensor] | None
    """The weights that a gathered update is handed out to; None if `weight` is the weights."""

    def subtract(self, update: Update, *, rate: float, keep: float) -> None:
        """`weights = keep * weights - rate * update`."""
        factor = -rate * update.scale
        if self.weight is not None:
            if keep != 1:
                self.weight.mul_(keep)
            if update.other is None:
                self.weight.add_(update.tensor, alpha=factor)
            else:
                self.weight.addcmul_(update.tensor, update.other, value=factor)
            return
        assert self.targets is not None
        if keep != 1:
            torch._foreach_mul_(self.targets, keep)
        sizes = [target.numel() for target in self.targets]
        if update.other is None:
            torch._foreach_add_(self.targets, update.tensor.split(sizes), alpha=factor)
        else:
            torch._foreach_addcmul_(self.targets, update.tensor.split(sizes), update.other.split(sizes), value=factor)


class Bucket:
    """Parameters of one type, device and number of steps that are worked on as one flat tensor, or as a list."""

    def __init__(
        self, parameters: Sequence[nn.Parameter], state: Any, num_means: int, *, weighted: bool, listed: bool = False
    ) -> None:
        first = parameters[0]
        self._orders = [_order(parameter) for parameter in parameters]
        self._parameters = list(parameters)
        self._targets = [
            _flat(parameter.detach(), order) for parameter, order in zip(parameters, self._orders, strict=True)
        ]
        self._wide = torch.float32 if first.dtype in (torch.bfloat16, torch.float16) else first.dtype
        self.listed = listed
        """Worked on as a list of tensors: nothing is gathered."""
        self._copied = not listed and (len(parameters) > 1 or self._wide is not first.dtype)
        views = zip(self._targets, parameters, strict=True)
        if not all(view.is_contiguous() and view.data_ptr() == whole.data_ptr() for view, whole in views):
            raise BadInput("the memory of a parameter has gaps", remedy="Make it contiguous before it is optimized.")
        sizes = [parameter.numel() for parameter in parameters]
        total, self._sizes = sum(sizes), sizes
        device = first.device
        self._means = [torch.zeros(total, dtype=self._wide, device=device) for _ in range(num_means)]
        for parameter, order, begin in zip(parameters, self._orders, _begins(sizes), strict=True):
            self._adopt(parameter, order, state[parameter], begin)
        self.steps = [state[parameter]["step"] for parameter in parameters]
        """Of each parameter, as its state holds it."""
        self.step = int(self.steps[0])
        self._pieces = [list(mean.split(sizes)) for mean in self._means]
        self._gradient = torch.empty(total, dtype=self._wide, device=device) if self._copied else None
        needs_weight = self._copied and (weighted or self._wide is not first.dtype)
        self._weight = torch.empty(total, dtype=self._wide, device=device) if needs_weight else None
        self._chunk = CHUNK if device.type == "cpu" else CHUNK_ELSEWHERE

    @property
    def size(self) -> int:
        """How many parameters it holds."""
        return len(self._parameters)

    def fits(self, learning: set[int], state: Any) -> bool:
        """Whether its parameters are all among these (by `id`), where they were, with the state that it holds."""
        return all(
            id(parameter) in learning
            and state[parameter].get("step") is step
            and parameter.data_ptr() == target.data_ptr()
            for parameter, step, target in zip(self._parameters, self.steps, self._targets, strict=True)
        )

    def tensors(self) -> tuple[list[Tensor], list[Tensor], list[list[Tensor]]]:
        """Flat weights, their gradients, and for each running mean of the rule those of the parameters."""
        return self._targets, self._gradients(), self._pieces

    def _gradients(self) -> list[Tensor]:
        gradients = []
        for parameter, order in zip(self._parameters, self._orders, strict=True):
            assert parameter.grad is not None
            if parameter.grad.is_sparse:
                raise BadInput("a gradient is sparse", remedy="Make the embedding with sparse=False.")
            gradients.append(_flat(parameter.grad, order))
        return gradients

    def parts(self) -> Iterator[Part]:
        """What is to be worked on, with the present gradients."""
        gradients = self._gradients()
        if self._gradient is None:
            yield from self._chunks(gradients[0], self._targets[0])
            return
        torch.cat(gradients, out=self._gradient)
        if self._weight is None:
            yield Part(self._gradient, None, self._means, self.step, self._targets)
            return
        torch.cat(self._targets, out=self._weight)
        yield from self._chunks(self._gradient, self._weight)

    def finish(self) -> None:
        """Hand out the new weights, where a copy was worked on."""
        if self._weight is not None:
            torch._foreach_copy_(self._targets, self._weight.split(self._sizes))

    def _chunks(self, gradient: Tensor, weight: Tensor) -> Iterator[Part]:
        if gradient.numel() <= self._chunk:
            yield Part(gradient, weight, self._means, self.step, None)
            return
        pieces = zip(*(tensor.split(self._chunk) for tensor in (gradient, weight, *self._means)), strict=True)
        for piece in pieces:
            yield Part(piece[0], piece[1], list(piece[2:]), self.step, None)

    def _adopt(self, parameter: nn.Parameter, order: tuple[int, ...] | None, state: dict[str, Any], begin: int) -> None:
        """Take over the state of a parameter, or make its first; from now on it is a view of ours."""
        names = {f"mean_{number}" for number in range(len(self._means))}
        if state:
            found = {name for name in state if name != "step"}
            shapes = {tuple(state[name].shape) for name in found}
            if found != names or "step" not in state or not shapes <= {tuple(parameter.shape)}:
                raise BadInput(
                    f"the saved state of an optimizer does not fit its rule: it holds {', '.join(sorted(state))}",
                    remedy=f"The rule keeps {len(names)} running means of the weights' shape, and the step.",
                )
        else:
            state["step"] = torch.zeros((), dtype=torch.float32)
        end = begin + parameter.numel()
        for number, mean in enumerate(self._means):
            piece = mean[begin:end]
            if f"mean_{number}" in state:
                piece.copy_(_flat(state[f"mean_{number}"], order))
            if order is None:
                state[f"mean_{number}"] = piece.view(parameter.shape)
            else:
                back = sorted(range(len(order)), key=order.__getitem__)
                state[f"mean_{number}"] = piece.view([parameter.shape[dim] for dim in order]).permute(back)


def bucketed(
    parameters: Sequence[nn.Parameter], state: Any, num_means: int, *, weighted: bool, listed: bool
) -> list[Bucket]:
    """All of these parameters in buckets; gathered ones stay below a chunk. `listed`: as lists where that is possible,
    which is where the running means have the type of the weights.
    """
    kinds: dict[tuple[Any, ...], list[nn.Parameter]] = {}
    for parameter in parameters:
        held = state[parameter].get("step")
        kind = (parameter.dtype, parameter.device, 0 if held is None else int(held))
        if parameter.numel() > SMALL and not listed:
            kinds[(*kind, len(kinds))] = [parameter]
        else:
            kinds.setdefault(kind, []).append(parameter)
    found = []
    for members in kinds.values():
        if listed and members[0].dtype in (torch.float32, torch.float64):
            found.append(Bucket(members, state, num_means, weighted=weighted, listed=True))
        else:
            found.extend(Bucket(some, state, num_means, weighted=weighted) for some in _batched(members))
    return found


def advance(buckets: Sequence[Bucket]) -> None:
    """Count one step of all of these, in one call."""
    steps = [step for bucket in buckets for step in bucket.steps]
    if steps:
        torch._foreach_add_(steps, 1.0)
    for bucket in buckets:
        bucket.step += 1


def pieces(memory: list[Tensor], size: int) -> list[Tensor]:
    """So many elements of each tensor of a memory to work in; those that are too small are replaced."""
    for place, tensor in enumerate(memory):
        if tensor.numel() < size:
            memory[place] = torch.empty(size, dtype=tensor.dtype, device=tensor.device)
    return [tensor if tensor.numel() == size else tensor[:size] for tensor in memory]


def _batched(parameters: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    batch: list[nn.Parameter] = []
    size = 0
    for parameter in parameters:
        if batch and size + parameter.numel() > CHUNK:
            yield batch
            batch, size = [], 0
        batch.append(parameter)
        size += parameter.numel()
    yield batch


def _begins(sizes: Sequence[int]) -> list[int]:
    return [sum(sizes[:place]) for place in range(len(sizes))]


def _order(tensor: Tensor) -> tuple[int, ...] | None:
    """The dimensions from the slowest to the fastest in memory; None if that is their own order."""
    if tensor.is_contiguous():
        return None
    return tuple(sorted(range(tensor.ndim), key=lambda dim: (-tensor.stride()[dim], dim)))


def _flat(tensor: Tensor, order: tuple[int, ...] | None) -> Tensor:
    """With its elements in this order of dimensions: a view where the memory has that order, else a copy."""
    return (tensor if order is None else tensor.permute(order)).reshape(-1)
