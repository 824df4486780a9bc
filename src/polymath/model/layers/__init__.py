"""Layers, one file each. Adding one = a new file + its line in `LAYERS`.

Without an edit here: the entry point `polymath.layers` of an installed package, or for one run
`bring(["package.module:Class"])`, which is what `polymath learn --layer` and `learn(layers=)` do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from inspect import isabstract
from typing import Any

from ...spec import BadInput
from .adapter import Adapter
from .as_tokens import AsTokens
from .base import KeepsForm, Layer
from .bert_block import BertBlock
from .bert_embeddings import BertEmbeddings
from .cell import CellLayer
from .columns import Columns
from .concat import Concat
from .constant import Constant
from .convolution import Convolution
from .convolution_tokens import ConvolutionTokens
from .depthwise_stage import DepthwiseStage
from .embedding import Embedding
from .ensemble import Ensemble
from .experts import Experts
from .flatten import Flatten
from .hashed_ngrams import HashedNgrams
from .join import Join
from .linear import Linear
from .local_filters import LocalFilters
from .local_pool import LocalPool
from .map_block import MapBlock
from .members import Members
from .mobile import Mobile
from .moved import Moved
from .namesakes import Namesakes
from .ngrams import Ngrams
from .one_hot import OneHot
from .oriented_gradients import OrientedGradients
from .pair import Pair
from .part import Part
from .patches import Patches
from .per_pixel import PerPixel
from .periodic import Periodic
from .piecewise import Piecewise
from .pixel_trees import PixelTrees
from .pixels import Pixels
from .pool_map import PoolMap
from .pool_tokens import PoolTokens
from .raters import Raters
from .recall import Recall
from .recoded import Recoded
from .recurrent import Recurrent
from .recurrent_decoder import RecurrentDecoder
from .recut import Recut
from .residual_mlp import ResidualMlp
from .residual_stage import ResidualStage
from .resized import Resized
from .responses import Responses
from .router import Router
from .scale import Scale
from .tokens_block import TokensBlock
from .transformer import Transformer
from .transformer_decoder import TransformerDecoder
from .trees import Trees
from .unit import Unit
from .upsampled import Upsampled
from .vector_block import VectorBlock
from .whitening import Whitening

LAYERS: tuple[type[Layer], ...] = (
    Adapter,
    AsTokens,
    BertBlock,
    BertEmbeddings,
    CellLayer,
    Columns,
    Concat,
    Constant,
    Convolution,
    ConvolutionTokens,
    DepthwiseStage,
    Embedding,
    Ensemble,
    Experts,
    Flatten,
    HashedNgrams,
    Join,
    Linear,
    LocalFilters,
    LocalPool,
    MapBlock,
    Members,
    Mobile,
    Moved,
    Namesakes,
    Ngrams,
    OneHot,
    OrientedGradients,
    Pair,
    Part,
    Patches,
    PerPixel,
    Periodic,
    Piecewise,
    PixelTrees,
    Pixels,
    PoolMap,
    PoolTokens,
    Raters,
    Recall,
    Recoded,
    Recurrent,
    RecurrentDecoder,
    Recut,
    ResidualMlp,
    ResidualStage,
    Resized,
    Responses,
    Router,
    Scale,
    TokensBlock,
    Transformer,
    TransformerDecoder,
    Trees,
    Unit,
    Upsampled,
    VectorBlock,
    Whitening,
)


@cache
def vocabulary() -> dict[str, type[Layer]]:
    """Kind -> layer class: the list above, entry points `polymath.layers` of installed packages, what was brought."""
    found = {kind_of(layer): layer for layer in LAYERS}
    for point in entry_points(group="polymath.layers"):
        layer = point.load()
        kind = kind_of(layer)
        if kind in found:
            raise ValueError(
                f"{point.value} brings a layer of kind {kind!r}, which is taken; its package must rename it"
            )
        found[kind] = layer
    return found


def kind_of(layer: type[Layer]) -> str:
    """The word by which descriptions name a layer class."""
    return str(layer.model_fields["kind"].default)


def bring(names: Iterable[str]) -> tuple[str, ...]:
    """Makes layers of a user's own modules, each `package.module:ClassName`, known to this process; gives their kinds.

    Importing a module runs it: names come from the command line or from a call, never from anything stored.
    Raises BadInput for what is no such layer, and for a kind that another layer has.
    """
    return tuple(_bring(name) for name in names)


def _bring(name: str) -> str:
    module, colon, attribute = name.partition(":")
    if not colon or not all(word.isidentifier() for word in (*module.split("."), attribute)):
        raise BadInput("is not MODULE:CLASS", value=name, remedy="Name a layer as package.module:ClassName.")
    try:
        layer = getattr(import_module(module), attribute, None)
    except (ImportError, SyntaxError) as error:
        raise BadInput(
            f"the module of this layer cannot be imported ({error})",
            value=name,
            remedy="Run from the folder that holds it, or install its package.",
        ) from error
    if not isinstance(layer, type) or not issubclass(layer, Layer) or isabstract(layer):
        raise BadInput(
            f"module {module} has no layer of that name", value=name, remedy="Give a class that derives from Layer."
        )
    if "kind" not in layer.model_fields or not isinstance(layer.model_fields["kind"].default, str):
        raise BadInput("this layer has no kind", value=name, remedy='Add the line kind: Literal["word"] = "word".')
    kind = kind_of(layer)
    if vocabulary().setdefault(kind, layer) is not layer:
        raise BadInput(f"brings a layer of kind {kind!r}, which is taken", value=name, remedy="Rename its kind.")
    return kind


def parse_layer(description: Mapping[str, Any]) -> Layer:
    """A layer from its JSON description. Raises BadInput for a kind that is not in the vocabulary."""
    kind = description.get("kind")
    if not isinstance(kind, str) or kind not in vocabulary():
        raise BadInput(
            "unknown layer kind",
            value=kind,
            remedy="If it is a layer of your own, name its class (--layer package.module:ClassName, in Python "
            "layers=), or install the package that brings it.",
        )
    return vocabulary()[kind].model_validate(dict(description))


__all__ = ["LAYERS", "KeepsForm", "Layer", "bring", "kind_of", "parse_layer", "vocabulary"]
