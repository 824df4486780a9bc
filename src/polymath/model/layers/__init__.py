"""Layers, one file each. Adding one = a new file + its line in `LAYERS`; from another package = an entry point."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from ...spec import printable
from .base import Layer
from .columns import Columns
from .concat import Concat
from .constant import Constant
from .convolution import Convolution
from .convolution_tokens import ConvolutionTokens
from .depthwise_stage import DepthwiseStage
from .embedding import Embedding
from .ensemble import Ensemble
from .flatten import Flatten
from .join import Join
from .linear import Linear
from .local_pool import LocalPool
from .map_block import MapBlock
from .members import Members
from .ngrams import Ngrams
from .one_hot import OneHot
from .part import Part
from .patches import Patches
from .periodic import Periodic
from .piecewise import Piecewise
from .pixels import Pixels
from .pool_map import PoolMap
from .pool_tokens import PoolTokens
from .recurrent import Recurrent
from .residual_mlp import ResidualMlp
from .residual_stage import ResidualStage
from .scale import Scale
from .tokens_block import TokensBlock
from .transformer import Transformer
from .trees import Trees
from .vector_block import VectorBlock
from .whitening import Whitening

LAYERS: tuple[type[Layer], ...] = (
    Columns,
    Concat,
    Constant,
    Convolution,
    ConvolutionTokens,
    DepthwiseStage,
    Embedding,
    Ensemble,
    Flatten,
    Join,
    Linear,
    LocalPool,
    MapBlock,
    Members,
    Ngrams,
    OneHot,
    Part,
    Patches,
    Periodic,
    Piecewise,
    Pixels,
    PoolMap,
    PoolTokens,
    Recurrent,
    ResidualMlp,
    ResidualStage,
    Scale,
    TokensBlock,
    Transformer,
    Trees,
    VectorBlock,
    Whitening,
)


@cache
def vocabulary() -> dict[str, type[Layer]]:
    """Kind -> layer class: the list above and the entry points `polymath.layers` of installed packages."""
    found = {layer.model_fields["kind"].default: layer for layer in LAYERS}
    for point in entry_points(group="polymath.layers"):
        layer = point.load()
        kind = layer.model_fields["kind"].default
        if kind in found:
            raise ValueError(
                f"{point.value} brings a layer of kind {kind!r}, which is taken; its package must rename it"
            )
        found[kind] = layer
    return found


def parse_layer(description: Mapping[str, Any]) -> Layer:
    """A layer from its JSON description. Raises ValueError for a kind that is not in the vocabulary."""
    kind = description.get("kind")
    if not isinstance(kind, str) or kind not in vocabulary():
        raise ValueError(f"unknown layer kind {printable(repr(kind))}; known: {', '.join(sorted(vocabulary()))}")
    return vocabulary()[kind].model_validate(dict(description))


__all__ = ["LAYERS", "Layer", "parse_layer", "vocabulary"]
