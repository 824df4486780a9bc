"""Functions that engines run in the tests: they stand in a module so that worker processes can import them."""

from __future__ import annotations

import os
import signal
import time


def double(text: str) -> str:
    """The text twice."""
    return text * 2


def misbehave(text: str) -> str:
    """Does what the text says."""
    if text == "raise":
        raise ValueError("no such layer")
    if text == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if text == "linger":
        time.sleep(0.5)
    if text == "hang":
        time.sleep(60)
    if text == "eat":
        return str(len(bytearray(4 * 2**30)))
    return f"{text} in {os.getpid()}"
