"""Frozen, validated descriptions <-> canonical JSON <-> digest.

Every room speaks in `Spec`s: keyword-only, immutable, every field JSON-able, unknown fields refused. The canonical JSON
(sorted keys, no blanks, no NaN) is what is stored and hashed, so equal descriptions have equal digests on any machine.
This room imports nothing else of ours.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from typing import Any, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, ValidationError

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None


class BadInput(ValueError):
    """Something the user can mend: says where it is, what was found and what to do next.

    The command line prints it as one line and exits with code 2; a Python user catches it as a `ValueError`.
    """

    def __init__(
        self,
        what: str,
        *,
        file: object = None,
        row: int | None = None,
        column: str | None = None,
        value: object = None,
        remedy: str = "",
    ) -> None:
        self.what, self.file, self.row, self.column = what, file, row, column
        self.value, self.remedy = value, remedy
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        where = []
        if self.file is not None:
            where.append(printable(str(self.file), limit=300))
        if self.row is not None:
            where.append(f"row {self.row}")
        if self.column is not None:
            where.append(f"column {printable(repr(self.column))}")
        text = f"{', '.join(where)}: {self.what}" if where else self.what
        if self.value is not None:
            text += f" (got {printable(repr(self.value))})"
        text = text.rstrip(".") + "."
        return f"{text} {self.remedy}".strip()


def printable(text: str, *, limit: int = 80) -> str:
    """`text` as one line that cannot disturb a terminal, cut to `limit` characters."""
    safe = "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text[: limit + 1]
    )
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"


class Spec(BaseModel):
    """A description: frozen, keyword-only, validated once, equal by value."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, ser_json_inf_nan="strings")

    def to_json(self) -> str:
        """Canonical JSON: the same text for equal specs."""
        return canonical(self.model_dump(mode="json"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        return cls.model_validate(loads(text))

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON, 64 hexadecimal digits."""
        return sha256(self.to_json().encode())

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, validated again."""
        return type(self).model_validate({**{name: getattr(self, name) for name in type(self).model_fields}, **changes})


def canonical(value: Any) -> str:
    """Canonical JSON text of plain data. Raises ValueError on NaN or infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def loads(text: str | bytes) -> Any:
    """Strict JSON: no NaN or infinity, no duplicate keys. Raises ValueError."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise ValueError("JSON object names a key twice")
        return result

    def refuse(name: str) -> float:
        raise ValueError(f"JSON holds {name}, which is not a number")

    return json.loads(text, object_pairs_hook=unique, parse_constant=refuse)


def sha256(data: bytes | bytearray | memoryview) -> str:
    """SHA-256 of bytes, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def plain(value: Any) -> Any:
    """Plain JSON data from numbers of numpy and the like: NaN and infinity become None."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


# What people write for amounts ------------------------------------------------------------------------------------
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES = {
    "": 1,
    "K": 1000,
    "M": 1000**2,
    "G": 1000**3,
    "T": 1000**4,
    "KI": 2**10,
    "MI": 2**20,
    "GI": 2**30,
    "TI": 2**40,
}


def first_fault(error: ValidationError) -> tuple[str, str, Any]:
    """Of what pydantic found wrong the first: the field with dots, what is wrong with it, and its value."""
    first = error.errors(include_url=False, include_context=False)[0]
    return ".".join(str(part) for part in first["loc"]), first["msg"].removeprefix("Value error, "), first["input"]


def seconds(text: str | float) -> float:
    """'90s', '10m', '2h', '1h30m' or a number of seconds. Raises BadInput."""
    if isinstance(text, (int, float)) or re.fullmatch(r"\d+(\.\d+)?", text.strip()):
        value = float(text)
    else:
        parts = re.findall(r"(\d+(?:\.\d+)?)\s*([smhd])", text.strip().lower())
        if not parts or "".join(n + u for n, u in parts) != re.sub(r"\s+", "", text.strip().lower()):
            raise BadInput("is not a time", value=text, remedy="Give for example 60s, 10m or 2h.")
        value = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if not 0 < value < 1e9:
        raise BadInput("a budget must be longer than nothing", value=text, remedy="Give for example 60s, 10m or 2h.")
    return value


def num_bytes(text: str | int) -> int:
    """'4GB', '500MiB' or a number of bytes. Raises BadInput."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?\s*", str(text).upper())
    if match is None or float(match[1]) <= 0:
        raise BadInput("is not an amount of memory", value=text, remedy="Give for example 4GB or 500MB.")
    return int(float(match[1]) * _SIZES[match[2]])
