"""How an answer is looked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from ...spec import BadInput, Spec, first_fault


class Decoding(Spec):
    """Beam search, or drawing at random where `temperature` is given."""

    beam: int = Field(default=5, ge=1, le=64)
    """Hypotheses kept of each answer; 1 = the likeliest token each time (greedy)."""
    n_best: int = Field(default=1, ge=1, le=64)
    """Answers told, the best first."""
    length: float = Field(default=1.0, ge=0, le=5)
    """Alpha of Wu et al. 2016 (arXiv:1609.08144), equation 14: 0 prefers short answers, 1 the best mean per token."""
    coverage: float = Field(default=0.0, ge=0, le=5)
    """Beta of the same equation: how much it costs to look nowhere at a part of what was read."""
    temperature: float = Field(default=0.0, ge=0, le=100)
    """Above 0: tokens are drawn from the probabilities, sharpened (< 1) or flattened (> 1)."""
    top_k: int = Field(default=0, ge=0)
    """Draw from so many likeliest tokens only; 0 = all."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Draw from the likeliest tokens that have this share of the probability (Holtzman et al. 2020,
    arXiv:1904.09751)."""
    most: int | None = Field(default=None, ge=1, le=65_536)
    """Tokens of an answer at most; None = somewhat more than of the longest that was learned from."""
    seed: int = 0
    """Of drawing."""
    integers: bool = False
    """Compute in 8-bit integers, on a CPU: see `in_integers`."""

    @classmethod
    def wished(cls, settings: Mapping[str, Any]) -> Self:
        """These settings, the others at their defaults. Raises BadInput naming the first that does not fit."""
        try:
            return cls.model_validate(dict(settings))
        except ValidationError as error:
            field, what, value = first_fault(error)
            name = field or ", ".join(settings)
            remedy = f"Settings: {', '.join(cls.model_fields)}."
            raise BadInput(f"how texts are looked for: {name}: {what}", value=value, remedy=remedy) from None

    @model_validator(mode="after")
    def _fits_together(self) -> Decoding:
        if self.n_best > self.beam and not self.temperature:
            raise ValueError(f"{self.n_best} best answers need a beam of at least as many, not {self.beam}")
        return self
