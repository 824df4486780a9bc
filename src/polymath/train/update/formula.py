"""A rule as people write it: `e^(sign(g) * sign(m)) * g`."""

from __future__ import annotations

from .expression import Expression, Node
from .simplify import block_names, reachable, short_names

_SUM, _PRODUCT, _NEGATION, _POWER, _ATOM = 1, 2, 3, 4, 5
LONG = 24
"""Characters from which a part that is used more than once gets a name."""


def formula(expression: Expression) -> str:
    """One line; shared long parts are named after a `where`: `a * g + a, where a = ...`.

    `g` is the gradient, `w` the weight, `m`, `v` and `y` are the running means of `g`, `g^2` and `g^3`. Simplify first
    to see no more than is needed.
    """
    graph = expression.graph
    names = dict(short_names(graph))
    shown = reachable(graph, names)
    uses = [0] * len(graph)
    for place in shown:
        if place not in names:
            for source in graph[place].inputs:
                uses[source] += 1
    written: list[tuple[str, int]] = []
    named: list[str] = []
    letters = block_names()
    for place, node in enumerate(graph):
        if place in names:
            written.append((names[place], _ATOM))
            continue
        text, binding = _write(node, written) if place in shown else ("", _ATOM)
        if uses[place] > 1 and len(text) >= LONG:
            letter = next(letters)
            named.append(f"{letter} = {text}")
            text, binding = letter, _ATOM
        written.append((text, binding))
    return ", ".join([written[-1][0] if not named else f"{written[-1][0]}, where {named[0]}", *named[1:]])


def _write(node: Node, written: list[tuple[str, int]]) -> tuple[str, int]:
    """The text of a node, and how strongly its outermost operator binds."""
    name, inputs = node.function, [written[place] for place in node.inputs]
    number = f"{node.number:g}" if node.number is not None else ""
    if name == "constant":
        return number, _ATOM if (node.number or 0.0) >= 0 else _NEGATION
    if name == "negate":
        return f"-{_within(inputs[0], _NEGATION)}", _NEGATION
    if name == "exp":
        return f"e^{_within(inputs[0], _ATOM)}", _POWER
    if name in ("square", "cube"):
        return f"{_within(inputs[0], _ATOM)}^{2 if name == 'square' else 3}", _POWER
    if name == "power":
        return f"|{inputs[0][0]}|^{_within(inputs[1], _ATOM)}", _POWER
    if name in ("+", "-"):
        return f"{inputs[0][0]} {name} {_within(inputs[1], _PRODUCT if name == '-' else _SUM)}", _SUM
    if name in ("*", "/"):
        right = _within(inputs[1], _NEGATION if name == "/" else _PRODUCT)
        return f"{_within(inputs[0], _PRODUCT)} {name} {right}", _PRODUCT
    if name in ("abs", "sqrt", "log"):
        return f"{'' if name == 'abs' else name}|{inputs[0][0]}|", _ATOM
    arguments = ", ".join([text for text, _ in inputs] + ([number] if number else []))
    return f"{name}({arguments})" if arguments else name, _ATOM


def _within(part: tuple[str, int], binding: int) -> str:
    """In brackets where it binds less than what is around it."""
    return part[0] if part[1] >= binding else f"({part[0]})"
