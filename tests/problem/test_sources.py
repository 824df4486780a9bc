"""How files, folders and tables become rows."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from PIL import Image

from polymath.problem.sources import fingerprint, read
from polymath.spec import BadInput

HEADER, ROWS = "a,b,c,d\n", ["1,0.5,x,2020-01-01", "2,1e-3,y,2020-01-02", ",NA,?,", "4,7,x,2021-12-31"]
TEXT = HEADER + "\n".join(ROWS) + "\n"
EXPECTED = {"a": [1, 2, None, 4], "b": [0.5, 0.001, None, 7.0], "c": ["x", "y", None, "x"]}


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def picture(path, colour=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (3, 3), colour).save(path)
    return path


def columns(rows, *names):
    return {name: rows.table[name].to_pylist() for name in names or rows.table.column_names}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_delimited(tmp_path, delimiter, encoding, end):
    text = TEXT.replace(",", delimiter).replace("\n", end)
    rows = read(write(tmp_path / "table.csv", text.encode(encoding)))
    assert columns(rows, "a", "b", "c") == EXPECTED
    assert rows.table.schema.field("a").type == pa.int64()
    assert rows.table.schema.field("d").type == pa.timestamp("us")
    assert rows.unused == () and rows.value_counts == {}


def test_gzip_is_the_same(tmp_path):
    plain, packed = write(tmp_path / "t.csv", TEXT), write(tmp_path / "t.csv.gz", gzip.compress(TEXT.encode()))
    assert read(plain).table.equals(read(packed).table)


def test_latin_1_is_read_and_said(tmp_path):
    rows = read(write(tmp_path / "t.csv", "name,n\ncafé,1\nthé,2\n".encode("latin-1")))
    assert columns(rows, "name") == {"name": ["café", "thé"]}
    assert "latin-1" in rows.notes[0]


def test_one_damaged_byte_costs_one_row(tmp_path):
    rows = read(write(tmp_path / "t.csv", "n,m\ncafé,1\nthé,2\n".encode() + b"caf\xff,3\n" + "été,4\n".encode()))
    assert columns(rows, "m") == {"m": [1, 2, 4]}
    assert [(one.row, one.column) for one in rows.unused] == [(3, None)]
    assert rows.origin(2) == (str(tmp_path / "t.csv"), 4)


def test_bad_lines_are_counted_with_their_numbers(tmp_path):
    lines = [f"{i},{i / 2}" for i in range(1, 101)]
    lines[9], lines[49], lines[69] = "10", "50,1,2", "70,\0"
    rows = read(write(tmp_path / "t.csv", "a,b\n" + "\n".join(lines)))
    assert [(one.row, one.reason) for one in rows.unused] == [
        (10, "has 1 values where the header has 2"),
        (50, "has 3 values where the header has 2"),
        (70, "holds a NUL byte"),
    ]
    assert rows.num_unused == 3 and len(rows) == 97
    assert all(rows.table["a"][i].as_py() == rows.origin(i)[1] for i in range(97))
    some = rows.take([96, 9, 50])
    assert [some.origin(i)[1] for i in range(3)] == some.table["a"].to_pylist() == [100, 11, 53]


def test_an_open_quote_costs_one_row(tmp_path):
    rows = read(write(tmp_path / "t.csv", 'a,b\n1,2\n"3,4\n5,6\n7,"x\n8"\n9,5" pipe\n'))
    assert columns(rows) == {"a": [1, 5, 7, 9], "b": ["2", "6", "x\n8", '5" pipe']}
    assert [one.reason for one in rows.unused] == ["a quote is opened and never closed"]


def test_a_line_may_be_longer_than_a_block(tmp_path):
    long = "x" * 3_000_000
    rows = read(write(tmp_path / "t.csv", f"a,b\n1,{long}\n2,y\n"))
    assert columns(rows) == {"a": [1, 2], "b": [long, "y"]}


def test_bad_lines_across_blocks(tmp_path):
    lines = [f"{i},{'x' * 50}" for i in range(1, 60_001)]
    bad = {7, 20_000, 40_001, 59_999}
    for i in bad:
        lines[i - 1] = "1,2,3"
    rows = read(write(tmp_path / "t.csv", "a,b\n" + "\n".join(lines) + "\n"))
    numbers = [rows.origin(i)[1] for i in range(len(rows))]
    assert numbers == rows.table["a"].to_pylist() == [i for i in range(1, 60_001) if i not in bad]
    assert {one.row for one in rows.unused} == bad


def test_mostly_numbers_stay_numbers(tmp_path):
    cells = [str(i) for i in range(1, 101)]
    cells[3], cells[5], cells[7] = "abc", "inf", "1e999"
    rows = read(write(tmp_path / "t.csv", "n,m\n" + "".join(f"{c},z\n" for c in cells)))
    assert rows.table.schema.field("n").type == pa.float64()
    assert [(one.row, one.column, one.value) for one in rows.unused] == [
        (4, "n", "abc"),
        (6, "n", "inf"),
        (8, "n", "1e999"),
    ]
    assert rows.value_counts == {"not a finite number": 3} and rows.num_unused == 0


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["00501", "10001"], pa.string()),
        (["true", "False"], pa.bool_()),
        (["1", "2.5"], pa.float64()),
        (["9223372036854775808", "1"], pa.float64()),
        (["2020-01-01T10:00:00Z", "2020-01-01T10:00:00+02:00"], pa.timestamp("us")),
        (["0000-01-01", "2020-01-01"], pa.string()),
        (["03/04/2020", "25/12/2020"], pa.string()),
        (["1", "x"], pa.string()),
        ([" 1", "2 "], pa.int64()),
        ([" 2020-01-01", "2020-01-02 "], pa.timestamp("us")),
        ([" true ", "false"], pa.bool_()),
    ],
)
def test_types(tmp_path, cells, kind):
    rows = read(write(tmp_path / "t.csv", "v,w\n" + "".join(f"{c},z\n" for c in cells)))
    assert rows.table.schema.field("v").type == kind


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", 'c,d\n red ,1\nred,2\n" red\t", NA\n  ,4\n'),
        ("odd.csv", 'c,d\n red ,1\nred,2\n" red\t", NA\n  ,4\n"never closed,5\n'),
        ("t.json", '[{"c":" red ","d":1},{"c":"red","d":2},{"c":" red\\t"},{"c":"  ","d":4}]'),
    ],
)
def test_spaces_around_a_value_do_not_count(tmp_path, name, text):
    rows = read(write(tmp_path / name, text))
    assert columns(rows) == {"c": ["red", "red", "red", None], "d": [1, 2, None, 4]}


def test_decimal_commas(tmp_path):
    rows = read(write(tmp_path / "t.csv", "a;b\n1,5;x\n2;y\n-0,25;z\n"))
    assert columns(rows, "a") == {"a": [1.5, 2.0, -0.25]}


def test_zones_are_removed(tmp_path):
    rows = read(write(tmp_path / "t.csv", "t,b\n2020-01-01T10:00:00+02:00,1\n"))
    assert str(rows.table["t"][0]) == "2020-01-01 08:00:00"


@pytest.mark.parametrize("text", ["1,2,x\n3,4,y\n5,6,z\n", "ham,hi there\nspam,win now\nham,see you\n"])
def test_no_header(tmp_path, text):
    rows = read(write(tmp_path / "t.csv", text))
    assert rows.table.column_names[:2] == ["column 1", "column 2"] and len(rows) == 3
    assert "no header" in rows.notes[0]


def test_header_without_name_and_one_column(tmp_path):
    assert read(write(tmp_path / "t.csv", ",a\n0,1\n1,2\n")).table.column_names == ["column 1", "a"]
    assert read(write(tmp_path / "u.csv", "text\nHello, you\nBye; now, then\n")).table.column_names == ["text"]


def test_parquet_arrow_and_json_agree(tmp_path):
    table = pa.table(
        {"n": [1, None, 3], "s": ["x", "?", None], "f": [0.5, float("nan"), float("inf")], "l": [["a"], [], None]}
    )
    pq.write_table(table, tmp_path / "t.parquet")
    pyarrow.feather.write_feather(table, tmp_path / "t.feather")
    with pa.ipc.new_stream(str(tmp_path / "t.arrow"), table.schema) as writer:
        writer.write_table(table)
    lines = '{"n":1,"s":"x","f":0.5,"l":["a"]}\n\n{"n":null,"s":"?","f":NaN,"l":[]}\n{"n":3,"f":Infinity}\n'
    write(tmp_path / "t.jsonl", lines)
    write(tmp_path / "t.json", json.dumps([json.loads(line) for line in lines.split("\n") if line]))
    expected = {"n": [1, None, 3], "s": ["x", None, None], "f": [0.5, None, None], "l": [["a"], [], None]}
    for name in ("t.parquet", "t.feather", "t.arrow", "t.jsonl", "t.json"):
        assert columns(read(tmp_path / name)) == expected, name
    assert read(tmp_path / "t.parquet").value_counts == {"not a finite number": 1}


def test_json_of_mixed_types_and_bad_lines(tmp_path):
    good = "".join(f'{{"a": {i}, "b": {{"c": {i}.5}}}}\n' for i in range(5))
    bad = '{"a": 1\n[1]\n{"a": 1, "a": 2}\n' + '{"a":' * 5_000 + "\n"
    rows = read(write(tmp_path / "t.jsonl", good + bad + '{"a": "x"}\n{"a": true, "new": 1}\n'))
    assert columns(rows) == {
        "a": ["0", "1", "2", "3", "4", "x", "true"],
        "b.c": [0.5, 1.5, 2.5, 3.5, 4.5, None, None],
        "new": [None] * 6 + [1],
    }
    assert [one.row for one in rows.unused] == [6, 7, 8, 9] and rows.origin(5)[1] == 10


def test_json_of_columns(tmp_path):
    assert columns(read(write(tmp_path / "t.json", '{\n "a": [1, 2],\n "b": ["x", "y"]}'))) == {
        "a": [1, 2],
        "b": ["x", "y"],
    }


def test_parquet_types_become_plain(tmp_path):
    table = pa.table(
        {
            "dictionary": pa.array(["x", "y", "x"]).dictionary_encode(),
            "day": pa.array([0, 1, 2], pa.date32()),
            "zoned": pa.array([0, 1, 2], pa.timestamp("ns", "Europe/Berlin")),
            "decimal": pa.array([1, 2, 3], pa.decimal128(5, 2)),
            "struct": pa.array([{"u": 1, "v": "x"}] * 3),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array([1.0, 2, 3, 4, 5, 6]), 2),
            "none": pa.nulls(3),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    kinds = {field.name: str(field.type) for field in read(tmp_path / "t.parquet").table.schema}
    assert kinds == {
        "dictionary": "string",
        "day": "timestamp[us]",
        "zoned": "timestamp[us]",
        "decimal": "double",
        "struct.u": "int64",
        "struct.v": "string",
        "vector.0": "double",
        "vector.1": "double",
        "none": "string",
    }


def test_large_tables_are_mapped_and_found_again(tmp_path):
    lines = [f"{i},{i % 7}" for i in range(1, 20_001)]
    lines[99] = "bad"
    path = write(tmp_path / "t.csv", "a,b\n" + "\n".join(lines) + "\n")
    first = read(path, memory_bytes=100_000, cache=tmp_path / "cache")
    assert pa.total_allocated_bytes() >= 0 and len(first) == 19_999 and first.origin(99)[1] == 101
    mapped = list((tmp_path / "cache").rglob("table.arrow"))
    assert len(mapped) == 1
    stamp = mapped[0].stat().st_mtime_ns
    again = read(path, memory_bytes=100_000, cache=tmp_path / "cache")
    assert mapped[0].stat().st_mtime_ns == stamp
    assert again.table.equals(first.table) and again.unused == first.unused and again.origin(99)[1] == 101
    assert first.table.equals(read(path).table)


def test_too_large_for_memory_without_a_cache(tmp_path):
    path = write(tmp_path / "t.csv", "a,b\n" + "1,2\n" * 1_000)
    with pytest.raises(BadInput, match="memory"):
        read(path, memory_bytes=1_000)


def test_fingerprint_follows_content(tmp_path):
    one, two, three = (
        write(tmp_path / name / "t.csv", text) for name, text in [("1", TEXT), ("2", TEXT), ("3", TEXT + "5,5,x,\n")]
    )
    assert read(one).fingerprint == read(two).fingerprint != read(three).fingerprint
    assert read({"a": [1, 2]}).fingerprint == read({"a": [1, 2]}).fingerprint != read({"a": [1, 3]}).fingerprint


def test_a_name_among_many_takes_little_memory(tmp_path):
    path = write(tmp_path / "t.csv", TEXT)
    fingerprint.of_files([("warm", str(path))])
    tracemalloc.start()
    try:
        fingerprint.of_files((f"{number:05}.png", str(path)) for number in range(4_000))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most / 4_000 < 400  # bytes; with a Path and all that stat tells it was 1,000


# Folders ---------------------------------------------------------------------------------------------------------


def test_class_folders(tmp_path):
    for label in ("ca t", "dög", "a;b'\"\\ $(x)"):
        for i in range(3):
            picture(tmp_path / label / f"{i} ü\n.png")
    (tmp_path / "ca t" / "empty.png").touch()
    write(tmp_path / "ca t" / "notes.txt", "x")
    write(tmp_path / ".hidden" / "h.png", "x")
    picture(tmp_path / "loose.png")
    rows = read(tmp_path)
    assert len(rows) == 9 and set(rows.table["label"].to_pylist()) == {"ca t", "dög", "a;b'\"\\ $(x)"}
    assert all(os.path.isfile(path) for path in rows.table["image"].to_pylist())
    assert (rows.file_columns, rows.target_hint, rows.given_split) == ({"image": "image"}, "label", None)
    assert rows.unused_counts == {"file is empty": 1, "not an image": 1, "lies in no class folder": 1}
    assert rows.origin(0) == (rows.table["image"][0].as_py(), 1)


def test_split_class_folders(tmp_path):
    for split in ("train", "Test", "val"):
        for label in "ab":
            picture(tmp_path / split / label / "1.png")
    rows = read(tmp_path)
    assert rows.given_split == "split"
    assert sorted(columns(rows, "split")["split"]) == sorted(["train", "test", "validation"] * 2)


def test_text_folders_with_strange_endings(tmp_path):
    for label in ("ham", "spam"):
        for i in range(3):
            write(tmp_path / label / f"{i:05d}.7c53336b37003a9286aba55d2945844c", f"Subject: {label}")
    rows = read(tmp_path)
    assert rows.file_columns == {"text": "text"} and len(rows) == 6


def test_folder_without_labels_file_and_list_of_files(tmp_path):
    paths = [picture(tmp_path / f"{i}.png") for i in range(3)]
    for data in (tmp_path, paths):
        assert read(data).table.column_names == ["image"] and len(read(data)) == 3
    assert columns(read(paths[0])) == {"image": [str(paths[0])]}


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_metadata_names_files(tmp_path, form):
    for i in range(3):
        picture(tmp_path / "files" / f"{i}.png")
        picture(tmp_path / "files" / f"mask {i}.png")
    picture(tmp_path / "extra.png")
    frame = pd.DataFrame(
        {
            "file_name": [*(f"files/{i}.png" for i in range(3)), "files/9.png", "../out.png"],
            "mask_file_name": [*(f"files/mask {i}.png" for i in range(3)), None, None],
            "age": range(5),
        }
    )
    path = tmp_path / f"metadata.{form}"
    if form == "csv":
        frame.to_csv(path, index=False)
    elif form == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path)
    rows = read(tmp_path)
    assert rows.table.column_names == ["image", "mask", "age"] and rows.table["age"].to_pylist() == [0, 1, 2]
    assert rows.file_columns == {"image": "image", "mask": "image"}
    assert rows.unused_counts == {
        "file does not exist": 1,
        "file lies outside the folder": 1,
        "file is not named in the table": 1,
    }
    assert [one.row for one in rows.unused[:2]] == [4, 5]


def test_metadata_by_split(tmp_path):
    for split in ("train", "test"):
        picture(tmp_path / split / "x.png")
        write(tmp_path / split / "metadata.csv", "file_name,y\nx.png,1\n")
    rows = read(tmp_path)
    assert columns(rows, "y", "split") == {"y": [1, 1], "split": ["train", "test"]} and rows.given_split == "split"


def test_table_with_paths(tmp_path):
    for i in range(3):
        picture(tmp_path / "pictures" / f"{i}.png")
    write(tmp_path / "table.csv", "picture,y\n" + "".join(f"pictures/{i}.png,{i}\n" for i in range(3)))
    for data in (tmp_path / "table.csv", tmp_path):
        rows = read(data)
        assert rows.file_columns == {"picture": "image"}
        assert rows.table["picture"].to_pylist()[0] == str(tmp_path / "pictures" / "0.png")


def test_paths_that_are_not_there_stay_strings(tmp_path):
    rows = read(write(tmp_path / "t.csv", "icon,y\na.png,1\nb.png,2\n"))
    assert rows.file_columns == {} and "looks like paths" in rows.notes[0]


def test_folder_of_train_and_test_tables(tmp_path):
    write(tmp_path / "train.csv", "a,y\n1,u\n2,v\n")
    write(tmp_path / "test.csv", "y,a\nu,1.5\n")
    write(tmp_path / "sample_submission.csv", "id,y\n1,2\n")
    rows = read(tmp_path)
    assert columns(rows) == {"a": [1, 2, 1.5], "y": ["u", "v", "u"], "split": ["train", "train", "test"]}
    assert rows.origin(2) == (str(tmp_path / "test.csv"), 1)
    assert any("sample_submission" in note for note in rows.notes)


def test_a_test_table_without_the_target_is_left_out(tmp_path):
    write(tmp_path / "train.csv", "a,y\n1,u\n2,v\n")
    write(tmp_path / "test.csv", "a\n1\n7\n")
    rows = read(tmp_path)
    assert len(rows) == 2 and rows.given_split is None
    assert rows.unused_counts == {"in a file that lacks column 'y'": 2}


def test_shards_and_strangers(tmp_path):
    write(tmp_path / "part-1.csv", "a,y\n1,u\n")
    write(tmp_path / "part-2.csv", "a,y\n2,v\n")
    assert columns(read(tmp_path)) == {"a": [1, 2], "y": ["u", "v"]}
    write(tmp_path / "other.csv", "q,w\n2,v\n")
    with pytest.raises(BadInput, match="different columns"):
        read(tmp_path)


def test_given_test_data(tmp_path):
    rows = read({"a": [1, 2], "y": [0, 1]}, test={"a": [3], "y": [1]}, validation={"a": [4], "y": [0]})
    assert columns(rows, "a", "split") == {"a": [1, 2, 4, 3], "split": ["train", "train", "validation", "test"]}


def test_a_split_column_is_noticed():
    rows = read({"a": [1, 2, 3], "Split": ["train", "train", "test"]})
    assert rows.given_split == "Split"
    assert read({"a": [1, 2, 3], "split": ["train", "b", "test"]}).given_split is None


def test_links(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out.png"
    picture(outside)
    picture(inside / "a" / "1.png")
    picture(inside / "b" / "1.png")
    (inside / "a" / "2.png").symlink_to(inside / "b" / "1.png")
    (inside / "a" / "3.png").symlink_to(outside)
    (inside / "a" / "4.png").symlink_to(tmp_path / "nowhere")
    (inside / "c").symlink_to(tmp_path)
    os.mkfifo(inside / "a" / "5.png")
    rows = read(inside)
    assert len(rows) == 3
    assert rows.unused_counts == {
        "link leads out of the folder": 2,
        "link leads nowhere": 1,
        "not a regular file": 1,
    }


# In memory -------------------------------------------------------------------------------------------------------


def test_tables_in_memory_agree():
    data = {"n": [1, 2, None], "s": ["x", None, "NA"], "f": [0.5, float("nan"), 2.0]}
    expected = {"n": [1, 2, None], "s": ["x", None, None], "f": [0.5, None, 2.0]}
    tables = [data, pd.DataFrame(data), pl.DataFrame(data, strict=False), pa.table(data), pa.record_batch(data)]
    tables.append([dict(zip(data, row, strict=True)) for row in zip(*data.values(), strict=True)])
    for table in tables:
        assert columns(read(table)) == expected, type(table)


def test_pandas_columns_of_mixed_types():
    frame = pd.DataFrame(
        {"mixed": [1, "x", None, 2.5], "when": pd.to_datetime(["2020-01-01"] * 4), "cat": pd.Categorical(list("abab"))}
    )
    frame[7] = 1
    rows = read(frame)
    assert columns(rows, "mixed", "cat", "7") == {"mixed": ["1", "x", None, "2.5"], "cat": list("abab"), "7": [1] * 4}


def test_arrays():
    x, y = np.arange(6.0).reshape(3, 2), np.array([0, 1, 0])
    rows = read((x, y))
    assert rows.table.column_names == ["x0", "x1", "y"] and rows.target_hint == "y"
    rows = read((pd.DataFrame({"a": x[:, 0]}), pd.Series(y, name="b")))
    assert rows.table.column_names == ["a", "b"] and rows.target_hint == "b"
    assert read(np.zeros((4, 8, 8), np.uint8)).table.schema.field("image").type.shape == [8, 8]
    assert read((np.zeros((4, 8, 8, 3), np.uint8), [0, 1, 0, 1])).table.column_names == ["image", "y"]
    assert read([[1, 2], [3, 4]]).table.column_names == ["x0", "x1"]


def test_a_gzip_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("polymath.problem.sources.streams.FREE_EXPANSION_BYTES", 1 << 20)
    path = write(tmp_path / "t.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 3_000_000, mtime=0))
    with pytest.raises(BadInput, match="grows more than"):
        read(path)


def test_kept_and_reread_columns_agree(tmp_path):
    """A column that is in order everywhere is kept from the first pass; one odd value makes all be read again."""
    cells = [f"{i},{i / 4},{i % 2 == 0},2020-01-{1 + i % 28:02d},w{i % 5},{i if i % 3 else ''}" for i in range(50_000)]
    cells[25_000] = "25000,6250.5,True,2020-01-09,w0,7.5"
    header = "i,f,b,d,s,m\n"
    clean = read(write(tmp_path / "clean.csv", header + "\n".join(cells)))
    cells[49_999] = "49999,oops,False,2020-01-01,w4,1"
    again = read(write(tmp_path / "odd.csv", header + "\n".join(cells)))
    assert [str(one.type) for one in clean.table.schema] == [
        "int64",
        "double",
        "bool",
        "timestamp[us]",
        "string",
        "double",
    ]
    assert clean.table.schema == again.table.schema and again.value_counts == {"not a finite number": 1}
    assert clean.table.slice(0, 49_999).equals(again.table.slice(0, 49_999))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0,1,2\n0.5,0.6,0.7\n", True),
        (",0,1,2\n0,0.5,0.6,0.7\n", True),
        ("0,1,2,y\n0.5,0.6,0.7,3\n", True),
        ("0,1,2,kind\n0.5,0.6,0.7,a\n0.1,0.2,0.3,b\n", True),
        ("2019,2020,2021\n5,6,7\n", True),
        ("5.1,3.5,setosa\n4.9,3.0,setosa\n7,3.2,versicolor\n", False),
        ("5.1,3.5,0.2\n4.9,3.0,0.2\n", False),
        ("name,kind,town\nname,a,Bonn\nBob,b,Rome\nEve,a,Rome\n", True),
        ("a,y\nx,1\n", True),
    ],
)
def test_headers(tmp_path, text, expected):
    rows = read(write(tmp_path / "t.csv", text))
    assert (rows.table.column_names[-1] == text.partition("\n")[0].split(",")[-1]) is expected


def test_quoted_cells_may_hold_lines_that_look_like_rows(tmp_path):
    text = 'text,label\n"first line\nsecond, with a comma",a\nplain,b\n"one ""quoted"" word\n\nand, more",a\n'
    (tmp_path / "rows.csv").write_text(text)
    rows = read(tmp_path / "rows.csv")
    assert rows.num_unused == 0
    assert rows.table.column("text").to_pylist() == [
        "first line\nsecond, with a comma",
        "plain",
        'one "quoted" word\n\nand, more',
    ]


def test_the_replacement_character_is_a_character(tmp_path):
    (tmp_path / "rows.csv").write_text("text,label\nno tofu \N{REPLACEMENT CHARACTER} at all,a\nplain é,b\n" * 20)
    assert read(tmp_path / "rows.csv").num_unused == 0


@pytest.mark.parametrize("content", [b"a,b,c\n", b"a,b,c", b"\xef\xbb\xbfa,b,c\r\n\r\n"])
def test_a_header_alone_is_refused_by_a_process_that_ends_well(tmp_path, content):
    file = tmp_path / "header.csv"
    file.write_bytes(content)
    asked = f"""
from polymath.problem.sources import fingerprint, read
try:
    read({str(file)!r})
except ValueError as error:
    print(error)
"""
    found = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert "a header but no rows" in found.stdout


def test_numbers_as_people_write_them(tmp_path):
    rows = [
        f'"{n * 1000 + 137:,}",{n}%,"${n * 1000:,}.50",{"$" if n % 2 else "€"}{n},"{n},{n % 7}"' for n in range(1, 60)
    ]
    table = read(write(tmp_path / "prices.csv", "\n".join(["thousands,share,price,mixed,pair", *rows]))).table
    assert table.slice(0, 1).to_pylist() == [
        {"thousands": 1137.0, "share": 1.0, "price": 1000.5, "mixed": "$1", "pair": "1,1"}
    ]
    assert table["thousands"].null_count == table["share"].null_count == table["price"].null_count == 0


def test_a_lone_train_folder_is_no_class(tmp_path):
    for name in ("cat", "dog"):
        for n in range(3):
            write(tmp_path / "pets" / "train" / name / f"{n}.txt", f"{name} {n}")
    rows = read(tmp_path / "pets")
    assert rows.given_split is None
    assert rows.table["label"].to_pylist() == ["cat"] * 3 + ["dog"] * 3
