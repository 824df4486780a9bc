"""The inner loop: train one path on one fold from where it stands to a given amount of work.

Everything random comes from (seed, step), so what continues from a checkpoint equals what was never interrupted.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from ..model.build import PathModule
from ..problem.features.base import Feature
from .augment import Augmenter, Mix
from .batches import Batch, Order, Source, counter_random
from .memory import Holes
from .muon import has_bfloat16
from .recipe import GradientRecipe
from .rules import load_optimizer, make_optimizer, optimizer_tensors, set_learning_rate, set_progress, trained

AVERAGE_EVERY = 4
"""Steps between updates of the moving average: its cost stays below 1 % of a step, and it moves slowly anyway."""
CHECK_EVERY = 16
"""Steps between looks at the loss: each look waits for the device."""
SETBACKS = 2
"""How often a diverging training is taken back to its last good state, with half the learning rate."""
AXES = {"vector": 2, "tokens": 3, "map": 4}
"""Axes of a raw prediction of each form, without members."""
POINTS = 10
"""Points of the learning curve per rung."""


class Diverged(Exception):
    """The loss stayed NaN or infinite however small the learning rate."""


@dataclass(frozen=True)
class Plan:
    """How far and how fast: steps in all at the end, which schedule, and when the time is up."""

    steps: int
    """Steps since the first rung at which this rung ends."""
    rate: tuple[float, float]
    """Share of the recipe's learning rate at the begin and the end of this rung."""
    first: bool
    """No rung before this one: the learning rate warms up."""
    deadline: float | None = None
    """`time.monotonic()` at which training, and the scoring that follows it, must be done."""
    scoring: float = 0.0
    """What scoring costs, in steps of training: so much is kept back of the time."""
    seed: int = 0


@dataclass
class Training:
    """A path in training: module, update rule, moving average, position. Changes as it trains."""

    module: PathModule
    optimizer: torch.optim.Optimizer
    average: dict[str, Tensor]
    """Moving average of weights and statistics by their names in the module; empty if the recipe has none."""
    step: int = 0
    slow: float = 1.0
    """Factor on the learning rate, halved at every setback."""
    curve: list[tuple[int, float]] = field(default_factory=list)
    """(step, mean training loss since the last point)."""

    def tensors(self) -> dict[str, Tensor]:
        """Everything that is needed to go on, by name; the tensors are the live ones."""
        return {
            **{f"module/{name}": tensor for name, tensor in self.module.state_dict().items()},
            **{f"average/{name}": tensor for name, tensor in self.average.items()},
            **{f"optimizer/{name}": t for name, t in optimizer_tensors(self.optimizer, self.module).items()},
            "position": torch.tensor([float(self.step), self.slow], dtype=torch.float64),
        }

    def load(self, tensors: Mapping[str, Tensor], *, position: bool = True) -> None:
        """Take over what `tensors` gave; without `position` only the weights, not the place in the data."""
        parts: dict[str, dict[str, Tensor]] = {"module": {}, "average": {}, "optimizer": {}}
        for full, tensor in tensors.items():
            part, _, name = full.partition("/")
            if name:
                parts[part][name] = tensor
        with torch.no_grad():
            for name, mine in self.module.state_dict().items():
                mine.copy_(parts["module"][name])
            for name, mine in self.average.items():
                mine.copy_(parts["average"][name])
        load_optimizer(self.optimizer, self.module, parts["optimizer"])
        if position:
            self.step, self.slow = int(tensors["position"][0]), float(tensors["position"][1])


def start(module: PathModule, recipe: GradientRecipe) -> Training:
    """A training at step 0 of a module that stands on its device."""
    average = {}
    if recipe.ema > 0:
        average = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
    return Training(module, make_optimizer(recipe, module), average)


def train(
    training: Training,
    recipe: GradientRecipe,
    plan: Plan,
    *,
    source: Source,
    order: Order,
    augmenter: Augmenter,
    outputs: Mapping[str, Feature],
) -> bool:
    """Train until the plan's steps or deadline. Raises Diverged, torch.OutOfMemoryError, MemoryError.

    Returns whether the clock hurried it: ended it early, or lowered the learning rate sooner than its steps would.
    """
    if not trained(training.module):
        training.step = max(training.step, plan.steps)
        return False
    loop = _Loop(training, recipe, plan, outputs=outputs)
    total = max(plan.steps - training.step, 1)
    begin, first_step, check = time.monotonic(), training.step, training.step
    device = next(training.module.parameters()).device
    training.module.train()
    good, hurried, holes = _copy(training), False, Holes()
    while training.step < plan.steps:
        progress = (training.step - first_step + 0.5) / total
        if plan.deadline is not None:
            by_clock = max(progress, spent(begin, training.step - first_step, plan))
            hurried = hurried or by_clock >= 1 or rate(by_clock, recipe, plan) != rate(progress, recipe, plan)
            progress = by_clock
            if progress >= 1:
                break
        step = training.step
        batch = source.batch(order(step))
        mix = None
        if augmenter.paired:
            inputs, targets = augmenter.both(batch.inputs, batch.targets, counter_random(plan.seed, 2, step))
            batch = replace(batch, inputs=inputs, targets=targets)
        if augmenter.active:
            inputs, mix = augmenter(batch.inputs, counter_random(plan.seed, 1, step))
            batch = replace(batch, inputs=inputs)
        seed_noise(_noise_seed(plan.seed, step), device=device)
        set_progress(training.optimizer, (first_step + progress * total) / plan.steps)
        loop.step(batch, mix, rate=rate(progress, recipe, plan))
        training.step += 1
        if recipe.ema > 0 and training.step % AVERAGE_EVERY == 0:
            update_average(training, recipe.ema)
        ends = training.step >= plan.steps
        if training.step - check >= CHECK_EVERY or ends:
            check = training.step
            holes.look()
            if not loop.healthy():
                loop.setback(good)
            elif ends or loop.point_due(total):
                loop.point()
                good = good if ends else _copy(training)
    if not loop.healthy():
        loop.setback(good)
    loop.point()
    return hurried


def spent(begin: float, steps: int, plan: Plan) -> float:
    """Share of the time for training that is gone, after this many steps since `begin`."""
    assert plan.deadline is not None
    gone = time.monotonic() - begin
    kept = plan.scoring * gone / max(steps, 1)
    return gone / max(plan.deadline - begin - kept, 1e-3)


def rate(progress: float, recipe: GradientRecipe, plan: Plan) -> float:
    """Share of the recipe's learning rate at this progress (0..1) of the rung.

    From the plan's begin to its end linearly, after a warm-up where no rung came before. Down to 0 in one rung it is a
    one-cycle (Smith & Topin 2017, arXiv 1708.07120); level and then down, 'warm up, stay, decay' (Hu et al. 2024,
    arXiv 2404.06395).
    """
    warm = recipe.warmup if plan.first else 0.0
    if progress < warm:
        return plan.rate[0] * progress / warm
    begin, end = plan.rate
    return max(0.0, begin + (end - begin) * (min(progress, 1.0) - warm) / max(1.0 - warm, 1e-9))


def update_average(training: Training, horizon: float) -> None:
    """Pull the moving average towards the weights; its memory is `horizon` times the steps so far."""
    weight = AVERAGE_EVERY / (horizon * training.step + AVERAGE_EVERY)
    live = training.module.state_dict()
    names = [name for name, tensor in training.average.items() if tensor.is_floating_point()]
    with torch.no_grad():
        torch._foreach_lerp_([training.average[n] for n in names], [live[n] for n in names], weight)
        for name, tensor in training.average.items():
            if not tensor.is_floating_point():
                tensor.copy_(live[name])


@contextlib.contextmanager
def averaged(training: Training, *, use: bool) -> Iterator[PathModule]:
    """Within this, the module holds its moving average (if `use` and there is one)."""
    if not use or not training.average or training.step < AVERAGE_EVERY:
        yield training.module
        return
    live = training.module.state_dict()
    kept = {name: tensor.detach().clone() for name, tensor in live.items()}
    with torch.no_grad():
        for name, tensor in live.items():
            tensor.copy_(training.average[name])
    try:
        yield training.module
    finally:
        with torch.no_grad():
            for name, tensor in live.items():
                tensor.copy_(kept[name])


def predict(
    module: PathModule,
    source: Source,
    rows: np.ndarray,
    *,
    size: int,
    outputs: Mapping[str, Feature] | None = None,
    precision: str = "float32",
) -> dict[str, np.ndarray]:
    """Raw predictions by output for these rows, in evaluation mode, as float32; of `outputs` what is kept of them."""
    found: dict[str, list[np.ndarray]] = {}
    module.eval()
    context, _ = autocast(precision, source.device)
    with torch.inference_mode(), context():
        for batch in source.chunks(rows, size=size):
            for output, prediction in module(batch.inputs).items():
                if outputs is not None:
                    prediction = outputs[output].kept(prediction.float(), batch.targets[output])
                found.setdefault(output, []).append(prediction.float().cpu().numpy())
    return {output: np.concatenate(parts) for output, parts in found.items()}


def loss_of(
    predictions: Mapping[str, Tensor],
    batch: Batch,
    *,
    outputs: Mapping[str, Feature],
    smoothing: float,
    mix: Mix | None = None,
) -> Tensor:
    """Mean loss over examples, members [B, M, W] and outputs; a missing target counts as 0."""
    losses = []
    for output, feature in outputs.items():
        prediction, target = predictions[output].float(), batch.targets[output]
        loss_B = _losses(feature, prediction, target, smoothing)
        if mix is not None:
            loss_B = mix.share * loss_B + (1 - mix.share) * _losses(feature, prediction, target[mix.other], smoothing)
        losses.append((loss_B if batch.weights is None else loss_B * batch.weights).mean())
    return torch.stack(losses).mean() if len(losses) > 1 else losses[0]


def _losses(feature: Feature, prediction: Tensor, target: Tensor, smoothing: float) -> Tensor:
    """Loss per example [B], averaged over members."""
    if prediction.ndim == AXES[feature.answer.kind]:
        return feature.loss(prediction, target, smoothing=smoothing)
    size, members = prediction.shape[:2]
    target = target.repeat_interleave(members, dim=0)
    return feature.loss(prediction.flatten(0, 1), target, smoothing=smoothing).view(size, members).mean(1)


def seed_noise(seed: int, *, device: torch.device) -> None:
    """Seed the generators that dropout draws from. `torch.manual_seed` formats a stack trace: 1 ms per step."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)


def _noise_seed(seed: int, step: int) -> int:
    """A well mixed 63-bit seed of (seed, step): splitmix64."""
    z = (seed * 0x9E3779B97F4A7C15 + step * 0xD1B54A32D192ED03 + 0x632BE59BD9B4E019) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return (z ^ (z >> 31)) >> 1


def _copy(training: Training) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in training.tensors().items()}


class _Loop:
    """One step and the watch over its loss."""

    def __init__(
        self, training: Training, recipe: GradientRecipe, plan: Plan, *, outputs: Mapping[str, Feature]
    ) -> None:
        self._training, self._recipe, self._plan, self._outputs = training, recipe, plan, outputs
        self._parameters = [parameter for _, parameter in trained(training.module)]
        device = self._parameters[0].device
        self._autocast, scaled = autocast(recipe.precision, device)
        self._scaler = torch.amp.GradScaler(device.type, enabled=scaled)
        self._asking = [module for module in training.module.modules() if hasattr(module, "extra_loss")]
        self._sum = torch.zeros((), device=device)
        self._counted = 0
        self._last_point = training.step
        self._setbacks = 0

    def step(self, batch: Batch, mix: Mix | None, *, rate: float) -> None:
        training, recipe = self._training, self._recipe
        set_learning_rate(training.optimizer, recipe.learning_rate * rate * training.slow)
        training.optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            predictions = training.module(batch.inputs)
        loss = loss_of(predictions, batch, outputs=self._outputs, smoothing=recipe.smoothing, mix=mix)
        for module in self._asking:
            if isinstance(module.extra_loss, Tensor):
                loss = loss + module.extra_loss
        self._scaler.scale(loss).backward()
        if recipe.clip:
            self._scaler.unscale_(training.optimizer)
            torch.nn.utils.clip_grad_norm_(self._parameters, recipe.clip)
        self._scaler.step(training.optimizer)
        self._scaler.update()
        self._sum += loss.detach()
        self._counted += 1

    def healthy(self) -> bool:
        """Whether every loss since the last point was finite."""
        return bool(torch.isfinite(self._sum))

    def point_due(self, total: int) -> bool:
        return self._training.step - self._last_point >= max(total // POINTS, CHECK_EVERY)

    def point(self) -> None:
        """Add a point to the curve."""
        if self._counted:
            self._training.curve.append((self._training.step, float(self._sum) / self._counted))
        self._clear()

    def setback(self, good: Mapping[str, Tensor]) -> None:
        """Back to the last good weights with half the learning rate. Raises Diverged when tried often enough."""
        if self._setbacks >= SETBACKS:
            raise Diverged("diverged: the loss is not finite, even with a quarter of the learning rate")
        self._setbacks += 1
        self._training.load(good, position=False)
        self._training.slow /= 2
        self._clear()

    def _clear(self) -> None:
        self._sum.zero_()
        self._counted = 0
        self._last_point = self._training.step


def autocast(
    precision: str, device: torch.device
) -> tuple[Callable[[], contextlib.AbstractContextManager[object]], bool]:
    """The context for forward passes of this precision, and whether gradients must be scaled."""
    if device.type == "cuda" and precision != "float32":
        half = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
        return lambda: torch.autocast("cuda", dtype=half), half is torch.float16
    if precision == "bfloat16" and has_bfloat16(device):
        return lambda: torch.autocast(device.type, dtype=torch.bfloat16), False
    return contextlib.nullcontext, False
