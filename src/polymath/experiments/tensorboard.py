"""Learning curves for TensorBoard, written without its package: its event files are simple.

A file is a row of records (length, its checksum, data, their checksum; the checksum is a masked CRC-32C); the data are
an `Event` as a protocol buffer: wall time = 1, step = 2, version = 3 or summary = 5 of values (tag = 1, number = 2).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..spec import BadInput
from .listing import Tried

STEPS_PER_WORK = 1000
"""TensorBoard counts whole steps: a step is a thousandth of a work unit, a million multiply-adds."""


def write_tensorboard(found: Sequence[Tried], folder: Path) -> int:
    """One run per experiment with its learning curves, `loss` and `score`; returns how many runs have one.

    Steps are thousandths of a work unit, times are seconds since the experiment began. Raises BadInput.
    """
    try:
        return sum(_write_run(one, folder / one.id.rpartition("/")[2].zfill(4)) for one in found)
    except OSError as error:
        raise BadInput(f"cannot be written: {error.strerror}", file=folder, remedy="Give another folder.") from error


def _write_run(one: Tried, folder: Path) -> bool:
    points = list(_points(one))
    if not points:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    events = [_event(0.0, 0, _field(3, b"brain.Event:2"))]
    for seconds, work, name, value in points:
        scalar = _field(1, name.encode()) + b"\x15" + struct.pack("<f", value)
        events.append(_event(seconds, round(work * STEPS_PER_WORK), _field(5, _field(1, scalar))))
    # A fixed name: writing again replaces what was written, where a name with the time would show every curve twice.
    (folder / "events.out.tfevents.0.polymath").write_bytes(b"".join(events))
    return True


def _points(one: Tried) -> Iterator[tuple[float, float, str, float]]:
    """(seconds, work, name, value) of every point; the seconds of a rung are shared out by work."""
    begin_seconds = begin_work = 0.0
    for entry in one.rungs:
        curve = entry.outcome.get("curve") or [{"work": entry.work, "score": entry.score}]
        done = max(entry.work - begin_work, 1e-9)
        for point in curve:
            seconds = begin_seconds + entry.seconds * min(max(point["work"] - begin_work, 0.0) / done, 1.0)
            for name in ("loss", "score"):
                if point.get(name) is not None:
                    yield seconds, point["work"], name, point[name]
        begin_seconds, begin_work = begin_seconds + entry.seconds, entry.work


def _event(seconds: float, step: int, what: bytes) -> bytes:
    """One record of an event file."""
    data = b"\x09" + struct.pack("<d", seconds) + b"\x10" + _varint(step) + what
    length = struct.pack("<Q", len(data))
    return length + _checksum(length) + data + _checksum(data)


def _field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def _table() -> tuple[int, ...]:
    entries = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        entries.append(value)
    return tuple(entries)


TABLE = _table()
"""Of CRC-32C (Castagnoli), bit by bit reversed."""


def _checksum(data: bytes) -> bytes:
    """Masked CRC-32C, as record files of TensorFlow hold it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
