"""The growing model on disk: immutable content-addressed objects and records, and an index that can be made anew.

It knows bytes, tensors, JSON and names. It must not know layers, features or problems. The format is in docs/store.md.
"""

from .catalogue import Damaged, Lease
from .errors import CorruptObject, MissingObject, StoreError, SyncFailed
from .records import Draft, Record
from .store import Store
from .verify import Fault, Finding, RebuildReport, VerifyReport, rebuild, verify

__all__ = [
    "CorruptObject",
    "Damaged",
    "Draft",
    "Fault",
    "Finding",
    "Lease",
    "MissingObject",
    "RebuildReport",
    "Record",
    "Store",
    "StoreError",
    "SyncFailed",
    "VerifyReport",
    "rebuild",
    "verify",
]
