"""The corpus of bad inputs: what people hand over by mistake, and what must come of it.

Each case writes its data into a folder and says what is expected: an error that names something, or that it works with
so many rows not used. `CASES` are paths, so the command line can be run over them too; `OBJECTS` exist in Python only.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import scipy.sparse
from PIL import Image

NUMBERS = np.random.default_rng(0).normal(size=400).round(4)
WORDS = ("red", "green", "blue")


@dataclass(frozen=True)
class Case:
    """`error`: a pattern that the message matches, or None: it works, and `unused` rows are counted."""

    name: str
    make: Callable[[Path], Any]
    error: str | None = None
    unused: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    """target, types, ignore as `infer` takes them."""


CASES: list[Case] = []
OBJECTS: list[Case] = []


def add(name, make, error=None, unused=0, **options):
    CASES.append(Case(name, make, error, unused, options))


def file(name, content):
    """A maker of one file."""

    def make(folder):
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


def lines(count=40, *, header="x,z,y"):
    """A healthy table as lines."""
    return [header, *(f"{NUMBERS[i]},{NUMBERS[-i - 1]},{WORDS[i % 3]}" for i in range(count))]


def changed(changes, count=40, **kwargs):
    """A healthy table with some data rows (from 1) replaced."""
    rows = lines(count, **kwargs)
    for row, text in changes.items():
        rows[row] = text
    return "\n".join(rows) + "\n"


def frame(count=40):
    """A healthy table of pandas."""
    return pd.DataFrame({"x": NUMBERS[:count], "z": NUMBERS[-count:][::-1], "y": [WORDS[i % 3] for i in range(count)]})


def packed(form, count=40):
    """A healthy table in some binary form."""
    out = io.BytesIO()
    table = pa.Table.from_pandas(frame(count), preserve_index=False)
    if form == "parquet":
        pq.write_table(table, out)
    elif form == "arrow":
        with pa.ipc.new_stream(out, table.schema) as writer:
            writer.write_table(table)
    elif form == "feather":
        pyarrow.feather.write_feather(table, out)
    elif form == "csv.gz":
        out.write(gzip.compress("\n".join(lines(count)).encode(), mtime=0))
    return out.getvalue()


# Empty and tiny --------------------------------------------------------------------------------------------------
for end in ("csv", "tsv", "parquet", "arrow", "feather", "jsonl", "json", "csv.gz"):
    add(f"empty {end}", file(f"t.{end}", b""), r"t\..*the file is empty")
for name, content in {"blank": "  \n\n \n", "newline": "\n", "mark": b"\xef\xbb\xbf", "commas": ",,,\n,,,\n"}.items():
    add(f"only {name}", file("t.csv", content), "empty")
for end, content in {"jsonl": "\n\n", "json": "[]", "csv": "a,b,c\n"}.items():
    add(f"no rows in {end}", file(f"t.{end}", content), "no rows|holds no")
for count in (1, 3, 7):
    add(f"{count} rows", file("t.csv", changed({}, count)), f"only {count} usable rows|same value|no column")
add("gzip of nothing", file("t.csv.gz", gzip.compress(b"")), "empty")
add("one word", file("t.csv", "hello"), "no rows")

# Truncated, random, misnamed -------------------------------------------------------------------------------------
for form in ("parquet", "arrow", "feather", "csv.gz"):
    whole = packed(form)
    for part in (3, 10, len(whole) // 3, len(whole) // 2, len(whole) - 9):
        add(f"{form} cut to {part} bytes", file(f"t.{form}", whole[:part]), r"t\.\w+.*(damaged|cannot be read|empty)")
    if form != "csv.gz":
        for position in (len(whole) // 4, len(whole) // 2):
            noise = np.random.default_rng(position).integers(0, 256, 30, dtype=np.uint8).tobytes()
            content = whole[:position] + noise + whole[position + 30 :]
            add(f"{form} with noise at {position}", file(f"t.{form}", content), "", unused=-1)
NOISE = np.random.default_rng(1).integers(0, 256, 5_000, dtype=np.uint8).tobytes()
for end in ("csv", "tsv", "parquet", "arrow", "feather", "jsonl", "json", "gz", "csv.gz", "data", "png", "txt"):
    add(f"noise called {end}", file(f"t.{end}", NOISE), r"t\.")
add("csv cut in a row", file("t.csv", "\n".join(lines()) + "\n0.5,0"), unused=1)
add("csv cut in a quote", file("t.csv", "\n".join(lines()) + '\n0.5,0.2,"re'), unused=1)
add(
    "jsonl cut",
    file("t.jsonl", "\n".join(frame().to_json(orient="records", lines=True).split("\n")) + '{"x": 1, "z'),
    unused=1,
)
for head in (
    b"PK\x03\x04",
    b"\xd0\xcf\x11\xe0",
    b"\x93NUMPY",
    b"SQLite f",
    b"\x89HDF\r\n",
    b"BZh9",
    b"%PDF-1.5",
    b"\x7fELF",
):
    add(f"starts with {head!r}", file("t.csv", head + NOISE), "t.csv: is ")
add("pickle", file("t.csv", b"\x80\x04\x95" + NOISE), "pickle, which is never opened")
add("csv called parquet", file("t.parquet", changed({})), "no Parquet file")
add("csv called json", file("t.jsonl", changed({})), "41 of 41 lines cannot be used")
add("parquet called csv", file("t.csv", packed("parquet")))
add(
    "html called csv",
    file("t.csv", "<!DOCTYPE html>\n<html><head>\n<title>Not, found</title></head>\n</html>\n"),
    r"t\.csv",
)

# Encodings -------------------------------------------------------------------------------------------------------
ACCENTS = changed({1: "0.1,0.2,café"})
for encoding in ("latin-1", "cp1252", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"):
    add(f"encoded as {encoding}", file("t.csv", ACCENTS.encode(encoding)))
add("some damaged bytes", file("t.csv", changed({1: "1,2,é", 2: "3,4,ü"}).encode() + b"1,2,\xff\xfe\n"), unused=1)
add("emoji and rtl", file("t.csv", changed({1: "0.1,0.2,😀", 2: "1,2,\u202eabc", 3: "1,2,😀"})))

# Rows and headers ------------------------------------------------------------------------------------------------
add("short row", file("t.csv", changed({5: "1"})), unused=1)
add("long row", file("t.csv", changed({5: "1,2,red,4"})), unused=1)
add("all rows longer than the header", file("t.csv", "x,z,y\n" + "1,2,red,\n" * 40), "40 of 40 rows cannot be used")
add("mostly ragged", file("t.csv", changed({i: "1" for i in range(1, 31)})), r"row 1.*30 of 40 rows")
add("blank lines", file("t.csv", changed({}).replace("\n", "\n\n")))
add("open quote", file("t.csv", changed({5: '1,2,"red'})), unused=1)
add("quote first", file("t.csv", changed({5: '"1,2,red'})), unused=1)
add("stray quotes", file("t.csv", changed({5: '1,2,re"d', 6: '1,2,gr"een', 7: '1,2,"red"'})))
add("NUL in a row", file("t.csv", changed({5: "1,2,r\0ed"})), unused=1)
add("NUL in the header", file("t.csv", changed({}, header="x\0,z,y")))
add("NUL everywhere", file("t.csv", "x,z,y\n" + "1,\0,red\n" * 40), "40 of 40 rows cannot be used")
add("names twice", file("t.csv", changed({}, header="x,y,y")), "column 'y'.*2 and 3")
add("names twice but for blanks", file("t.csv", changed({}, header="x, y,y")), "column 'y'")
add("no names", file("t.csv", changed({}, header=",,")))
add("no header", file("t.csv", changed({}).partition("\n")[2]))
add("a name of 10,000 letters", file("t.csv", changed({}, header=f"x,{'n' * 10_000},y")))
add("a name with a line break", file("t.csv", changed({}, header='x,"a\nb",y')))
add("escape codes", file("t.csv", changed({1: "1,2,\x1b[31mred", 2: "1,2,\x1b[31mred"}, header="x,\x1b[2J,y")))
add(
    "50,000 columns",
    file("t.csv", ",".join(f"c{i}" for i in range(50_000)) + "\n" + ",".join("1" * 50_000)),
    "50,000 columns",
)
add("header twice", file("t.csv", changed({20: "x,z,y"})))
add("a cell of 2 MB", file("t.csv", changed({3: f"1,2,{'r' * 2_000_000}"})), unused=0)
add("old Mac lines", file("t.csv", changed({}).replace("\n", "\r")))
add("two delimiters", file("t.csv", changed({}).replace(",", ";", 60)), unused=11)
add("two open quotes", file("t.csv", changed({5: '1,2,"red', 20: '1,2,"red'})), unused=2)
add("two open quotes in a row", file("t.csv", changed({5: '1,2,"red', 6: '1,2,"red'})), unused=2)
add("decimal commas", file("t.csv", changed({}).replace(",", ";").replace(".", ",")))

# Values ----------------------------------------------------------------------------------------------------------
for word in ("inf", "-inf", "1e999", "abc", "--", "9" * 400):
    add(f"number {word[:9]}", file("t.csv", changed({5: f"{word},2,red"})))
for word in ("nan", "NA", "", "?", "null"):
    add(f"missing {word}", file("t.csv", changed({5: f"{word},2,red"})))
add("numbers all infinite", file("t.csv", changed({i: f"inf,{NUMBERS[i]},{WORDS[i % 3]}" for i in range(1, 41)})))
DAYS = [f"2020-{1 + i % 12:02d}-{1 + i % 28:02d},{NUMBERS[i]},{WORDS[i % 3]}" for i in range(40)]
for day in ("0000-00-00", "0000-01-01", "2020-02-31", "99999-01-01", "yesterday", "20200101T", "-44-03-15"):
    add(f"date {day}", file("t.csv", "\n".join(["d,x,y", *DAYS, f"{day},1,red"])))
add(
    "all dates of year 0",
    file("t.csv", "\n".join(["d,x,y"] + [f"0000-01-01,{NUMBERS[i]},{WORDS[i % 3]}" for i in range(40)])),
)
add("only identifiers", file("t.csv", "id,y\n" + "".join(f"{i},{WORDS[i % 3]}\n" for i in range(40))))
add(
    "only constants",
    file("t.csv", "a,b,y\n" + "".join(f"1,x,{WORDS[i % 3]}\n" for i in range(40))),
    "no column is left",
)
add("all equal rows", file("t.csv", "a,b,y\n" + "1,2,red\n3,4,green\n" * 20))

# Targets ---------------------------------------------------------------------------------------------------------
add(
    "target missing everywhere",
    file("t.csv", changed({i: "1,2," for i in range(1, 41)})),
    "missing in all rows",
    target=["y"],
)
add("target missing in half", file("t.csv", changed({i: f"{NUMBERS[i]},2," for i in range(1, 21)})), unused=20)
add("one class", file("t.csv", changed({i: f"{NUMBERS[i]},2,red" for i in range(1, 41)})), "column 'y'.*same value")
add("one number", file("t.csv", changed({i: f"{NUMBERS[i]},{i},7" for i in range(1, 41)})), "column 'y'.*same value")
add(
    "target is infinite once",
    file(
        "t.csv", "x,y\n" + "".join(f"{a},{b}\n" for a, b in zip(NUMBERS[:60], NUMBERS[60:120], strict=True)) + "1,inf\n"
    ),
    unused=1,
)
add(
    "3,000 classes",
    file("t.csv", "x,y\n" + "".join(f"{i * 0.7},c{i}z\n" for i in range(3_000))),
    "2,400 different",
    target=["y"],
)
add(
    "each class once",
    file("t.csv", "x,y\n" + "".join(f"{NUMBERS[i]},c{i}z\n" for i in range(40))),
    unused=8,
    target=["y"],
)
for wrong in ("z ", "Y", "", "nothing"):
    add(f"target {wrong!r}", file("t.csv", changed({})), "target names a column", target=[wrong])
add("ignored column that is none", file("t.csv", changed({})), "'xx'.*ignore names a column.*x", ignore=["xx"])
add("type that is none", file("t.csv", changed({})), "no such type.*Types:", types={"x": "float"})
add("type of a column that is none", file("t.csv", changed({})), "type names a column", types={"w": "number"})
add("date as the target", file("t.csv", changed({})), "cannot be a target", types={"y": "date"}, target=["y"])
add("target also ignored", file("t.csv", changed({})), "both the target and", target=["y"], ignore=["y"])
add(
    "words as numbers",
    file("t.csv", changed({})),
    "column 'y'.*no row holds a number",
    types={"y": "number"},
    target=["y"],
)
add(
    "target among the inputs",
    file("t.csv", "\n".join(f"{line},{line.split(',')[2]}" for line in lines(90, header="x,z,y,w")[1:])),
    target=["column 3"],
)

# JSON ------------------------------------------------------------------------------------------------------------
RECORDS = frame().to_dict("records")
JSON_LINES = "".join(json.dumps(one) + "\n" for one in RECORDS)
for name, content in {
    "a number": "3",
    "a string": '"x"',
    "a list of numbers": "[1, 2, 3]",
    "one object": '{\n"a": {"b": 1}\n}',
    "columns of different lengths": '{\n"a": [1, 2],\n"b": [1]\n}',
    "broken": "[{]",
    "deep": "[" * 100_000,
    "deep objects": '{"a":' * 100_000,
    "null": "null",
}.items():
    add(f"json: {name}", file("t.json", content), r"t\.json")
for name, bad in {
    "a list": "[1, 2]",
    "deep": '{"a":' * 20_000 + "1" + "}" * 20_000,
    "a key twice": '{"x": 1, "x": 2}',
    "single quotes": "{'x': 1}",
    "an empty object": "{}",
    "half": '{"x": 1',
}.items():
    add(f"jsonl: {name}", file("t.jsonl", JSON_LINES + bad + "\n"), unused=1)
add("jsonl: numbers of 5,000 digits", file("t.jsonl", JSON_LINES + f'{{"x": {"9" * 5_000}, "y": "red"}}\n'), unused=1)
add("jsonl: numbers of 400 digits", file("t.jsonl", JSON_LINES + f'{{"x": {"9" * 400}, "y": "red"}}\n'))
add("jsonl: half a character", file("t.jsonl", JSON_LINES + '{"x": 1, "y": "\\ud800"}\n' * 2))
add("jsonl: NaN", file("t.jsonl", JSON_LINES + '{"x": NaN, "y": "red"}\n'))
add(
    "jsonl: mixed types",
    file("t.jsonl", JSON_LINES + '{"x": "one", "y": "red"}\n{"x": [1], "y": "red"}\n{"x": {"a": 1}}\n'),
    unused=1,
)
add("jsonl: an empty key", file("t.jsonl", JSON_LINES + '{"": 1, "y": "red"}\n'))
add("jsonl: 30,000 keys", file("t.jsonl", json.dumps({f"k{i}": i for i in range(30_000)})), "20,000 keys")

# Parquet and Arrow -----------------------------------------------------------------------------------------------


def parquet(table, **options):
    """A maker of a Parquet file."""

    def make(folder):
        pq.write_table(table() if callable(table) else table, folder / "t.parquet", **options)
        return folder / "t.parquet"

    return make


BASE = pa.Table.from_pandas(frame(), preserve_index=False)
add("parquet without rows", parquet(BASE.slice(0, 0)), "no rows")
add("parquet without columns", parquet(pa.table({})), "0 columns")
add("parquet with names twice", parquet(pa.table([[1], [2]], names=["a", "a"])), "column 'a'")
add(
    "parquet bomb",
    parquet(
        lambda: BASE.append_column(
            "b", pa.DictionaryArray.from_arrays(pa.array([0] * 40), pa.array(["x" * 20_000_000]))
        ),
        compression="zstd",
    ),
    "GB of memory",
)
add(
    "parquet of lists and maps",
    parquet(
        BASE.append_column("l", pa.array([[i] for i in range(40)])).append_column(
            "m", pa.array([[("k", i)] for i in range(40)], pa.map_(pa.string(), pa.int64()))
        )
    ),
)
add("parquet of infinities", parquet(BASE.set_column(0, "x", pa.array([float("inf"), float("nan")] + [1.0, 2.0] * 19))))
add("parquet of nothing but nulls", parquet(pa.table({"x": pa.nulls(40), "y": pa.nulls(40)})), "missing in all rows")


def wrong_offsets(folder):
    batch = pa.record_batch([pa.array(NUMBERS[:40]), pa.array(["a"] * 40)], names=["x", "s"])
    with pa.ipc.new_file(str(folder / "t.arrow"), batch.schema) as writer:
        writer.write_batch(batch)
    raw = (folder / "t.arrow").read_bytes()
    offsets = pa.array(["a"] * 40).buffers()[1].to_pybytes()[: 41 * 4]
    assert offsets in raw
    (folder / "t.arrow").write_bytes(raw.replace(offsets, struct.pack("<41i", 0, *[1 << 30] * 40)))
    return folder / "t.arrow"


add("arrow with wrong offsets", wrong_offsets, "damaged")

# Images ----------------------------------------------------------------------------------------------------------


def pictures(folder, *, each=6, classes="ab", size=(9, 7)):
    """A healthy folder of class folders."""
    generator = np.random.default_rng(0)
    for label in classes:
        (folder / label).mkdir(parents=True, exist_ok=True)
        for i in range(each):
            Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / label / f"{i}.png")
    return folder


def strange(name, write):
    """A maker of a healthy folder with one more file, which `write` writes."""

    def make(folder):
        write(pictures(folder / "data") / "a" / name)
        return folder / "data"

    return make


def saved(mode, *, size=(9, 7), **options):
    """Writes a picture of some mode."""

    def write(path):
        array = np.random.default_rng(3).integers(0, 255, (size[1], size[0], 4), dtype=np.uint8)
        if mode in ("I;16", "I", "F"):
            wide = array[..., 0].astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]) * 200
            Image.fromarray(wide).save(path, **options)
        else:
            Image.fromarray(array, "RGBA" if False else None).convert("RGB" if mode == "CMYK" else "RGBA").convert(
                mode
            ).save(path, **options)

    return write


def png_chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bomb(width, height):
    """A small PNG file of a huge picture."""
    row = zlib.compress(b"\0" * 100_000)
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", head) + png_chunk(b"IDAT", row) + png_chunk(b"IEND", b"")


def healthy_png():
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(5).integers(0, 256, (30, 30, 3), dtype=np.uint8)).save(out, "PNG")
    return out.getvalue()


def animation(form):
    def write(path):
        frames = [Image.new("RGB", (9, 7), colour) for colour in ("red", "green", "blue")]
        frames[0].save(path, form, save_all=True, append_images=frames[1:])

    return write


for name, mode in {
    "grey.png": "L", "one bit.png": "1", "palette.png": "P", "alpha.png": "RGBA", "grey alpha.png": "LA",
    "16 bit.png": "I;16", "16 bit.tif": "I;16", "32 bit.tif": "I", "float.tif": "F", "cmyk.jpg": "CMYK",
    "cmyk.tif": "CMYK", "lab.tif": "LAB", "x.webp": "RGB", "x.bmp": "RGB", "x.gif": "P", "x.ppm": "RGB",
    "x.ico": "RGBA",
}.items():  # fmt: skip
    add(f"image {name}", strange(name, saved(mode, size=(16, 16))))
for name, form in {"x.gif": "GIF", "x.webp": "WEBP", "x.tif": "TIFF", "x.png": "PNG"}.items():
    add(f"animated {name}", strange(name, animation(form)))
for name, size in {"dot": (1, 1), "line": (3_000, 1), "pole": (1, 3_000)}.items():
    add(f"image {name}", strange("x.png", saved("RGB", size=size)))
PNG = healthy_png()
for name, content in {
    "zero bytes": b"", "noise": NOISE, "head only": PNG[:8], "header chunk only": PNG[:33],
    "half": PNG[: len(PNG) // 2],
    "text": b"hello", "html": b"<html>404</html>", "bomb": bomb(60_000, 60_000), "wide bomb": bomb(2**31 - 1, 1),
    "13,000 squared": bomb(13_000, 13_000), "no pixels": bomb(0, 0),
    "wrong checksum": PNG[:45] + bytes([PNG[45] ^ 255]) + PNG[46:],
}.items():  # fmt: skip
    add(f"png: {name}", strange("x.png", lambda path, content=content: path.write_bytes(content)), unused=1)
for end in ("svg", "txt", "mp4", "eps", "db"):
    add(f"not an image: {end}", strange(f"x.{end}", lambda path: path.write_bytes(b"x")), unused=1)
ODD = " '\"\\$`;&|<>*?[]{}()#!~%^=+,:@\n\t\r\x01\x1b\x7f"
for character in [*ODD, "é", "е", "😀", "\u202e", "\u200b", "\ufeff", "-rf", "..", "con", "%s", "{0}", "a" * 240]:
    name = f"{character}.png" if character != ".." else "...png.png"[2:]
    add(f"named {character[:9]!r}", strange(name, lambda path: path.write_bytes(PNG)))


def folder_of(prepare):
    """A maker of a folder that `prepare` fills."""

    def make(folder):
        inner = folder / "data"
        inner.mkdir()
        prepare(inner)
        return inner

    return make


def linked(folder):
    pictures(folder)
    (folder / "a" / "out.png").symlink_to("/etc/passwd")
    (folder / "a" / "nowhere.png").symlink_to("nothing")
    (folder / "a" / "loop.png").symlink_to("loop.png")
    (folder / "c").symlink_to(folder)
    (folder / "a" / "fine.png").symlink_to(folder / "b" / "0.png")


def deep(folder):
    pictures(folder)
    inner = folder / "a" / "/".join("d" * 40)
    inner.mkdir(parents=True)
    (inner / "x.png").write_bytes(PNG)


def all_bad(folder):
    pictures(folder)
    for path in folder.rglob("*.png"):
        path.write_bytes(NOISE)


def odd_bytes(folder):
    pictures(folder)
    with open(os.path.join(os.fsencode(folder), b"a", b"\xff\xfe.png"), "wb") as stream:
        stream.write(PNG)


def pipes(folder):
    pictures(folder)
    os.mkfifo(folder / "a" / "x.png")


add("empty folder", folder_of(lambda folder: None), "holds no files")
add("hidden files only", folder_of(lambda folder: (folder / ".x.png").write_bytes(PNG)), "holds no files")
add("folders only", folder_of(lambda folder: (folder / "a" / "b").mkdir(parents=True)), "holds no files")
add("one class folder", folder_of(lambda folder: pictures(folder, each=20, classes="a")), "column 'label'.*same value")
add("six pictures", folder_of(lambda folder: pictures(folder, each=3)), "only 6 usable rows")
add(
    "no labels",
    folder_of(lambda folder: [(folder / f"{i}.png").write_bytes(PNG) for i in range(20)]),
    "no column to predict",
)
add("one picture", file("x.png", PNG), "no column to predict")
add("one text", file("x.txt", "hello"), "no column to predict")
add(
    "strange files",
    folder_of(lambda folder: [(folder / f"{i}.bin").write_bytes(NOISE) for i in range(9)]),
    "no images, texts or tables",
)
add("links", folder_of(linked), unused=4)
add("deep folders", folder_of(deep), unused=1)
add("all pictures bad", folder_of(all_bad), "cannot be used|can be used")
add("name that is no text", folder_of(odd_bytes), unused=1)
add("pipe in a folder", folder_of(pipes), unused=1)
add("all files empty", folder_of(lambda folder: [(folder / f"{i}.png").touch() for i in range(9)]), "no image file")


def texts(folder, *, spoil=None):
    for label in "ab":
        (folder / label).mkdir()
        for i in range(10):
            (folder / label / f"{i}.txt").write_text(f"text number {i} about {label * 3} and {NUMBERS[i]}")
    if spoil is not None:
        (folder / "a" / "x.txt").write_bytes(spoil)


for name, content, unused in [
    ("zero bytes", b"", 1), ("latin-1", "café".encode("latin-1"), 0), ("utf-16", "hello".encode("utf-16"), 0),
    ("huge line", b"word " * 500_000, 0), ("blanks", b" \n \n", 0), ("NUL", b"a\0b", 0), ("noise", NOISE, 0),
]:  # fmt: skip
    add(f"text file: {name}", folder_of(lambda folder, content=content: texts(folder, spoil=content)), unused=unused)


# Metadata and several tables -------------------------------------------------------------------------------------


def named(table, **files):
    """A maker of 20 pictures and metadata.csv."""

    def make(folder):
        inner = folder / "data"
        inner.mkdir()
        for i in range(20):
            saved("RGB")(inner / f"{i}.png")
        (inner / "metadata.csv").write_text(table)
        for name, content in files.items():
            (inner / name).write_bytes(content)
        return inner

    return make


METADATA = "file_name,y\n" + "".join(f"{i}.png,{WORDS[i % 2]}\n" for i in range(20))
add("metadata", named(METADATA))
add("metadata without file_name", named("x,y\n1,2\n"), "no column that names them")
add("metadata is empty", named(""), "metadata.csv.*empty")
add("metadata with a header only", named("file_name,y\n"), "metadata.csv.*no rows")
add("metadata names what is not there", named(METADATA + "20.png,red\n"), unused=1)
add(
    "metadata names nothing there",
    named("file_name,y\n" + "".join(f"x{i}.png,red\n" for i in range(20))),
    "no row names a file",
)
add("metadata leads out", named(METADATA + "../x.png,red\n/etc/passwd,red\n../../../../etc/passwd,green\n"), unused=3)
add("metadata names a folder", named(METADATA + ".,red\n"), unused=1)
add("metadata without a name", named(METADATA + ",red\n"))
add("metadata leaves files out", named(METADATA.rpartition("19.png")[0]), unused=1)
add("metadata names bad pictures", named(METADATA + "bad.png,red\n", **{"bad.png": NOISE}), unused=1)


def tables(**contents):
    """A maker of a folder of tables."""

    def make(folder):
        inner = folder / "data"
        inner.mkdir()
        for name, content in contents.items():
            (inner / f"{name}.csv").write_text(content)
        return inner

    return make


add("tables with different columns", tables(a=changed({}), b="q,w\n1,2\n"), "different columns: .*a.csv and .*b.csv")
add("test table without a target", tables(train=changed({}), test="x,z\n1,2\n"), unused=1)
add("test table is empty", tables(train=changed({}), test=""), "test.csv.*empty")
add("test table of other types", tables(train=changed({}), test="x,z,y\nfoo,2,red\n"))

# Paths -----------------------------------------------------------------------------------------------------------
add("nothing there", lambda folder: folder / "nothing.csv", "no such file")
add("a file as a folder", lambda folder: file("t.csv", "x")(folder) / "x", "cannot be read")
add("NUL in the path", lambda folder: f"{folder}/a\0b.csv", "cannot be read")
add("a path too long", lambda folder: f"{folder}/{'a' * 5_000}", "cannot be read")
add("no path", lambda folder: "", "path is empty")
add("a device", lambda folder: "/dev/zero", "neither a folder nor a regular file")


def pipe(folder):
    os.mkfifo(folder / "t.csv")
    return folder / "t.csv"


add("a pipe", pipe, "neither a folder nor a regular file")


def unreadable(folder):
    path = file("t.csv", changed({}))(folder)
    path.chmod(0)
    return path


if os.geteuid() != 0:  # the superuser may read everything
    add("unreadable file", unreadable, "may not be read")

# Objects of Python -----------------------------------------------------------------------------------------------
GOOD = {"x": list(NUMBERS[:40]), "y": [WORDS[i % 3] for i in range(40)]}
DUPLICATES = frame()
DUPLICATES.columns = ["x", "y", "y"]


class Odd:
    """Something nobody thought of."""

    def __str__(self):
        return "odd\ud800"


for name, data, error in [
    ("none", None, "cannot read rows from NoneType"),
    ("a number", 3, "cannot read rows from int"),
    ("an empty list", [], "empty"),
    ("an empty dictionary", {}, "empty"),
    ("an empty pandas table", pd.DataFrame(), "empty"),
    ("a pandas table without rows", frame().iloc[:0], "empty"),
    ("names twice", DUPLICATES, "column 'y'"),
    ("columns of different lengths", {"x": [1, 2], "y": [1]}, "column 'y'.*1 values.*column 'x' has 2"),
    ("a column that is none", {"x": 3}, "column 'x'"),
    ("a word for a column", {"x": "abc"}, "column 'x'"),
    ("rows of different lengths", [[1, 2], [1]], "different lengths"),
    ("one value", np.float64(3), "single value|cannot read rows"),
    ("five axes", np.zeros((2, 2, 2, 2, 2)), "shape"),
    ("complex numbers", {"x": np.ones(40) * 1j, "y": GOOD["y"]}, "column 'x'.*complex"),
    ("sparse", scipy.sparse.eye(40), "sparse"),
    ("y too short", (np.ones((40, 2)), [1, 2]), "X has 40 rows and y has 2"),
    ("y also in X", (frame(), frame()["y"]), "column 'y'.*in X and in y"),
    ("a generator", (i for i in range(3)), "cannot read rows from generator"),
    ("50,000 columns", np.zeros((20, 50_000)), "50,000 columns"),
    ("objects", {**GOOD, "o": [Odd()] * 39 + [None]}, None),
    ("mixed columns", {**GOOD, "m": [1, "a", None, 2.5] * 10}, None),
    ("huge numbers", {**GOOD, "m": [10**400, 1] * 20}, None),
    ("infinite numbers", {**GOOD, "m": [np.inf, np.nan] * 20}, None),
    ("columns with numbers for names", pd.DataFrame(np.random.default_rng(0).normal(size=(40, 3))), None),
    (
        "columns of several levels",
        pd.DataFrame(np.eye(40)[:, :2], columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])),
        None,
    ),
    (
        "time zones and durations",
        frame().assign(t=pd.date_range("2020", periods=40, tz="Asia/Tokyo"), d=pd.to_timedelta(range(40), "s")),
        None,
    ),
    ("arrays of objects", np.array([["a", 1.5], ["b", 2]] * 20, dtype=object), None),
    ("bytes", {**GOOD, "b": [b"abc", b"\xff"] * 20}, None),
]:
    OBJECTS.append(Case(f"object: {name}", lambda folder, data=data: data, error))
