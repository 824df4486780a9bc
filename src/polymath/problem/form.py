"""The four forms: what a tensor is to a layer.

Axes: B examples, D width, T tokens, C channels, H height, W width in pixels. Values at run time:

| form     | tensor                                                                                  |
|----------|-----------------------------------------------------------------------------------------|
| `vector` | float [B, D]. A column with `categories[d]` = n > 0 holds codes 0..n-1 (0 = missing or  |
|          | unknown); a number column (`categories[d]` = 0, or no categories) may hold NaN = missing |
| `tokens` | `Tokens(values [B, T, D], mask [B, T])`; with `vocabulary` > 0 values are integer ids    |
|          | [B, T], 0 = padding                                                                     |
| `map`    | [B, C, H, W], float; at a port uint8 0..255                                             |
| `graph`  | reserved: comes with molecules                                                          |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from ..spec import Spec

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["vector", "tokens", "map", "graph"]


class Form(Spec):
    """One form with its sizes. `width` is D or C; `size` is (), (T,) or (H, W)."""

    kind: Kind
    width: int = 0
    size: tuple[int, ...] = ()
    vocabulary: int = 0
    categories: tuple[int, ...] = ()

    def __str__(self) -> str:
        sizes = "x".join(str(n) for n in (self.vocabulary or self.width, *self.size))
        return f"{self.kind}[{sizes}]"


class Tokens(NamedTuple):
    """A batch of token sequences: values [B, T, D] (or ids [B, T]) and mask [B, T], True where a token is."""

    values: Tensor
    mask: Tensor


def vector(width: int, *, categories: tuple[int, ...] = ()) -> Form:
    """Form of float [B, width]."""
    return Form(kind="vector", width=width, categories=categories)


def tokens(length: int, *, width: int = 0, vocabulary: int = 0) -> Form:
    """Form of up to `length` tokens: vectors of `width`, or ids below `vocabulary`."""
    return Form(kind="tokens", width=width, size=(length,), vocabulary=vocabulary)


def pixels(channels: int, height: int, width: int) -> Form:
    """Form of [B, channels, height, width]."""
    return Form(kind="map", width=channels, size=(height, width))
