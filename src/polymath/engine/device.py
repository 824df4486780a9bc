"""Which device jobs run on, and how many of them side by side."""

from __future__ import annotations

import os

from ..spec import BadInput


def cores() -> int:
    """Cores that this process may use: where it is bound to one (`taskset`), nets side by side would share it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
