"""Update rules: optimizers made from a recipe, and their state as named tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .muon import Muon
from .recipe import GradientRecipe
from .update.expression import Expression
from .update.optimizer import ExpressionOptimizer


def trained(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Names and parameters that take gradients, in a fixed order."""
    return [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]


def make_optimizer(recipe: GradientRecipe, module: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimizer. Weight decay touches no biases, norms or other one-dimensional weights."""
    if recipe.rule == "muon":
        parameters = [parameter for _, parameter in trained(module)]
        return Muon(parameters, lr=recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    decayed = [parameter for _, parameter in trained(module) if parameter.ndim > 1]
    others = [parameter for _, parameter in trained(module) if parameter.ndim <= 1]
    groups = [
        {"params": group, "weight_decay": decay}
        for group, decay in ((decayed, recipe.weight_decay), (others, 0.0))
        if group
    ]
    if isinstance(recipe.rule, Expression):
        return ExpressionOptimizer(groups, recipe.rule, lr=recipe.learning_rate)
    if recipe.rule == "sgd":
        return torch.optim.SGD(
            groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.momentum > 0, fused=True
        )
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(recipe.momentum, 0.999), fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the learning rate of all groups."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def set_progress(optimizer: torch.optim.Optimizer, progress: float) -> None:
    """Tell rules with a schedule of their own which share of the training (0 to 1) is done."""
    for group in optimizer.param_groups:
        if "progress" in group:
            group["progress"] = progress


def optimizer_tensors(optimizer: torch.optim.Optimizer, module: nn.Module) -> dict[str, Tensor]:
    """Moments and counters by `parameter/key`; empty before the first step."""
    found = {}
    for name, parameter in trained(module):
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                found[f"{name}/{key}"] = value
    return found


def load_optimizer(optimizer: torch.optim.Optimizer, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Take over what `optimizer_tensors` gave. Moments get the memory layout of their parameter, as a step makes."""
    parameters = dict(trained(module))
    optimizer.state.clear()
    for full, value in tensors.items():
        name, _, key = full.rpartition("/")
        parameter = parameters[name]
        if value.shape == parameter.shape and key != "step":
            kept = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False)
            kept.copy_(value)
        else:
            kept = value.detach().clone().to(parameter.device)
        optimizer.state[parameter][key] = kept
