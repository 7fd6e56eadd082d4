"""What was read of a payload before a field of it refused to be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lbcproxy.text import printable

if TYPE_CHECKING:
    from lbcproxy.wire.record import Record

__all__ = ["NotRead", "Partial"]

MAX_LISTED = 60
MAX_LISTED_FIELDS = 5


class NotRead(AttributeError):
    """A field that comes after the one that could not be read."""


class Partial(Mapping[str, Any]):
    """The fields of a record that were read, by name, as attributes or as entries.

    Values are those that the record would have. A list holds the elements that were read whole; a
    record that ends within its fields is a `Partial` too.

        message.partial.reason
        message.partial["reason"]
        message.partial.to_dict()
    """

    def __init__(
        self, kind: type[Record], fields: Mapping[str, Any], trailing: bytes = b""
    ) -> None:
        self.kind = kind
        """The class of the record."""
        self.trailing = trailing
        """Bytes behind the last field, if all were read."""
        self._fields = dict(fields)

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __getattr__(self, name: str) -> Any:
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

    def to_dict(self) -> dict[str, Any]:
        """Return the fields in the form of the record's own `to_dict`, without derived ones."""
        return self.kind.schema.plain(self)

    def summary(self) -> str:
        """Return what the record's own summary says if that can be had, otherwise the fields."""
        try:
            words = str(self.kind.summary(_Summarised(self)))  # type: ignore[attr-defined]
        except Exception:  # it asks for what was not read
            words = ""
        return words or _listed(self.to_dict())


class _Summarised:
    """A partial record as a record's own code sees it: a field not of all such records is None."""

    def __init__(self, partial: Partial) -> None:
        self._partial = partial

    def __getattr__(self, name: str) -> Any:
        kind = self._partial.kind
        if name in self._partial:
            return self._partial[name]
        field = kind.schema.fields.get(name)
        if field is None:
            derived = getattr(kind, name)
            return derived.__get__(self) if hasattr(derived, "__get__") else derived
        if not hasattr(field, "sibling"):
            raise NotRead(f"{name!r} was not read")
        return None  # as of a reject without a hash: what stands before it says all the same


def _listed(fields: Mapping[str, Any]) -> str:
    """Return the first few fields as words."""
    found = []
    for name, value in fields.items():
        if isinstance(value, list):
            found.append(f"{len(value)} {name}")
        elif isinstance(value, dict):
            found.append(f"{name} ({_listed(value)})")
        elif value is not None and name.removesuffix("_hex") not in fields.keys() - {name}:
            found.append(f"{name} {printable(str(value), MAX_LISTED)}")
    return ", ".join(found[:MAX_LISTED_FIELDS])
