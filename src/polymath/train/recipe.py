"""How a path is trained: a gradient recipe, or a cheap head (probe), which is its own recipe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, field_validator, model_serializer

from ..model.probes import AnyProbe, Probe
from ..spec import Spec
from .update.expression import Expression
from .update.known import rule_of

PAIRED = ("turn", "crop", "focus", "zoom", "tilt", "warp", "light")
"""Changes that move pictures and the answers at their pixels together."""


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
    # The rest is for answers at every pixel: pictures and answers move together.
    turn: bool = False
    """Any of the eight ways in which a square lies on itself."""
    crop: int = Field(default=0, ge=0)
    """Side in pixels of the part of a picture that is shown; 0 = all of it."""
    focus: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the parts that lie around a pixel of a class drawn first, rare classes as often as others (nnU-Net)."""
    zoom: float = Field(default=0.0, ge=0.0, le=1.0)
    """Pictures are shown up to this share larger or smaller."""
    tilt: float = Field(default=0.0, ge=0.0, le=180.0)
    """Degrees by which pictures are turned at most, each way."""
    warp: float = Field(default=0.0, ge=0.0, le=64.0)
    """Typical pixels by which a smooth field moves the parts of a picture (Ronneberger et al. 2015, section 3.1)."""
    light: float = Field(default=0.0, ge=0.0, le=1.0)
    """Brightness and contrast change by up to this share."""

    @model_serializer(mode="wrap")
    def _as_before(self, dump: Callable[[Augmentation], dict[str, Any]]) -> dict[str, Any]:
        """Without what is off of the part for pixels: recipes of earlier releases keep their digests."""
        return {name: value for name, value in dump(self).items() if name not in PAIRED or value}


class GradientRecipe(Spec):
    """Training by stochastic gradients."""

    method: Literal["gradient"] = "gradient"
    rule: Literal["adamw", "sgd", "muon"] | Expression = "adamw"
    """`sgd` has Nesterov momentum; `muon` turns convolution filters by an angle and leaves the rest to AdamW. Any other
    rule is an expression (see `train.update`); the name of a known one, such as `lion`, is replaced by it."""
    learning_rate: float = Field(default=1e-3, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Of `sgd` and `muon`; first beta of `adamw`. The memory of an expression is in the expression."""
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
    loss: dict[str, float] = Field(default_factory=dict)
    """Settings of the loss of outputs that have such (see `Feature.tuned`), in place of those in the problem."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """`auto`: bfloat16 (or float16 with a scaler) on CUDA, else float32; `bfloat16`: also on processors made for it."""

    @field_validator("rule", mode="before")
    @classmethod
    def _expression(cls, value: Any) -> Any:
        return value if value in ("adamw", "sgd", "muon") else rule_of(value)

    @model_serializer(mode="wrap")
    def _as_before(self, dump: Callable[[GradientRecipe], dict[str, Any]]) -> dict[str, Any]:
        """Without `loss` where there is none: recipes of earlier releases keep their digests."""
        return {name: value for name, value in dump(self).items() if name != "loss" or value}


Recipe = Annotated[GradientRecipe | AnyProbe, Field(discriminator="method")]


def parse_recipe(description: dict[str, Any]) -> GradientRecipe | Probe:
    """A recipe from its JSON description, chosen by `method`. Raises ValueError for one that is not known."""
    recipe: GradientRecipe | Probe = _ADAPTER.validate_python(description)
    return recipe


_ADAPTER: TypeAdapter[Any] = TypeAdapter(Recipe)

__all__ = ["Augmentation", "GradientRecipe", "Recipe", "parse_recipe"]
