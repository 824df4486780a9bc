"""A store at an address: `s3://bucket/prefix`, `gs://`, `az://`, or `file:///folder` for a folder used like a bucket.

What matters lies there, in the layout of a store in a folder: FORMAT, objects, records, and the note that says where
the catalogue is. What can be made again (catalogue, leases, scratch stores) lies in a folder of this machine.
"""

from __future__ import annotations

import datetime
import hashlib
import os
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from ..spec import BadInput, printable
from . import place, records
from .cloud import Bucket, answer, obstore
from .errors import StoreError
from .place import Format

SCHEMES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "file")
REMEDY = "Name a folder, or a bucket: s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, file:///folder."
RETRY: Any = {"max_retries": 4, "retry_timeout": datetime.timedelta(seconds=30)}
"""A service that is not there is named within half a minute."""


def is_address(store: str | os.PathLike[str]) -> bool:
    """Whether this names a store by an address, and not by a folder."""
    return isinstance(store, str) and "://" in store


class Remote:
    """The part of a store that lies in a bucket."""

    def __init__(self, url: str, *, create: bool, name: str | None = None) -> None:
        """Look at it, or make it a store, of that name. Raises BadInput for what a user can mend, StoreError."""
        self.url = url.rstrip("/")
        self._bucket = _connected(_checked(self.url), self.url, create=create)
        self.objects = Bucket(self._bucket, "objects")
        self.records = Bucket(self._bucket, "records", max_bytes=records.MAX_RECORD_BYTES)
        found = self._format()
        if found is None and not create:
            raise BadInput("there is no store here", file=self.url, remedy="Learn a task first, or name another store.")
        self.format = found or self._create(name)

    @property
    def folder(self) -> Path:
        """Where this machine keeps what can be made again; another one for another store under the same address."""
        named = hashlib.sha256(f"{self.url}\n{self.format.store}".encode()).hexdigest()[:32]
        return Path.home() / ".cache" / "polymath" / "stores" / named

    def noted(self) -> str | None:
        """Where the store keeps its catalogue, if not on each machine. Raises BadInput."""
        text = self._read(place.NOTE)
        return None if text is None else place.parsed_note(text, file=f"{self.url}/{place.NOTE}")

    def note(self, catalogue: str | None) -> None:
        """Remember where the catalogue is from now on, for every machine. Raises StoreError."""
        if catalogue is not None:
            self._write(place.NOTE, place.note_text(catalogue))
        else:
            answer(lambda: obstore().delete(self._bucket, place.NOTE), f"Writing {self.url}/{place.NOTE}")

    def _format(self) -> Format | None:
        text = self._read("FORMAT")
        return None if text is None else place.parsed(text, file=f"{self.url}/FORMAT")

    def _create(self, name: str | None) -> Format:
        """Write FORMAT, unless another process was first."""

        def first() -> list[Any]:
            return list(next(iter(obstore().list(self._bucket, chunk_size=1)), ()))

        found = answer(first, f"Listing {self.url}")
        if found is None:
            raise BadInput("there is no such bucket", file=self.url, remedy="Make it with your provider's tools first.")
        if found:
            raise BadInput(
                "holds other things, and is not a store", file=self.url, remedy="Name a prefix with nothing in it."
            )
        fresh = place.fresh_format(name)
        self._write("FORMAT", place.format_text(fresh), mode="create")
        return self._format() or fresh

    def _read(self, name: str) -> bytes | None:
        return answer(lambda: bytes(obstore().get(self._bucket, name).bytes()), f"Reading {self.url}/{name}")

    def _write(self, name: str, data: bytes, *, mode: str = "overwrite") -> None:
        def put() -> bool:
            try:
                obstore().put(self._bucket, name, data, mode=mode)
            except obstore().exceptions.AlreadyExistsError:
                return False
            return True

        answer(put, f"Writing {self.url}/{name}")


def copy_of(url: str, name: str) -> Remote:
    """A place for a copy of the store of that name. Raises BadInput if another store is there, StoreError."""
    found = Remote(url, create=True, name=name)
    place.same_store(found.format, name, file=found.url)
    return found


def _checked(url: str) -> SplitResult:
    """The parts of an address that a store can have. What may be a secret is not repeated. Raises BadInput."""
    try:
        parts = urlsplit(url)
        secret = parts.password is not None or (parts.scheme in ("s3", "s3a", "gs") and parts.username is not None)
    except ValueError:
        raise BadInput("the address of the store cannot be read", remedy=REMEDY) from None
    if secret or parts.query or parts.fragment:
        raise BadInput(
            "the address of the store holds a password, a key or settings, which would be shown wherever it is named",
            remedy="Give credentials as your provider's tools read them: AWS_ACCESS_KEY_ID ... (docs/store.md).",
        )
    shown = printable(url, limit=200)
    if parts.scheme == "memory":
        raise BadInput("what is kept in memory ends with the command", file=shown, remedy=REMEDY)
    if parts.scheme in ("postgresql", "postgres"):
        raise BadInput(
            "is the address of a catalogue, and a store needs a place for its objects too",
            file=shown,
            remedy="Name a folder or a bucket, then: polymath rebuild --catalogue postgresql://... --store PLACE.",
        )
    if parts.scheme not in SCHEMES:
        raise BadInput("is no kind of place for a store", file=shown, value=parts.scheme, remedy=REMEDY)
    if (parts.netloc not in ("", "localhost")) if parts.scheme == "file" else not parts.netloc:
        raise BadInput("is no address of a bucket", file=shown, remedy=REMEDY)
    return parts


def _connected(parts: SplitResult, url: str, *, create: bool) -> Any:
    """The bucket, as obstore has it. Credentials are those that the environment of the process names."""
    try:
        from obstore import store as buckets
    except ImportError:
        raise BadInput(
            "is in a bucket, and obstore is not installed",
            file=url,
            remedy='Install it: pip install "polymath-learn[cloud]".',
        ) from None
    if parts.scheme != "file":
        try:
            return buckets.from_url(url, retry_config=RETRY)
        except (obstore().exceptions.BaseError, ValueError) as error:
            said = str(error).partition("\n")[0]
            raise BadInput(f"cannot be used: {printable(said, limit=200)}", file=url, remedy=REMEDY) from None
    folder = Path(unquote(parts.path))
    if not create and not folder.is_dir():
        raise BadInput("there is no store here", file=url, remedy="Learn a task first, or name another store.")
    made = answer(lambda: buckets.LocalStore(folder, mkdir=True), f"Opening {url}")
    if made is None:
        raise StoreError(2, f"Opening {url}: there is no such folder.")
    return made
