"""The same path in 8-bit integers: several times as fast on processors made for it, almost as good."""

from __future__ import annotations

import copy
import warnings

import torch
from torch import nn

from ..build import PathModule
from ..layers._answers import Table


def in_integers(module: PathModule) -> PathModule:
    """A copy that multiplies 8-bit integers (Wu et al. 2016, section 6; here by PyTorch's dynamic quantisation).

    Weights have one scale for each row, inputs one for each call. Sums, norms, attention and softmax stay float32.
    CPU only; it cannot be trained.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)  # the successor is another package, torchao
        warnings.filterwarnings("ignore", category=UserWarning, module="torch")
        made = copy.deepcopy(module).eval()
        for table in [one for one in made.modules() if isinstance(one, Table)]:
            vocabulary, width = table.weight.shape
            logits = nn.Linear(width, vocabulary)
            logits.weight, logits.bias = nn.Parameter(table.weight.detach()), nn.Parameter(table.bias.detach())
            table.faster = nn.Sequential(logits)  # only what lies inside a module is replaced
        torch.ao.quantization.quantize_dynamic(made, {nn.Linear, nn.LSTM, nn.GRU}, dtype=torch.qint8, inplace=True)
    return made
