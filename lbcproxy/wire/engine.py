"""The construct engine: read and write payloads with construct's own interpreter.

An engine has a `decode` and an `encode` of one record class; it is the one place where errors
of fields become errors of payloads. The native engine (DESIGN 4) will stand beside it with the
same two methods.
"""

from __future__ import annotations

from io import BytesIO

from lbcproxy.wire.errors import BadPayload, BadRecord, FieldError
from lbcproxy.wire.record import MessageRecord, build, parse
from lbcproxy.wire.rules import Params

__all__ = ["ENGINES", "ConstructEngine"]


class ConstructEngine:
    """Read and write the payloads of one record class under fixed parameters."""

    def __init__(self, record: type[MessageRecord], params: Params) -> None:
        self._layout = record.schema
        self._params = params

    def decode(self, payload: bytes) -> tuple[MessageRecord, int]:
        """Give the record and how many bytes it took; raises BadPayload."""
        stream = BytesIO(payload)
        try:
            record = parse(self._layout, stream, self._params)
        except FieldError as error:
            offset = error.offset or 0
            raise BadPayload(error.what, error.where, offset, cut_short=error.cut_short) from None
        return record, stream.tell()

    def encode(self, record: MessageRecord) -> bytes:
        """Give the payload, without trailing bytes; raises BadRecord."""
        try:
            return build(self._layout, record, self._params)
        except FieldError as error:
            raise BadRecord(error.what, error.where) from None


ENGINES = {"construct": ConstructEngine}
"""Every engine there is on this machine, by its name; the first is the default."""
