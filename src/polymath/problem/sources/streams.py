"""Bytes of a file as UTF-8 text, whatever it was written in, and never more than is sane."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...spec import BadInput

SAMPLE_BYTES = 1 << 18
MOST_EXPANSION = 200
"""A compressed file may grow this many times (texts grow 3 to 20 times), beyond the first gigabyte."""
FREE_EXPANSION_BYTES = 1 << 30
DAMAGED = "\N{REPLACEMENT CHARACTER}"


def is_gzip(path: Path) -> bool:
    """Whether the file is compressed, by its first bytes."""
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


@contextmanager
def open_text(path: Path, encoding: str = "utf-8") -> Iterator[Utf8]:
    """The file as a stream of UTF-8 bytes."""
    compressed = is_gzip(path)
    with gzip.open(path, "rb") if compressed else path.open("rb") as raw:
        limit = FREE_EXPANSION_BYTES + MOST_EXPANSION * path.stat().st_size if compressed else None
        yield Utf8(raw, path, encoding=encoding, limit=limit)


class Utf8:
    """A stream for pyarrow: `read(n)` gives UTF-8 bytes. Bytes that mean nothing in `encoding` become DAMAGED."""

    closed = False

    def __init__(self, raw: gzip.GzipFile | io.BufferedReader, path: Path, *, encoding: str, limit: int | None) -> None:
        self.raw, self.path, self.limit, self.given = raw, path, limit, 0
        plain = encoding == "utf-8"
        self.decoder = None if plain else codecs.getincrementaldecoder(encoding)(errors="replace")
        self.first = True

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """At most about `size` bytes; none at the end. Raises BadInput for a damaged or absurd archive."""
        while True:
            data = self._read_raw(size)
            if self.decoder is None:
                result = data
            else:
                result = self.decoder.decode(data, final=not data).encode("utf-8", "replace")
            if self.first and result:
                self.first = False
                result = result.removeprefix(codecs.BOM_UTF8)
            if result or not data:
                return result

    def close(self) -> None:
        self.closed = True

    def _read_raw(self, size: int) -> bytes:
        try:
            data = self.raw.read(size)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise BadInput(
                f"the compressed file is damaged: {error}", file=self.path, remedy="Compress or copy it again."
            ) from error
        self.given += len(data)
        if self.limit is not None and self.given > self.limit:
            raise BadInput(
                f"the compressed file grows more than {MOST_EXPANSION} times, which no honest table does",
                file=self.path,
                remedy="Unpack it yourself if you trust it.",
            )
        return data


def sample(path: Path) -> bytes:
    """The first bytes of the content, unpacked."""
    with open_text(path, "latin-1") as stream:
        text = b"".join(iter(lambda: stream.read(SAMPLE_BYTES) if stream.given < SAMPLE_BYTES else b"", b""))
    return text.decode("utf-8").encode("latin-1")


def find_encoding(path: Path) -> str:
    """Encoding of a text file.

    One of 'utf-8', 'utf-8-damaged', 'utf-16' and 'utf-32' (with their marks), 'utf-16-le', 'utf-16-be', 'latin-1'.
    'utf-8-damaged' is UTF-8 with some bytes that are not; read it with errors replaced. Reads the file once.
    """
    head = sample(path)
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if head[:2000].count(0) > 0.3 * len(head[:2000]):
        return "utf-16-le" if head[1:2000:2].count(0) > head[0:2000:2].count(0) else "utf-16-be"
    good = bad = 0
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    with open_text(path) as stream:
        while data := stream.read(1 << 22):
            if data.isascii():
                continue
            text = decoder.decode(data)
            wrong = max(text.count(DAMAGED) - data.count(DAMAGED.encode()), 0)  # some texts hold the character itself
            bad += wrong
            if bad or good < 1_000:
                good += sum(c > "\x7f" for c in text) - wrong
    if not bad:
        return "utf-8"
    return "utf-8-damaged" if good >= bad else "latin-1"
