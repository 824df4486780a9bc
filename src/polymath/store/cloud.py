"""Objects in a bucket: S3, GCS, Azure, or whatever else obstore speaks to (extra `cloud`).

For the objects and records of a store. One machine writes at a time while its folder keeps the catalogue; with that in
PostgreSQL several do.
"""

from __future__ import annotations

import datetime
import errno
import hashlib
import re
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from .disk import Buffer
from .errors import StoreError, SyncFailed, corrupt, missing
from .objects import ADDRESS, YOUNG_SECONDS, address_of, checked

T = TypeVar("T")
SECRET = re.compile(r"\?\S+|(?<=://)[^/@\s]*@")
"""What an address in a message may carry of a signature or a password."""


class Bucket:
    """Content-addressed objects under one prefix of a bucket (see `Objects`).

    >>> Store.open("knowledge", places=(Bucket(s3, "objects"), Bucket(s3, "records")))  # doctest: +SKIP

    What was put is as durable as the service says. An object is hashed after every download; one that is there already
    is told by its size, for services keep checksums of their own. No lock spans a bucket: `remove` looks at the age of
    an object and then deletes it, which a day to spare makes safe (`collect` waits that long beside others).
    """

    def __init__(self, bucket: Any, prefix: str, *, max_bytes: int | None = None) -> None:
        """`bucket`: a store of `obstore.store`; it brings credentials and retries. Larger objects are not read."""
        self._bucket, self._prefix, self._max_bytes = bucket, prefix.strip("/"), max_bytes
        self.failed: SyncFailed | None = None

    def put(self, chunks: Sequence[Buffer]) -> str:
        address = address_of(chunks)
        self.put_all({address: chunks})
        return address

    def put_all(self, objects: Mapping[str, Sequence[Buffer]]) -> None:
        for address, chunks in objects.items():
            data = b"".join(chunks)
            if self.size(address) != len(data) or not self.keep(address):
                self._put(address, data)

    def read(self, address: str) -> bytearray:
        def download() -> bytearray:
            found = obstore().get(self._bucket, self._name(address))
            if self._max_bytes is not None and found.meta["size"] > self._max_bytes:
                raise corrupt(address, f"it has more than {self._max_bytes} bytes")
            return bytearray(found.bytes())

        data = self._asked(download, address, "Reading")
        if data is None:
            raise missing(address)
        if hashlib.sha256(data).hexdigest() != address:
            raise corrupt(address, "its bytes do not hash to its address")
        return data

    def beginning(self, address: str, count: int) -> bytes:
        size = self.size(address)
        if size is None:
            raise missing(address)
        if not min(count, size):
            return b""

        def download() -> bytes:
            return bytes(obstore().get_range(self._bucket, self._name(address), start=0, length=min(count, size)))

        found = self._asked(download, address, "Reading")
        if found is None:
            raise missing(address)
        return found

    def size(self, address: str) -> int | None:
        about = self._about(address)
        return None if about is None else int(about["size"])

    def keep(self, address: str) -> bool:
        about = self._about(address)
        if about is None:
            return False
        if _age(about) > YOUNG_SECONDS / 2:  # copying an object onto itself is refused by some services
            self._put(address, bytes(self.read(address)))
        return True

    def shelves(self) -> dict[str, int]:
        """None: a service tells of changes by a listing only."""
        return {}

    def addresses(self, *, but: Collection[str] = ()) -> Iterator[str]:
        def names() -> list[str]:
            pages = obstore().list(self._bucket, prefix=self._prefix)
            return sorted(one["path"].rpartition("/")[2] for page in pages for one in page)

        found = self._asked(names, self._prefix, "Listing") or []
        yield from (name for name in found if ADDRESS.fullmatch(name) and name[:2] not in but)

    def remove(self, address: str, *, older_than: float = 0.0) -> bool:
        about = self._about(address)
        if about is not None and older_than > 0 and _age(about) < older_than:
            return False
        self._asked(lambda: obstore().delete(self._bucket, self._name(address)), address, "Removing")
        return True

    def set_aside(self, address: str) -> None:
        aside = f"quarantine/{address}.{secrets.token_hex(4)}"
        self._asked(lambda: obstore().rename(self._bucket, self._name(address), aside), address, "Setting aside")

    def forget_checks(self) -> None:
        """Nothing is remembered."""

    def _name(self, address: str) -> str:
        return f"{self._prefix}/{checked(address)[:2]}/{address}"

    def _put(self, address: str, data: bytes) -> None:
        if self._asked(lambda: obstore().put(self._bucket, self._name(address), data), address, "Writing") is None:
            raise StoreError(errno.ENOENT, f"Writing {address}: there is no such bucket any more.")

    def _about(self, address: str) -> Any:
        name = self._name(address)
        return self._asked(lambda: obstore().head(self._bucket, name), address, "Looking for")

    def _asked(self, call: Callable[[], T], what: str, doing: str) -> T | None:
        """What the service answers; None if it has no such object. Raises StoreError."""
        return answer(call, f"{doing} {what} in the bucket")


def answer(call: Callable[[], T], doing: str) -> T | None:
    """What the service answers; None if it has no such object. Raises StoreError, which repeats no secret."""
    try:
        return call()
    except FileNotFoundError:
        return None
    except StoreError:
        raise
    except (obstore().exceptions.BaseError, OSError) as error:
        refused = (obstore().exceptions.PermissionDeniedError, obstore().exceptions.UnauthenticatedError)
        if isinstance(error, (*refused, PermissionError)):
            raise StoreError(
                errno.EACCES, f"{doing}: this user may not do that. Check the credentials (docs/store.md)."
            ) from error
        if "404 Not Found" in str(error):  # how services tell of a listing without a bucket
            return None
        said = SECRET.sub("", str(error).partition("\n")[0])[:200]
        raise StoreError(
            getattr(error, "errno", None) or errno.EIO,
            f"{doing}: {said}. Check the address, the network and the credentials (docs/store.md).",
        ) from error


def _age(about: Mapping[str, Any]) -> float:
    """Seconds since an object was written, by the clock of the service and ours."""
    written: datetime.datetime = about["last_modified"]
    return (datetime.datetime.now(datetime.UTC) - written).total_seconds()


def obstore() -> Any:
    """The package, which is loaded when a bucket is used."""
    import obstore

    return obstore
