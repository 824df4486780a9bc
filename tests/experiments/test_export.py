"""The ledger as files: JSON lines hold all of it, Parquet a row per rung, TensorBoard the learning curves."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow import parquet

from polymath.experiments import tried, write, write_tensorboard
from polymath.search import Entry
from polymath.spec import BadInput


def test_json_lines_hold_all_that_the_ledger_holds(learned, tmp_path: Path) -> None:
    found = tried(learned.store, "trees")
    assert write(found, tmp_path / "all.jsonl") == sum(len(one.rungs) for one in found)
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    again = [Entry.model_validate({k: v for k, v in line.items() if k not in ("id", "state")}) for line in lines]
    assert again == [entry for one in found for entry in one.rungs]
    assert [line["id"] for line in lines if line["number"] == 100] == ["trees/100"] * 3


def test_parquet_holds_a_row_per_rung(learned, tmp_path: Path) -> None:
    found = tried(learned.store, "trees")
    rows = parquet.read_table(tmp_path / "all.parquet").to_pylist() if write(found, tmp_path / "all.parquet") else []
    assert len(rows) == sum(len(one.rungs) for one in found)
    died = next(row for row in rows if row["number"] == 102)
    assert not died["ok"] and died["score"] is None and died["traceback"].startswith("Traceback")
    last = next(row for row in rows if row["number"] == 100 and row["rung"] == 2)
    assert json.loads(last["trace"])["choices"][0]["value"] == 8
    assert json.loads(last["request"])["rate"] == [1.0, 0.0]
    assert last["state"] == "finished" and last["score"] == found[-3].score
    write([], tmp_path / "none.parquet")
    assert parquet.read_table(tmp_path / "none.parquet").num_rows == 0


@pytest.mark.parametrize(("name", "says"), [("x.xlsx", "Use .jsonl or .parquet"), ("no folder/x.jsonl", "written")])
def test_a_file_that_cannot_be_written_is_named(name: str, says: str, learned, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=says):
        write(tried(learned.store, "trees"), tmp_path / name)


def test_tensorboard_reads_the_learning_curves(learned, tmp_path: Path) -> None:
    found = [one for one in tried(learned.store, "trees") if one.last.number in (100, 102)]
    assert write_tensorboard(found, tmp_path) == 1
    assert [folder.name for folder in tmp_path.iterdir()] == ["0100"]
    (file,) = (tmp_path / "0100").iterdir()
    events = list(read_events(file.read_bytes()))
    assert events[0][2] == "brain.Event:2"
    curve = [point for entry in found[0].rungs for point in entry.outcome["curve"]]
    assert [(step, value) for _, step, name, value in events[1:] if name == "loss"] == [
        (round(1000 * point["work"]), pytest.approx(point["loss"])) for point in curve
    ]
    scores = [value for _, _, name, value in events[1:] if name == "score"]
    assert scores == [pytest.approx(entry.score) for entry in found[0].rungs]
    seconds = [event[0] for event in events]
    assert seconds == sorted(seconds) and seconds[-1] <= found[0].seconds + 1e-6
    before = file.read_bytes()
    write_tensorboard(found, tmp_path)
    assert len(list((tmp_path / "0100").iterdir())) == 1 and file.read_bytes() == before


def read_events(data: bytes) -> Iterator[tuple]:
    """(seconds, step, version) or (seconds, step, name, value): written from TensorFlow's record and event formats."""
    while data:
        (size,) = struct.unpack("<Q", data[:8])
        body = data[12 : 12 + size]
        assert struct.unpack("<I", data[8:12])[0] == masked(data[:8])
        assert struct.unpack("<I", data[12 + size : 16 + size])[0] == masked(body)
        data = data[16 + size :]
        fields = dict(parse(body))
        step = fields.get(2, 0)
        if 3 in fields:
            yield fields[1], step, fields[3].decode()
        else:
            value = dict(parse(dict(parse(fields[5]))[1]))
            yield fields[1], step, value[1].decode(), value[2]


def parse(data: bytes) -> Iterator[tuple[int, object]]:
    """Fields of a protocol buffer."""
    while data:
        key, data = data[0], data[1:]
        if key & 7 == 1:
            yield key >> 3, struct.unpack("<d", data[:8])[0]
            data = data[8:]
        elif key & 7 == 5:
            yield key >> 3, struct.unpack("<f", data[:4])[0]
            data = data[4:]
        else:
            number = shift = 0
            while True:
                byte, data = data[0], data[1:]
                number |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            if key & 7 == 0:
                yield key >> 3, number
            else:
                yield key >> 3, data[:number]
                data = data[number:]


def masked(data: bytes) -> int:
    """CRC-32C bit by bit, masked as records do."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 & -(crc & 1))
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_the_checksum_is_the_published_one() -> None:
    from polymath.experiments.tensorboard import _checksum

    unmasked = struct.unpack("<I", _checksum(b"123456789"))[0] - 0xA282EAD8 & 0xFFFFFFFF
    assert (unmasked >> 17 | unmasked << 15) & 0xFFFFFFFF == 0xE3069283  # RFC 3720, check value of CRC-32C
