"""Sums of decision trees on a row, as tensors: what boosted trees and forests become once fitted.

Axes: B rows, D columns, R trees, N nodes of the largest tree, W outputs.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form, vector
from .base import Layer

CHUNK = 1 << 22
"""Entries of the largest intermediate tensor: rows are taken in chunks so that many trees stay within memory."""


class Trees(Layer):
    """Row [B, D] with NaN and codes -> vector [B, width]: `base` plus the values of the leaves that each tree leads to.

    A tree's leaf adds one number to one output (boosting) or a vector to all (`vector_leaves`, forests).
    """

    kind: Literal["trees"] = "trees"
    width: int = Field(ge=1)
    num_trees: int = Field(ge=1)
    num_nodes: int = Field(ge=1)
    """Nodes of all trees together."""
    num_bitsets: int = Field(default=0, ge=0)
    """Splits by a set of category codes."""
    depth: int = Field(ge=0)
    """Splits on the longest way from a root to a leaf."""
    vector_leaves: bool = False
    link: Literal["none", "log", "logit"] = "none"
    """Turns mean shares of classes (forests) into a raw prediction."""

    def form(self, *inputs: Form) -> Form:
        self.take(inputs, "vector", codes=True)
        return vector(self.width)

    def build(self, *inputs: Form) -> nn.Module:
        (row,) = self.take(inputs, "vector", codes=True)
        return _Trees(self, columns=row.width)

    def work(self, *inputs: Form) -> float:
        return float(self.num_trees * (self.depth + (self.width if self.vector_leaves else 1)))


class _Trees(nn.Module):
    """All trees' nodes in one list. A leaf leads to itself, so every row takes the same number of steps."""

    column: Tensor
    threshold: Tensor
    child: Tensor
    missing_left: Tensor
    bitset: Tensor
    bitsets: Tensor
    value: Tensor
    root: Tensor
    output: Tensor
    base: Tensor

    def __init__(self, layer: Trees, *, columns: int) -> None:
        super().__init__()
        self._layer, self._columns = layer, columns
        nodes, trees = layer.num_nodes, layer.num_trees
        itself = torch.arange(nodes, dtype=torch.int32)
        self.register_buffer("column", torch.zeros(nodes, dtype=torch.int32))
        self.register_buffer("threshold", torch.zeros(nodes))
        self.register_buffer("child", torch.stack([itself, itself], 1))  # [N, 2]: right, left
        self.register_buffer("missing_left", torch.zeros(nodes, dtype=torch.bool))
        self.register_buffer("bitset", torch.full((nodes,), -1, dtype=torch.int32))  # -1 = a split by threshold
        self.register_buffer("bitsets", torch.zeros(layer.num_bitsets, 32, dtype=torch.uint8))  # 256 bits
        self.register_buffer("value", torch.zeros(nodes, layer.width if layer.vector_leaves else 1))
        self.register_buffer("root", torch.zeros(trees, dtype=torch.int32))
        self.register_buffer("output", torch.zeros(trees, dtype=torch.int32))
        self.register_buffer("base", torch.zeros(layer.width))

    def forward(self, row_BD: Tensor) -> Tensor:
        size = max(CHUNK // self._layer.num_trees, 1)
        return torch.cat([self._chunk(part) for part in row_BD.split(size)]) if len(row_BD) else self._nothing(row_BD)

    def _nothing(self, row_BD: Tensor) -> Tensor:
        return self.base.new_zeros(len(row_BD), self._layer.width)

    def _chunk(self, row_BD: Tensor) -> Tensor:
        # Stored indices are checked here, not trusted: a wrong one must not read another's memory.
        node_BR = self.root.long().clamp(0, self._layer.num_nodes - 1).expand(len(row_BD), -1)
        children = self.child.long().clamp(0, self._layer.num_nodes - 1).flatten()
        column = self.column.long().clamp(0, self._columns - 1)
        bitset = self.bitset.long().clamp(-1, self._layer.num_bitsets - 1)
        row_BD = row_BD.float()
        missing_BD = row_BD.isnan()
        for _ in range(self._layer.depth):
            column_BR = column[node_BR]
            x_BR = row_BD.gather(1, column_BR)
            left_BR = x_BR <= self.threshold[node_BR]
            if self._layer.num_bitsets:
                set_BR = bitset[node_BR]
                code_BR = x_BR.nan_to_num().long().clamp(0, 255)
                bit_BR = (self.bitsets[set_BR.clamp_min(0), code_BR >> 3] >> (code_BR & 7).byte()) & 1
                left_BR = torch.where(set_BR >= 0, bit_BR.bool(), left_BR)
            left_BR = torch.where(missing_BD.gather(1, column_BR), self.missing_left[node_BR], left_BR)
            node_BR = children[node_BR * 2 + left_BR]
        if self._layer.vector_leaves:
            sums_BW = nn.functional.embedding_bag(node_BR, self.value, mode="sum")
            return self._linked(self.base + sums_BW)
        leaf_BR = self.value[:, 0][node_BR].double()
        output = self.output.long().clamp(0, self._layer.width - 1)
        sums_BW = leaf_BR.new_zeros(len(row_BD), self._layer.width).index_add_(1, output, leaf_BR)
        return (self.base + sums_BW).float()

    def _linked(self, x_BW: Tensor) -> Tensor:
        if self._layer.link == "none":
            return x_BW
        little = 0.5 / self._layer.num_trees  # half a tree's vote: no class is impossible because no tree said it
        if self._layer.link == "log":
            return ((x_BW + little) / (1 + little * self._layer.width)).log()
        return ((x_BW + little) / (1 + 2 * little)).clamp(1e-6, 1 - 1e-6).logit()
