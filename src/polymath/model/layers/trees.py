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
"""Leaves held at once: rows are taken in chunks so that many trees stay within memory."""
BLOCK = 1 << 16
"""Rows times trees that walk down together: few enough that what a step reads and writes stays in the cache."""
TREES = 64
"""Trees of a block of many rows, whose nodes stay in the cache too."""
MOST_WALKING = 0.7
"""Share of a block still on its way below which those that have arrived are left out of what follows."""


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
        if not len(row_BD):
            return self.base.new_zeros(0, self._layer.width)
        nodes = _Nodes(self, self._layer, columns=self._columns)
        size = max(CHUNK // self._layer.num_trees, 1)
        return torch.cat([self._answer(nodes.leaves(part)) for part in row_BD.float().split(size)])

    def _answer(self, node_BR: Tensor) -> Tensor:
        if self._layer.vector_leaves:
            sums_BW = nn.functional.embedding_bag(node_BR, self.value, mode="sum")
            return self._linked(self.base + sums_BW)
        leaf_BR = self.value[:, 0].double()[node_BR]
        output = self.output.long().clamp(0, self._layer.width - 1)
        sums_BW = leaf_BR.new_zeros(len(node_BR), self._layer.width).index_add_(1, output, leaf_BR)
        return (self.base + sums_BW).float()

    def _linked(self, x_BW: Tensor) -> Tensor:
        if self._layer.link == "none":
            return x_BW
        little = 0.5 / self._layer.num_trees  # half a tree's vote: no class is impossible because no tree said it
        if self._layer.link == "log":
            return ((x_BW + little) / (1 + little * self._layer.width)).log()
        return ((x_BW + little) / (1 + 2 * little)).clamp(1e-6, 1 - 1e-6).logit()


class _Nodes:
    """The walk down all trees. Stored indices are checked, not trusted: a wrong one must not read another's memory.

    A row is taken twice, with what is missing below all thresholds and above them: a node that sends it left reads the
    first, so that nothing need be asked about it on the way.
    """

    def __init__(self, trees: _Trees, layer: Trees, *, columns: int) -> None:
        last = layer.num_nodes - 1
        self.depth = layer.depth
        self.column = trees.column.long().clamp(0, columns - 1) + columns * ~trees.missing_left
        self.threshold = trees.threshold
        self.child = trees.child.long().clamp(0, last).flatten()
        self.bitset = trees.bitset.long().clamp(-1, layer.num_bitsets - 1)
        self.bitsets = trees.bitsets.flatten()
        self.by_set = layer.num_bitsets > 0
        self.root = trees.root.long().clamp(0, last)

    def leaves(self, row_BD: Tensor) -> Tensor:
        """Rows [B, D] -> the leaf of each tree that each leads to, int64 [B, R]."""
        missing_BD = row_BD.isnan()
        # No threshold is infinite: see `floor32` of the probes.
        twice_BD = torch.cat([row_BD.masked_fill(missing_BD, -torch.inf), row_BD.masked_fill(missing_BD, torch.inf)], 1)
        node_BR = self.root.new_empty(len(row_BD), len(self.root))
        rows = min(BLOCK // TREES, len(row_BD))
        trees = BLOCK // rows
        for tree in range(0, len(self.root), trees):
            roots = self.root[tree : tree + trees]
            for row in range(0, len(row_BD), rows):
                node_BR[row : row + rows, tree : tree + trees] = self._walk(twice_BD[row : row + rows], roots)
        return node_BR

    def _walk(self, row_BD: Tensor, roots_R: Tensor) -> Tensor:
        shape, values = (len(row_BD), len(roots_R)), row_BD.flatten()
        start = (torch.arange(shape[0], device=values.device) * row_BD.shape[1])[:, None].expand(shape).flatten()
        node = found = roots_R.expand(shape).flatten()
        walking: Tensor | None = None  # places in `found` of those that have not come to a leaf; None = all
        for _ in range(self.depth):
            x = values.index_select(0, self.column.index_select(0, node) + start)
            left = x <= self.threshold.index_select(0, node)
            if self.by_set:
                self._by_set(node, x, left)
            below = self.child.index_select(0, 2 * node + left)
            moved = (below != node).nonzero().flatten()
            if not len(moved):
                break
            node = below
            if len(moved) < MOST_WALKING * len(node):
                found = node if walking is None else found.index_copy(0, walking, node)
                walking = moved if walking is None else walking.index_select(0, moved)
                node, start = node.index_select(0, moved), start.index_select(0, moved)
        found = node if walking is None else found.index_copy(0, walking, node)
        return found.view(shape)

    def _by_set(self, node: Tensor, x: Tensor, left: Tensor) -> None:
        """Puts right in `left` those nodes that split by a set of codes."""
        sets = self.bitset.index_select(0, node)
        places = (sets >= 0).nonzero().flatten()
        if not len(places):
            return
        code, sets = x.index_select(0, places), sets.index_select(0, places)
        byte = code.nan_to_num(posinf=0.0, neginf=0.0).long().clamp(0, 255)
        bit = self.bitsets.index_select(0, sets * 32 + (byte >> 3)).long() >> (byte & 7) & 1
        # What is missing was made infinite: below all thresholds it goes left, above them it does not.
        left[places] = torch.where(code.isinf(), code < 0, bit.bool())
