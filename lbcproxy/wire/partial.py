"""The fields that were read of a payload before the first invalid one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import msgspec

from lbcproxy.json_types import JsonObject
from lbcproxy.text import printable
from lbcproxy.wire.construct_types import FieldValue

__all__ = ["NotRead", "Partial"]

MAX_LISTED = 60
MAX_LISTED_FIELDS = 5


class NotRead(AttributeError):
    """A field after the one that could not be read."""


class PartialSchema(Protocol):
    """What a partial record needs of the schema of its class; `Schema` in `record.py` has it."""

    @property
    def fields(self) -> Mapping[str, object]:
        """The construct of each field."""

    def plain(self, record: Partial, /) -> JsonObject:
        """Return the fields as a JSON object."""


class Partial(Mapping[str, FieldValue]):
    """The fields of a record that could be read, as attributes or as entries.

    Values are those that the record would have. A list has the elements that were read completely.
    A nested record that was read in part is a `Partial` too.

        message.partial.reason
        message.partial["reason"]
        message.partial.to_dict()
    """

    def __init__(
        self, kind: type[msgspec.Struct], fields: Mapping[str, FieldValue], trailing: bytes = b""
    ) -> None:
        self.kind = kind
        """The class of the record."""
        self.trailing = trailing
        """Bytes after the last field, if all were read."""
        self._fields = dict(fields)

    def __getitem__(self, name: str) -> FieldValue:
        return self._fields[name]

    def __getattr__(self, name: str) -> FieldValue:
        fields = self.__dict__.get("_fields", {})
        try:
            return fields[name]
        except KeyError:
            raise NotRead(f"{name!r} was not read") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.items())
        return f"<Partial {self.kind.__name__}({fields})>"

    def to_dict(self) -> JsonObject:
        """Return the fields in the form of the record's own `to_dict`, without computed entries."""
        return _schema_of(self.kind).plain(self)

    def summary(self) -> str:
        """Return the record's own summary if it needs no missing field, otherwise the fields."""
        try:
            summary = str(self.kind.summary(_Summarized(self)))  # type: ignore[attr-defined]
        except Exception:  # it reads a field that is missing
            summary = ""
        return summary or _listed(self.to_dict())


class _Summarized:
    """A partial record with the attributes of a complete one; absent optional fields are None."""

    def __init__(self, partial: Partial) -> None:
        self._partial = partial

    def __getattr__(self, name: str) -> FieldValue:
        kind = self._partial.kind
        if name in self._partial:
            return self._partial[name]
        field = _schema_of(kind).fields.get(name)
        if field is None:
            derived = getattr(kind, name)
            return derived.__get__(self) if hasattr(derived, "__get__") else derived
        if not hasattr(field, "sibling"):
            raise NotRead(f"{name!r} was not read")
        return None  # such as the hash of a reject: the fields before it suffice for the summary


def _schema_of(kind: type[msgspec.Struct]) -> PartialSchema:
    # `Record` has it, but cannot be named here: records import this module.
    schema: PartialSchema = kind.schema  # type: ignore[attr-defined]
    return schema


def _listed(fields: Mapping[str, FieldValue]) -> str:
    """Return the first few fields as text."""
    found = []
    for name, value in fields.items():
        if isinstance(value, list):
            found.append(f"{len(value)} {name}")
        elif isinstance(value, dict):
            found.append(f"{name} ({_listed(value)})")
        elif value is not None and name.removesuffix("_hex") not in fields.keys() - {name}:
            found.append(f"{name} {printable(str(value), MAX_LISTED)}")
    return ", ".join(found[:MAX_LISTED_FIELDS])
