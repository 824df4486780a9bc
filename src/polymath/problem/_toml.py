"""Writing TOML, which Python only reads: as much of it as a problem file has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def text(data: Mapping[str, Any]) -> str:
    """TOML of plain data: values first, then tables and lists of tables. None, which TOML cannot say, is left out."""
    lines = [
        f"{_key(name)} = {_value(value)}" for name, value in data.items() if not _is_table(value) and value is not None
    ]
    for name, value in data.items():
        if isinstance(value, Mapping):
            lines += ["", f"[{_key(name)}]", *_pairs(value)]
        elif _is_table(value):
            for one in value:
                lines += ["", f"[[{_key(name)}]]", *_pairs(one)]
    return "\n".join(lines) + "\n"


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and bool(value) and isinstance(value[0], Mapping))


def _pairs(table: Mapping[str, Any]) -> list[str]:
    return [f"{_key(name)} = {_value(value)}" for name, value in table.items() if value is not None]


def _key(name: str) -> str:
    return name if name.isascii() and name.replace("_", "").replace("-", "").isalnum() else _string(name)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(_pairs(value)) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(one) for one in value) + "]"
    return _string(value) if isinstance(value, str) else json.dumps(value, allow_nan=False)


def _string(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
