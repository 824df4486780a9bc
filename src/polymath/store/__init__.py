"""The growing model on disk: immutable content-addressed objects and records, and an index that can be made anew.

It knows bytes, tensors, JSON and names. It must not know layers, features or problems. The format is in docs/store.md.
"""

from .backup import Copied, backup, copy
from .catalogue import Lease
from .collect import Collected, Forgotten, collect, forget
from .database import Damaged
from .errors import CorruptObject, MissingObject, StoreError, SyncFailed
from .merge import Merged, is_plain_name, merge
from .records import Draft, Record
from .store import Store
from .verify import Fault, Finding, RebuildReport, VerifyReport, rebuild, verify

__all__ = [
    "Collected",
    "Copied",
    "CorruptObject",
    "Damaged",
    "Draft",
    "Fault",
    "Finding",
    "Forgotten",
    "Lease",
    "Merged",
    "MissingObject",
    "RebuildReport",
    "Record",
    "Store",
    "StoreError",
    "SyncFailed",
    "VerifyReport",
    "backup",
    "collect",
    "copy",
    "forget",
    "is_plain_name",
    "merge",
    "rebuild",
    "verify",
]
