"""The rules that people made, as expressions."""

from __future__ import annotations

from types import MappingProxyType

from ...spec import BadInput, Json
from .expression import Expression, parse
from .vocabulary import OPERANDS, SHORT

_AGREEMENT: Json = ["*", ["sign", "g"], ["sign", "m"]]


def _momentum(memory: float) -> Json:
    """The sum of all gradients, each weighing `memory` times the next: PyTorch's momentum."""
    return ["*", round(1 / (1 - memory), 12), ["raw_mean", "g", memory]]


_DECAYED: dict[str, Json] = {
    "": _AGREEMENT,
    "_linear": ["*", "linear_decay", _AGREEMENT],
    "_cosine": ["*", ["cosine_decay", 0.5], _AGREEMENT],
    "_restart": ["*", ["restart_decay", 20], _AGREEMENT],
}
"""The decays f(t) of Bello et al. (2017, arXiv 1709.07417, section 4.2): PowerSign-ld, -cd, -rd and so on."""
_PLAIN: dict[str, Json] = {
    "sgd": "g",
    "momentum": _momentum(0.9),
    "nesterov": ["+", "g", ["*", 0.9, _momentum(0.9)]],  # Sutskever et al. 2013, in PyTorch's form
    "sign": ["sign", "g"],
    "rmsprop": ["/", "g", ["sqrt", ["raw_mean", ["square", "g"], 0.99]]],  # Tieleman & Hinton 2012
    "adam": "adam",  # Kingma & Ba 2015, arXiv 1412.6980
    "adamw": ["+", "adam", ["*", 0.01, "w"]],  # Loshchilov & Hutter 2019, arXiv 1711.05101
    "lion": ["sign", ["+", ["*", 0.9, ["previous_mean", "g", 0.99]], ["*", 0.1, "g"]]],  # Chen et al. 2023, 2302.06675
    **{f"powersign{name}": ["*", ["exp", decayed], "g"] for name, decayed in _DECAYED.items()},
    **{f"addsign{name}": ["*", ["+", 1, decayed], "g"] for name, decayed in _DECAYED.items()},
}
KNOWN = MappingProxyType({name: Expression(update=update) for name, update in _PLAIN.items()})
"""By name. `adamw` has PyTorch's decay of 0.01 written in; for another, take `adam` and the optimizer's own decay."""


def rule_of(rule: Expression | Json) -> Expression:
    """The rule of this name, or that this JSON describes. Raises BadInput."""
    if isinstance(rule, str) and rule in KNOWN:
        return KNOWN[rule]
    if isinstance(rule, str) and rule[:1].isalpha() and rule not in OPERANDS and rule not in SHORT:
        raise BadInput("no update rule has this name", value=rule, remedy=f"Known are {', '.join(KNOWN)}.")
    return parse(rule)
