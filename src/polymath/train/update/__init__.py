"""The language of update rules: what is subtracted from the weights at each step, as a JSON expression.

The interface that a bulk evaluator builds on:

* `parse(json) -> Expression`, frozen; raises BadInput in one sentence. JSON: an operand name, a number, or
  `[function, inputs..., number]`; with named parts: `{"blocks": {"a": ["sign", "g"]}, "update": ["*", "a", "m"]}`.
  Equal parts are one node of `expression.graph`, however they are written.
* Operands: `g` gradient, `w` weight, `linear_decay`, `annealed_noise` (`OPERANDS`); short names `g2`, `g3`, `m`, `v`,
  `y` (third moment), `adam`, `rmsprop` (`SHORT`); any number; `["noise", 0.01]`, `["cosine_decay", cycles]`,
  `["restart_decay", restarts]`.
* Functions (`FUNCTIONS`: how many inputs, which number): unary `identity negate sign abs square cube sqrt exp log tanh
  reciprocal`; with a number `clip drop mean raw_mean previous_mean`; binary `+ - * / power left`. `sqrt`, `log` and
  `power` take the absolute value; a denominator that is no constant gets `DELTA` added.
* `new_state(expression, like) -> list[Tensor]`: the running means, one tensor like `like` for each of
  `expression.means`; nothing else is kept.
* `evaluate(expression, Operands(gradient, weight, step=1.., progress=0..1, generator), state) -> Tensor`: elementwise
  over any shape, so stacked trainings [K, ...] are one call; `state` changes in place. The learning rate is yours:
  `weight -= learning_rate_K1 * update`. `expression.weighted`, `.scheduled`, `.random` say what it reads. Call it
  under `torch.no_grad()`; do not write to what it returns. Give `Operands.scratch` a list that you keep, one for each
  shape: large tensors are then several times faster.
* `simplify(expression)` says the same with fewer parts; `formula(expression)` is how people write it;
  `behaviour(expression)` is a digest, equal for rules that do the same up to a factor.
* `as_python(expression, name=...)`: one Python file that needs PyTorch only.
* `KNOWN[name]`: the rules that people made (`adamw`, `lion`, `powersign_linear`, ...).
* `progress` may be a tensor that broadcasts over the gradient, where trainings of different length are stacked.
"""

from .behaviour import behaviour
from .evaluate import Operands, evaluate, new_state
from .export import as_python
from .expression import Expression, parse
from .formula import formula
from .known import KNOWN
from .simplify import simplify
from .vocabulary import DELTA, FUNCTIONS, OPERANDS, SHORT

__all__ = [
    "DELTA",
    "FUNCTIONS",
    "KNOWN",
    "OPERANDS",
    "SHORT",
    "Expression",
    "Operands",
    "as_python",
    "behaviour",
    "evaluate",
    "formula",
    "new_state",
    "parse",
    "simplify",
]
