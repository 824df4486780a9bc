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
LEAST_SPREAD, FARTHEST = 1e-30, 1e6
"""Numbers closer together count as this far apart, and scaled ones end here: float32 would overflow."""
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
        self.small_width = sum(sizes[column] for column in small)
        self._constant("numbers_at", numbers)
        for name, columns in (("small", small), ("large", large)):
            counts = [sizes[column] for column in columns]
            self._constant(f"{name}_at", columns)
            self._constant(f"{name}_sizes", counts)
            self._constant(f"{name}_starts", [sum(counts[:place]) for place in range(len(counts))])
        if numbers:
            self.middle = nn.Buffer(torch.zeros(len(numbers)))
            self.scale = nn.Buffer(torch.ones(len(numbers)))
            self.missing = nn.Buffer(torch.zeros(len(numbers)))
        if small:
            self.known = nn.Buffer(torch.ones(self.small_width))
        if large:
            table = torch.randn(sum(sizes[column] for column in large), EMBEDDING)
            table[self.large_starts] = 0.0  # code 0: says nothing until a training row has it
            self.embedding = nn.Parameter(table)

    def _constant(self, name: str, values: list[int]) -> None:
        """Numbers that follow from the form: they move with the module and are not stored."""
        self.register_buffer(name, torch.tensor(values, dtype=torch.long), persistent=False)

    def prepare(self, row: Tensor) -> None:
        """Takes medians, quartiles and which columns have gaps from a sample of training rows [B, D]."""
        for place, column in enumerate(self.numbers_at.tolist()):
            x = row[:, column].double()
            known = x[x.isfinite()]
            self.missing[place] = float(len(known) < len(x))
            middle, spread = 0.0, 0.0
            if len(known):
                low, middle, high = known.quantile(known.new_tensor([0.25, 0.5, 0.75])).tolist()
                # Quartiles may coincide (mostly zeros): then half the range; a constant column becomes 0.
                spread = high - low or float(known.max() - known.min()) / 2
            self.middle[place] = middle
            self.scale[place] = min(1 / spread, 1 / LEAST_SPREAD) if spread > 0 else 0.0
        if self.small_width:
            self.known[self.small_starts] = (self._codes(row, "small") == 0).any(0).to(self.known.dtype)

    def numbers(self, row: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled numbers and missing flags, [B, N] each."""
        x = row[:, self.numbers_at]
        gone = ~x.isfinite()
        x = torch.where(gone, self.middle, x)
        x = ((x - self.middle) * self.scale).clamp(-FARTHEST, FARTHEST)
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
