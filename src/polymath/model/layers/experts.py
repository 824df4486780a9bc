"""A sparse mixture of experts: many feed-forward nets of which each token uses one or two.

Axes: N tokens (or examples) of a batch, E experts, K experts that a token uses, D width, H hidden width of an expert.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ...problem.form import Form, Tokens
from ._pieces import masked
from .base import Activation, Dropout, Layer, activation
from .stored import Fetching


class Experts(Layer):
    """tokens -> tokens, or vector -> vector, of the same width: `x + dropout(sum of gate * expert(norm(x)))`.

    Noisy top-k gating with losses that keep all experts in use (Shazeer et al. 2017, arXiv:1701.06538, equations 3 to
    11). With `top` = 1 the gate is the chosen expert's share among all, so that the router learns (Fedus, Zoph and
    Shazeer 2021, arXiv:2101.03961, equation 2); with more it is a softmax over the chosen ones. `shared`: one more
    expert that every token uses (Dai et al. 2024, arXiv:2401.06066). Unlike the paper the router begins with small
    random weights, not zero: where nothing is random any more, equal scores would leave the choice to chance.
    """

    kind: Literal["experts"] = "experts"
    experts: int = Field(default=8, ge=2, le=4096)
    top: int = Field(default=2, ge=1, le=8)
    hidden: int = Field(default=128, ge=1, le=65_536)
    shared: bool = False
    activation: Activation = "relu"
    dropout: float = Field(default=0.0, ge=0, lt=1)
    balance: float = Field(default=0.1, ge=0, le=10)
    """Weight of the importance loss and of the load loss beside the loss of the problem (appendix A of the paper)."""
    stored: tuple[str, ...] = ()
    """Addresses of the experts, where each is an object of the store; none = all are weights of this gene."""

    def form(self, *inputs: Form) -> Form:
        (given,) = self.take(inputs, "tokens" if inputs and inputs[0].kind == "tokens" else "vector")
        if given.vocabulary:
            raise ValueError(
                f"experts takes tokens that are vectors, got {given}; embed them first (layer 'embedding')"
            )
        if self.top > self.experts:
            raise ValueError(f"experts has {self.experts} experts and cannot use {self.top} of them")
        if self.stored and len(self.stored) != self.experts:
            raise ValueError(f"experts has {self.experts} experts and addresses of {len(self.stored)}")
        return given.replace(categories=())

    def build(self, *inputs: Form) -> nn.Module:
        return _Experts(self, self.form(*inputs).width)

    @property
    def addresses(self) -> tuple[str, ...]:
        return self.stored

    def work(self, *inputs: Form) -> float:
        (given,) = inputs
        used = self.top + self.shared
        each = given.width * self.experts + used * 2 * given.width * self.hidden
        return float(each * (given.size[0] if given.kind == "tokens" else 1))


class _Experts(Fetching):
    extra_loss: Tensor | None = None
    """While training: what the last forward pass adds to the loss, so that all experts are used."""

    def __init__(self, layer: Experts, width: int) -> None:
        super().__init__()
        self.experts, self.top, self.balance = layer.experts, layer.top, layer.balance
        self.norm = nn.LayerNorm(width)
        self.router = nn.Linear(width, layer.experts, bias=False)
        self.noise = nn.Linear(width, layer.experts, bias=False)
        nn.init.normal_(self.router.weight, std=0.02)
        nn.init.zeros_(self.noise.weight)
        self.activation = activation(layer.activation)
        self.dropout = Dropout(layer.dropout)
        self.common = _net(width, layer) if layer.shared else None
        self.stored = layer.stored
        if not self.stored:
            up, down = width**-0.5, layer.hidden**-0.5
            self.up_EHD = nn.Parameter(torch.empty(layer.experts, layer.hidden, width).uniform_(-up, up))
            self.up_bias = nn.Parameter(torch.zeros(layer.experts * layer.hidden))  # flat: no weight decay on biases
            self.down_EDH = nn.Parameter(torch.empty(layer.experts, width, layer.hidden).uniform_(-down, down))
            self.down_bias = nn.Parameter(torch.zeros(layer.experts * width))

    def forward(self, x: Tensor | Tokens) -> Tensor | Tokens:
        if not isinstance(x, Tokens):
            result: Tensor = x + self.dropout(self._mixed(self.norm(x).flatten(0, -2)).view_as(x))
            return result
        values, mask = x
        y = torch.zeros_like(values)
        if mask.any():
            y[mask] = self._mixed(self.norm(values[mask])).to(y.dtype)  # what stands behind the mask asks no expert
        return Tokens(masked(values + self.dropout(y), mask), mask)

    def _mixed(self, x_ND: Tensor) -> Tensor:
        gates_NE = self._gates(x_ND)
        y_ND = torch.zeros_like(x_ND) if self.common is None else self.common(x_ND)
        used = gates_NE != 0
        for expert in used.any(0).nonzero().flatten().tolist():
            (rows,) = used[:, expert].nonzero(as_tuple=True)
            given = self._expert(expert, x_ND[rows])
            y_ND = y_ND.index_add(0, rows, (given * gates_NE[rows, expert, None]).to(y_ND.dtype))
        return y_ND

    def _gates(self, x_ND: Tensor) -> Tensor:
        """How much of which expert each token uses, [N, E], 0 for most; sets `extra_loss` while training."""
        clean_NE = self.router(x_ND).float()
        if not self.training:
            self.extra_loss = None
            return gates(clean_NE, self.top)
        spread_NE = F.softplus(self.noise(x_ND).float()) + 1e-2
        noisy_NE = clean_NE + spread_NE * torch.randn_like(clean_NE)
        gates_NE = gates(noisy_NE, self.top)
        if self.balance:
            load_E = load(clean_NE, noisy_NE, spread_NE, self.top)
            self.extra_loss = self.balance * (unevenness(gates_NE.sum(0)) + unevenness(load_E))
        return gates_NE

    def _expert(self, expert: int, x_ND: Tensor) -> Tensor:
        if self.stored:
            weights = {name: torch.as_tensor(a) for name, a in self.fetch(self.stored[expert]).items()}
            up, up_bias, down, down_bias = (
                weights[name].to(x_ND.device) for name in ("up", "up_bias", "down", "down_bias")
            )
        else:
            hidden, width = self.up_EHD.shape[1:]
            up, down = self.up_EHD[expert], self.down_EDH[expert]
            up_bias = self.up_bias.view(-1, hidden)[expert]
            down_bias = self.down_bias.view(-1, width)[expert]
        return F.linear(self.activation(F.linear(x_ND, up, up_bias)), down, down_bias)


def _net(width: int, layer: Experts) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, layer.hidden), activation(layer.activation), nn.Linear(layer.hidden, width))


def gates(scores_NE: Tensor, top: int) -> Tensor:
    """Shares [N, E] of the `top` experts with the highest scores, others 0."""
    best_NK, chosen_NK = scores_NE.topk(top, -1)
    share_NK = best_NK.softmax(-1) if top > 1 else scores_NE.softmax(-1).gather(1, chosen_NK)
    return torch.zeros_like(scores_NE).scatter(1, chosen_NK, share_NK)


def load(clean_NE: Tensor, noisy_NE: Tensor, spread_NE: Tensor, top: int) -> Tensor:
    """How many tokens each expert gets, [E], as a smooth function: the chance to be chosen if its noise is drawn anew.

    Equations 8 and 9 of the paper: the score to beat is the k-th best of the others.
    """
    experts = clean_NE.shape[1]
    if top >= experts:
        return torch.full_like(clean_NE[0], float(len(clean_NE)))
    best_NK = noisy_NE.topk(top + 1, -1).values
    among_NE = noisy_NE >= best_NK[:, top - 1 : top]
    beat_NE = torch.where(among_NE, best_NK[:, top : top + 1], best_NK[:, top - 1 : top])
    chance_NE = 0.5 * (1 + torch.erf((clean_NE - beat_NE) / (spread_NE * math.sqrt(2.0))))
    return chance_NE.sum(0)


def unevenness(amount_E: Tensor) -> Tensor:
    """Squared coefficient of variation: 0 where all experts get the same (equations 7 and 11)."""
    return amount_E.var(unbiased=False) / (amount_E.mean() ** 2 + 1e-10)
