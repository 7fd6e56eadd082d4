"""Hypothesis strategies made from the declarations of the messages."""

import functools
from typing import Any

from hypothesis import strategies as st

from lbcproxy.wire.fields import CompactSize, Fixed, Many, VarBytes
from lbcproxy.wire.messages.headers import Bare
from lbcproxy.wire.messages.transactions import Elsewhere
from lbcproxy.wire.optional import Extension, IfChain, OptionalTail, Since, When
from lbcproxy.wire.record import Layout, MessageRecord
from lbcproxy.wire.rules import Params, bound

MOST = 4  # entries of a list; long lists are the vectors' business
RANGES = {"B": (0, 2**8 - 1), "H": (0, 2**16 - 1), "L": (0, 2**32 - 1), "Q": (0, 2**64 - 1)}
RANGES |= {"l": (-(2**31), 2**31 - 1), "q": (-(2**63), 2**63 - 1)}


def records(record: type[MessageRecord], params: Params) -> st.SearchStrategy[MessageRecord]:
    """Return records of a class as they can be sent under some parameters."""
    return layout(record.schema, params).filter(is_sound)


def is_sound(record: MessageRecord) -> bool:
    try:
        record.check()
    except Exception:
        return False
    return True


@functools.singledispatch
def values(field: Any, params: Params) -> st.SearchStrategy[Any]:
    """Return values of a field."""
    if type(field).__name__ == "Flag":
        return st.booleans()
    low, high = RANGES[field.fmtstr[1:]]
    return st.integers(low, high) | st.sampled_from((low, high, 0, 1))


def layout(fields: Layout, params: Params) -> st.SearchStrategy[Any]:
    parts = [values(field, params) for field in fields.fields.values()]
    whole = st.tuples(*parts).map(lambda each: tails_off(fields, each))
    return whole.map(lambda each: fields.record(*each))


def tails_off(fields: Layout, each: tuple[Any, ...]) -> tuple[Any, ...]:
    """Hold to what the wire can say: nothing after an absent tail, `When` as its sibling says."""
    result: dict[str, Any] = {}
    ended = False
    for (name, field), value in zip(fields.fields.items(), each, strict=True):
        kept = value
        if isinstance(field, OptionalTail):
            ended = ended or value is None
            kept = None if ended else value
        elif isinstance(field, When) and result[field.sibling] not in field.values:
            kept = None
        result[name] = kept
    return tuple(result.values())


@values.register
def _(field: Layout, params: Params) -> st.SearchStrategy[Any]:
    return layout(field, params).filter(is_sound)


@values.register
def _(field: Bare, params: Params) -> st.SearchStrategy[Any]:
    return values(field.subcon, params)


@values.register
def _(field: Elsewhere, params: Params) -> st.SearchStrategy[Any]:
    return values(field.subcon, params) if params.witness else st.just(())


@values.register
def _(field: Since, params: Params) -> st.SearchStrategy[Any]:
    there = params.protocol_version >= field.version
    return values(field.subcon, params) if there else st.none()


@values.register
def _(field: IfChain, params: Params) -> st.SearchStrategy[Any]:
    return values(field.subcon, params) if getattr(params.rules, field.rule) else st.none()


@values.register
def _(field: Extension, params: Params) -> st.SearchStrategy[Any]:
    """Only what may stand anywhere: other data of a transaction end with its message."""
    there = getattr(params.rules, field.rule) and params.witness
    return st.sampled_from((None, b"\0")) if there else st.none()


@values.register
def _(field: When, params: Params) -> st.SearchStrategy[Any]:
    return values(field.subcon, params)


@values.register
def _(field: OptionalTail, params: Params) -> st.SearchStrategy[Any]:
    return values(field.subcon, params) | st.none()


@values.register
def _(field: Many, params: Params) -> st.SearchStrategy[Any]:
    most = min(bound(field.limit, params), MOST)
    return st.lists(values(field.subcon, params), max_size=most).map(tuple)


@values.register
def _(field: CompactSize, params: Params) -> st.SearchStrategy[Any]:
    small = st.integers(0, 0x10000)
    return small | st.integers(0, 2**64 - 1) | st.sampled_from((0xFC, 0xFD, 0xFFFF, 2**32))


@values.register
def _(field: VarBytes, params: Params) -> st.SearchStrategy[Any]:
    most = min(bound(field.limit, params), 300)
    return st.binary(max_size=most) | st.sampled_from((b"tx", b"block", b""))


@values.register
def _(field: Fixed, params: Params) -> st.SearchStrategy[Any]:
    return st.binary(min_size=field.size, max_size=field.size)
