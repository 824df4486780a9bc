"""Recurrent cells: descriptions of them, and how any of them is run over a sequence close to the speed of an LSTM."""

from .graph import ELMAN, GRU, KNOWN, LSTM, Cell, Node, parse_cell

__all__ = ["ELMAN", "GRU", "KNOWN", "LSTM", "Cell", "Node", "parse_cell"]
