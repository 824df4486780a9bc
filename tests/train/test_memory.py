"""Memory that a training freed goes back to the system once the process holds twice what it needs."""

from __future__ import annotations

import platform
import sys

import pytest

from polymath.train import memory


def test_free_memory_goes_back_where_what_is_held_has_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    gib = 1 << 30
    held, given = [3 * gib], []

    def give_back() -> None:
        given.append(held[0])
        held[0] = 2 * gib

    monkeypatch.setattr(memory, "resident", lambda: held[0])
    monkeypatch.setattr(memory, "give_back", give_back)
    holes = memory.Holes()
    for now in (3.5, 5.9, 6.1, 3.9, 4.1):
        held[0] = int(now * gib)
        holes.look()
    assert given == [int(6.1 * gib), int(4.1 * gib)]


def test_little_is_never_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    held = [1 << 28]
    monkeypatch.setattr(memory, "resident", lambda: held[0])
    monkeypatch.setattr(memory, "give_back", lambda: pytest.fail("nothing is to be given back"))
    holes = memory.Holes()
    held[0] = (1 << 28) + (1 << 30)
    holes.look()


@pytest.mark.skipif(sys.platform != "linux", reason="the system says it in /proc on Linux only")
def test_what_is_held_is_what_the_system_says() -> None:
    before = memory.resident()
    block = bytearray(200 << 20)
    block[:: 1 << 12] = b"x" * len(block[:: 1 << 12])
    assert 180 << 20 < memory.resident() - before < 300 << 20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is asked")
def test_holes_between_what_lives_are_given_back() -> None:
    """Blocks of odd sizes below what is mapped by itself, every other one freed."""
    bytearray(30 << 20)  # a block that was mapped by itself and freed: smaller ones come from the heap from now on
    blocks = [bytearray(1_000_003 + 4_099 * n) for n in range(200)]
    for n in range(0, 200, 2):
        blocks[n] = bytearray()
    before = memory.resident()
    memory.give_back()
    assert before - memory.resident() > 50 << 20
