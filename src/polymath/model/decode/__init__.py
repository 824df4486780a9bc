"""Decoding: answers made token by token by a path whose last layer is a decoder. Knows no search and no training."""

from .generate import generate, memory, stream, written
from .integers import in_integers
from .packed import packed
from .settings import Decoding

__all__ = ["Decoding", "generate", "in_integers", "memory", "packed", "stream", "written"]
