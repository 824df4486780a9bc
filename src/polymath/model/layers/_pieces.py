"""Small pieces that several layers are made of: activations, convolution with its norm, masks of tokens.

Axes: B examples, C channels, H height, W width, T tokens, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...problem.form import Form
from ._depthwise import Depthwise
from .base import Activation, Layer, activation


def in_place(name: Activation) -> nn.Module:
    """An activation that overwrites its input where it can: memory traffic is what bounds small nets on CPU."""
    made = activation(name)
    if isinstance(made, (nn.ReLU, nn.SiLU)):
        made.inplace = True
    return made


def embedded(layer: Layer, inputs: tuple[Form, ...]) -> Form:
    """The single input of `layer`, tokens that are vectors already. Raises ValueError for ids and for anything else."""
    (form,) = layer.take(inputs, "tokens")
    if form.vocabulary:
        name = type(layer).model_fields["kind"].default
        raise ValueError(f"{name} takes tokens that are vectors, got {form}; embed them first (layer 'embedding')")
    return form


class MapNorm(nn.BatchNorm2d):
    """Batch norm over all pixels of a batch; a batch of a single pixel is treated as when not training."""

    def forward(self, input: Tensor) -> Tensor:
        if self.training and input.numel() == self.num_features:
            return nn.functional.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(input)


class ConvolutionNorm(nn.Sequential):
    """Convolution without bias, batch norm and, unless told otherwise, an activation."""

    def __init__(
        self, inputs: int, outputs: int, *, size: int = 3, stride: int = 1, groups: int = 1, act: Activation | None
    ) -> None:
        depthwise = groups == inputs == outputs > 1
        convolution = (
            Depthwise(inputs, size=size, stride=stride)
            if depthwise
            else nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
        )
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out" if groups == 1 else "fan_in", nonlinearity="relu")
        parts = [convolution, MapNorm(outputs)]
        super().__init__(*parts, *([in_place(act)] if act else []))

    def start_at_zero(self) -> None:
        """Let the residual block it ends begin as the identity (Goyal et al. 2017, arXiv:1706.02677)."""
        norm = self[1]
        assert isinstance(norm, MapNorm)
        nn.init.zeros_(norm.weight)


class SqueezeExcite(nn.Module):
    """Scale each channel by a gate computed from the mean over all pixels (Hu et al. 2018, arXiv:1709.01507)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = max(8, width // 8)
        self.narrow, self.widen = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        gate_BC: Tensor = self.widen(self.narrow(x_BCHW.mean((2, 3))).relu()).sigmoid()
        return x_BCHW * gate_BC[:, :, None, None]


def halved(size: tuple[int, ...]) -> tuple[int, ...]:
    """Height and width after a step of 2, rounded up, so that an image of one pixel stays one."""
    return tuple((n + 1) // 2 for n in size)


def masked(values_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """Values with zeros where no token is, so that padding can never leak into a sum or a convolution."""
    return values_BTD.masked_fill(~mask_BT[..., None], 0.0)


def attendable(mask_BT: Tensor) -> Tensor:
    """The mask as keys for attention; an example without tokens attends to its first place (no NaN)."""
    empty_B1 = ~mask_BT.any(1, keepdim=True)
    first_BT = torch.zeros_like(mask_BT)
    first_BT[:, :1] = True
    return mask_BT | (empty_B1 & first_BT)


def attention(
    query: Tensor, key: Tensor, value: Tensor, *, seen: Tensor | None = None, causal: bool = False, dropout: float = 0.0
) -> Tensor:
    """Scaled products [B, heads, Q, D] of queries with the keys that they may see.

    On a CPU always in float32: torch's backward pass in bfloat16 took six times as long, for texts of 16 tokens.
    """
    if query.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        with torch.autocast("cpu", enabled=False):
            return F.scaled_dot_product_attention(
                query.float(), key.float(), value.float(), attn_mask=seen, is_causal=causal, dropout_p=dropout
            )
    return F.scaled_dot_product_attention(query, key, value, attn_mask=seen, is_causal=causal, dropout_p=dropout)
