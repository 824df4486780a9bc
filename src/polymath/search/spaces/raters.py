"""Outputs that several raters graded: how a path learns from labels that disagree, as one choice."""

from __future__ import annotations

from typing import Literal, get_args

from ...model.layers.raters import Raters
from ...model.path import Gene, Path
from ...problem.features.graded import Graded
from ...problem.problem import Problem
from ..choices import Choose

Way = Literal["likely", "joint", "votes", "matrices", "tendencies"]
"""`likely`: one truth explains all labels of a row, as `Graded.loss` reads a plain answer. The others: see
the layer `raters`. The first must be the best: where one training takes the whole budget, no other is tried."""


def graded(choose: Choose, path: Path, problem: Problem) -> Path:
    """The path with a last gene for each output that raters graded, unless a plain answer is enough."""
    genes, outputs = list(path.genes), dict(path.outputs)
    for number, output in enumerate(problem.outputs):
        if not isinstance(output, Graded):
            continue
        way = choose(f"raters{number}", list(get_args(Way)))
        if way != "likely":
            name = f"raters{number}"
            layer = Raters(raters=len(output.raters), how=way)
            genes.append(Gene(name=name, layer=layer, inputs=(outputs[output.name],)))
            outputs[output.name] = name
    return Path(genes=tuple(genes), outputs=outputs)
