"""A fault as it is configured: its kind with attributes, in which stream, how likely, and when."""

from __future__ import annotations

import difflib
from random import Random
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from lbcproxy.faults.kind import Kind, all_kinds

__all__ = ["STREAMS", "BadFault", "Fault", "random_of"]

STREAMS = ("upstream", "downstream")


class BadFault(ValueError):
    """A fault that cannot be; `path` says which of its settings is wrong."""

    def __init__(self, path: str, what: str) -> None:
        self.path = path
        self.what = what
        super().__init__(f"{path}: {what}")


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault of a proxy, as toxiproxy has it, and with a schedule.

    Whoever makes one hears of what is wrong by BadFault, or by msgspec's ValidationError.
    """

    type: Annotated[str, Meta(description="what it does; see the table")]
    name: Annotated[str, Meta(description="what it is called; TYPE_STREAM if left out")] = ""
    stream: Annotated[
        Literal["upstream", "downstream"],
        Meta(description="which way: to the upstream, or from it to the client"),
    ] = "downstream"
    toxicity: Annotated[
        float, Meta(ge=0, le=1, description="how likely it is to act on a session, from 0 to 1")
    ] = 1.0
    attributes: Annotated[Any, Meta(description="the attributes of the type")] = msgspec.field(
        default_factory=dict
    )
    after_bytes: Annotated[
        int, Meta(ge=0, description="let so many bytes of the stream pass first")
    ] = 0
    from_seconds: Annotated[
        float,
        Meta(ge=0, description="begin so long after the upstream is there, or the fault was added"),
    ] = 0.0
    for_seconds: Annotated[float | None, Meta(description="act only so long; null is for ever")] = (
        None
    )

    def __post_init__(self) -> None:
        kinds = all_kinds()
        if self.type not in kinds:
            near = difflib.get_close_matches(self.type, kinds, 1)
            words = f"did you mean {near[0]}?" if near else f"there are {', '.join(kinds)}"
            raise BadFault("type", f"{self.type!r} is no type of fault, {words}")
        if self.for_seconds is not None and not self.for_seconds > 0:
            raise BadFault("for_seconds", "a time above 0 is expected")
        if "/" in self.name:
            raise BadFault("name", f"{self.name!r} has a slash in it")
        name = self.name or f"{self.type}_{self.stream}"
        msgspec.structs.force_setattr(self, "name", name)
        if not isinstance(self.attributes, Kind):
            made = _attributes(kinds[self.type], self.attributes)
            msgspec.structs.force_setattr(self, "attributes", made)

    @property
    def kind(self) -> Kind:
        """Its attributes, which know what to do."""
        made: Kind = self.attributes
        return made

    def __str__(self) -> str:
        given = msgspec.structs.asdict(self.kind)
        for field in msgspec.structs.fields(self)[5:]:  # the schedule
            if (value := getattr(self, field.name)) != field.default:
                given[field.name] = value
        if self.toxicity < 1:
            given["toxicity"] = self.toxicity
        words = ", ".join(f"{name} {value}" for name, value in given.items())
        return f"{self.name} ({words})"


def random_of(seed: int, session: int, fault: Fault) -> Random:
    """Give a fault its chances in one session: the same each time the same traffic passes."""
    return Random(f"{seed}/{session}/{fault.stream}/{fault.name}")  # noqa: S311  # no secret


def _attributes(kind: type[Kind], given: Any) -> Kind:
    if not isinstance(given, dict):
        raise BadFault("attributes", "attributes with their values are expected")
    fields = kind.__struct_fields__
    for name in given:
        if name not in fields:
            near = difflib.get_close_matches(str(name), fields, 1)
            words = f"did you mean {near[0]}?" if near else f"there are {', '.join(fields)}"
            raise BadFault(f"attributes.{name}", f"{kind.type} has no such attribute, {words}")
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        name, colon, rest = what.partition(": ")
        if not where and colon and name in fields:  # of two attributes together
            where, what = name, rest
        path = f"attributes.{where.rstrip('`')}" if where else "attributes"
        raise BadFault(path, what) from None
