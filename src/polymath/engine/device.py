"""Which device jobs run on."""

from __future__ import annotations

from ..spec import BadInput


def pick_device(wish: str) -> str:
    """'auto', 'cpu' or 'cuda' -> the device to use. Raises BadInput when a GPU is asked for and there is none."""
    if wish == "cpu":
        return "cpu"
    import torch

    available = torch.cuda.is_available()
    if wish == "cuda" and not available:
        raise BadInput(
            "this machine has no GPU that torch can use", value=wish, remedy="Use --device cpu or --device auto."
        )
    return "cuda" if available and wish in ("auto", "cuda") else "cpu"
