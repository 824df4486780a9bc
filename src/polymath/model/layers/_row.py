"""What the layers that read a row port share: numbers made well-behaved, category codes made vectors.

Axes: B rows, N number columns, K category columns, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...problem.form import Form

ONE_HOT = 9
"""Columns of up to this many codes (8 categories and code 0) are one-hot; larger ones get an embedding (RealMLP)."""
EMBEDDING = 8
"""Width of the embedding of a category (RealMLP, Holzmüller et al. 2024, arXiv:2407.04491, table A.1)."""
CLIP = 3.0
"""Numbers are bent softly to stay within this (RealMLP)."""


class Row(nn.Module):
    """A row [B, D] with NaN and codes -> scaled numbers [B, N], missing flags [B, N], vectors of categories [B, E].

    Numbers are centred on the median, divided by the distance of the quartiles, and bent softly to within 3; a missing
    one is 0 with a flag. A flag that no training row raised stays 0: its weights were never learned. So does code 0.
    """

    def __init__(self, form: Form) -> None:
        super().__init__()
        sizes = form.categories or (0,) * form.width
        numbers = [column for column, size in enumerate(sizes) if not size]
        small = [column for column, size in enumerate(sizes) if 0 < size <= ONE_HOT]
        large = [column for column, size in enumerate(sizes) if size > ONE_HOT]
        self.num_numbers = len(numbers)
        self.width = sum(sizes[column] for column in small) + EMBEDDING * len(large)
        self._columns = {"numbers": numbers, "small": small, "large": large}
        for name, columns in self._columns.items():
            self.register_buffer(f"{name}_at", torch.tensor(columns, dtype=torch.long), persistent=False)
        if numbers:
            self.register_buffer("middle", torch.zeros(len(numbers)))
            self.register_buffer("scale", torch.ones(len(numbers)))
            self.register_buffer("missing", torch.zeros(len(numbers)))
        if small:
            self.register_buffer("known", torch.ones(sum(sizes[column] for column in small)))
        self.small_width = sum(sizes[column] for column in small)
        for name, columns in (("small", small), ("large", large)):
            counts = torch.tensor([sizes[column] for column in columns], dtype=torch.long)
            self.register_buffer(f"{name}_sizes", counts, persistent=False)
            self.register_buffer(f"{name}_starts", counts.cumsum(0) - counts, persistent=False)
        if large:
            table = torch.randn(sum(sizes[column] for column in large), EMBEDDING)
            table[self.large_starts] = 0.0  # code 0: says nothing until a training row has it
            self.embedding = nn.Parameter(table)

    def prepare(self, row: Tensor) -> None:
        """Takes medians, quartiles and which columns have gaps from a sample of training rows [B, D]."""
        if self.num_numbers:
            x = row[:, self.numbers_at].double()
            x = torch.where(x.isfinite(), x, torch.nan)
            self.missing.copy_(x.isnan().any(0))
            self.middle.copy_(x.nanquantile(0.5, dim=0).nan_to_num())
            spread = x.nanquantile(0.75, dim=0) - x.nanquantile(0.25, dim=0)
            centred = (x - self.middle).nan_to_num()
            reach = centred.amax(0) - centred.amin(0)
            # Quartiles may coincide (mostly zeros): then half the range; a constant column becomes 0.
            spread = torch.where(spread > 0, spread, reach / 2).nan_to_num()
            self.scale.copy_(torch.where(spread > 0, 1 / spread.clamp_min(1e-30), torch.zeros(()).to(spread)))
        if self.small_width:
            codes = self._codes(row, "small")
            seen = (codes == 0).any(0)
            self.known[self.small_starts] = seen.to(self.known.dtype)

    def numbers(self, row: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled numbers and missing flags, [B, N] each."""
        x = row[:, self.numbers_at]
        gone = ~x.isfinite()
        x = torch.where(gone, self.middle, x)
        x = (x - self.middle) * self.scale
        return x / (1 + (x / CLIP) ** 2).sqrt(), gone * self.missing

    def categories(self, row: Tensor) -> list[Tensor]:
        """Vectors of the category columns: none, or [B, E] parts that stand side by side."""
        parts = []
        if self.small_width:
            at = self._codes(row, "small") + self.small_starts
            hot = row.new_zeros(len(row), self.small_width).scatter(1, at, 1.0)
            parts.append(hot * self.known)
        if len(self.large_at):
            at = self._codes(row, "large") + self.large_starts
            parts.append(nn.functional.embedding(at, self.embedding).flatten(1))
        return parts

    def _codes(self, row: Tensor, which: str) -> Tensor:
        codes = row[:, getattr(self, f"{which}_at")].nan_to_num().long()
        sizes = getattr(self, f"{which}_sizes")
        return torch.where((codes >= 0) & (codes < sizes), codes, torch.zeros_like(codes))

    def __getattr__(self, name: str) -> Tensor:  # buffers are tensors
        return super().__getattr__(name)  # type: ignore[return-value]


def category_width(form: Form) -> int:
    """Width of what `Row.categories` gives, all parts together."""
    return sum(size if size <= ONE_HOT else EMBEDDING for size in form.categories)


def number_count(form: Form) -> int:
    """How many columns hold numbers."""
    return form.width - sum(size > 0 for size in form.categories)
