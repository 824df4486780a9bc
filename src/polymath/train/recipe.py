"""How a path is trained: a gradient recipe, or a cheap head (probe), which is its own recipe."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from ..model.probes import AnyProbe, Probe
from ..spec import Spec


class Augmentation(Spec):
    """Random changes to whole training batches that keep the meaning. Everything off by default."""

    flip: bool = False
    """Mirror half of the images left to right."""
    shift: int = Field(default=0, ge=0)
    """Move images by up to so many pixels each way; the border is filled with its nearest pixels' mirror."""
    cutout: int = Field(default=0, ge=0)
    """Side in pixels of a square set to the image's mean (DeVries & Taylor 2017, arXiv 1708.04552)."""
    mixup: float = Field(default=0.0, ge=0.0)
    """Blend pairs of images with a share from Beta(mixup, mixup) (Zhang et al. 2018, arXiv 1710.09412); 0 = off."""
    drop_tokens: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of tokens replaced by padding."""
    drop_columns: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the cells of the row port made missing."""


class GradientRecipe(Spec):
    """Training by stochastic gradients."""

    method: Literal["gradient"] = "gradient"
    rule: Literal["adamw", "sgd", "muon"] = "adamw"
    """`sgd` has Nesterov momentum; `muon` turns convolution filters by an angle and leaves the rest to AdamW."""
    learning_rate: float = Field(default=1e-3, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Of `sgd` and `muon`; first beta of `adamw`."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Not on biases, norms and other one-dimensional weights."""
    batch: int = Field(default=128, ge=1)
    smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Label smoothing, as each feature's loss understands it."""
    warmup: float = Field(default=0.1, ge=0, le=1)
    """Share of the first rung's work over which the learning rate rises from 0."""
    ema: float = Field(default=0.1, ge=0, le=1)
    """Horizon of the weights' moving average, as a share of the steps so far; 0 = none. Judges rungs that go on."""
    clip: float = Field(default=0.0, ge=0)
    """Largest norm of the gradient; 0 = no limit."""
    augmentation: Augmentation = Augmentation()
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """`auto`: bfloat16 (or float16 with a scaler) on CUDA, else float32; `bfloat16`: also on processors made for it."""


Recipe = Annotated[GradientRecipe | AnyProbe, Field(discriminator="method")]


def parse_recipe(description: dict[str, Any]) -> GradientRecipe | Probe:
    """A recipe from its JSON description, chosen by `method`. Raises ValueError for one that is not known."""
    recipe: GradientRecipe | Probe = _ADAPTER.validate_python(description)
    return recipe


_ADAPTER: TypeAdapter[Any] = TypeAdapter(Recipe)

__all__ = ["Augmentation", "GradientRecipe", "Recipe", "parse_recipe"]
