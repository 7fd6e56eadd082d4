"""The codec: converts payloads to records and back, for one network and protocol version."""

from __future__ import annotations

import msgspec

from lbcproxy.wire.engine import ENGINES, Engine
from lbcproxy.wire.errors import BadPayload, BadRecord, UnknownCommand
from lbcproxy.wire.partial import Partial
from lbcproxy.wire.record import MessageRecord
from lbcproxy.wire.registry import record_of
from lbcproxy.wire.rules import MAX_CORE_PAYLOAD, MAX_PAYLOAD, Chain, Params, bound

__all__ = ["Codec"]

WITH_TRANSACTIONS = frozenset({"tx", "block", "cmpctblock", "blocktxn"})
"""The commands whose payload depends on the transaction encoding."""


class Codec:
    """Read and write payloads as a node of the network does at a protocol version. Immutable.

    Args:
        network: The network whose limits apply.
        protocol_version: The negotiated version; None for the network's own.
        encoding: That of transactions: "witness" (BIP144), "base", or "auto". "auto" reads the
            witness encoding; if that fails or leaves bytes over, it reads the base encoding if
            that uses every byte. It writes the witness encoding.
        engine: "native" where that is built, or "construct"; None for the fastest.

    Raises:
        ValueError: For an unknown encoding, or an engine that is not installed.
    """

    def __init__(
        self,
        network: Chain,
        protocol_version: int | None = None,
        encoding: str = "witness",
        engine: str | None = None,
    ) -> None:
        if encoding not in ("base", "witness", "auto"):
            raise ValueError(f"encoding {encoding!r} is not base, witness or auto")
        if engine is not None and engine not in ENGINES:
            raise ValueError(f"engine {engine!r} is not installed; there is: {', '.join(ENGINES)}")
        self.network = network
        self.protocol_version = (
            network.protocol_version if protocol_version is None else protocol_version
        )
        self.encoding = encoding
        self.engine = engine or next(iter(ENGINES))
        self.params = Params(network.rules, self.protocol_version, encoding != "base")
        self._base = msgspec.structs.replace(self.params, witness=False)
        self._engines: dict[tuple[str, bool], Engine] = {}

    def __setattr__(self, name: str, value: object) -> None:
        if hasattr(self, name):  # `vars` would slow down every later access
            raise AttributeError(f"a codec cannot be changed, so its {name} cannot be set")
        super().__setattr__(name, value)

    def decode(self, command: str, payload: bytes) -> MessageRecord:
        """Return the record of a payload.

        Raises:
            BadPayload: If the payload is invalid or longer than the command allows.
            UnknownCommand: If there is no record for the command.
        """
        payload = bytes(payload)
        record = record_of(command)
        if record is None:
            raise UnknownCommand(f"unknown command {command!r}")
        refusal = self.refusal(command, len(payload))
        if refusal is not None:
            raise BadPayload(refusal)
        if self.encoding == "auto" and command in WITH_TRANSACTIONS:
            return self._decode_auto(record, payload)
        return self._decode(record, payload, self.params)

    def decode_start(self, command: str, payload: bytes) -> MessageRecord:
        """Return the record at the start of a payload that is longer than the command allows.

        Bitcoin Core reads the fields and ignores what follows. That is in `trailing` here.

        Raises:
            BadPayload: If the fields are invalid, or Core takes no payload that is so long.
            UnknownCommand: If there is no record for the command.
        """
        record = record_of(command)
        if record is None:
            raise UnknownCommand(f"unknown command {command!r}")
        refusal = self.refusal(command, 0)
        if refusal is None and len(payload) > MAX_CORE_PAYLOAD:
            refusal = f"{len(payload)} bytes, at most {MAX_CORE_PAYLOAD} allowed"
        if refusal is not None:
            raise BadPayload(refusal)
        return self._decode(record, bytes(payload), self.params)

    def partial(self, command: str, payload: bytes) -> Partial | None:
        """Return the fields before the error, for a payload that `decode` rejects.

        A command that the protocol version does not have yet is read anyway. None if no
        field can be read, if there is no record for the command, or if the payload is too long.
        """
        payload = bytes(payload)
        record = record_of(command)
        if record is None or len(payload) > min(bound(record.maximum, self.params), MAX_PAYLOAD):
            return None
        return self._engine(record, self.params).partial(payload) or None

    def refusal(self, command: str, length: int) -> str | None:
        """Return why a payload of this length (bytes) is rejected unread; None if it is not.

        None for every unknown command as well.
        """
        record = record_of(command)
        if record is None:
            return None
        if self.protocol_version < record.since:
            return f"needs protocol version {record.since}, {self.protocol_version} was agreed"
        most = min(bound(record.maximum, self.params), MAX_PAYLOAD)
        if length > most:
            return f"{length} bytes, at most {most} allowed for {command}"
        return None

    def encode(self, record: MessageRecord) -> bytes:
        """Return the payload of a record, trailing bytes included.

        Raises:
            BadRecord: If a value cannot be encoded, or the payload would be too long.
        """
        if not isinstance(record, MessageRecord):
            raise BadRecord(f"{type(record).__name__} is not the record of a message")
        if not isinstance(record.trailing, bytes):
            raise BadRecord(f"{record.trailing!r} is not bytes", "trailing")
        payload = self._engine(type(record), self.params).encode(record) + record.trailing
        refusal = self.refusal(record.command, len(payload))
        if refusal is not None:
            raise BadRecord(refusal)
        return payload

    def _engine(self, record: type[MessageRecord], params: Params) -> Engine:
        key = (record.command, params.witness)
        engine = self._engines.get(key)
        if engine is None:
            engine = self._engines[key] = ENGINES[self.engine](record, params)
        return engine

    def _decode(self, record: type[MessageRecord], payload: bytes, params: Params) -> MessageRecord:
        value, used = self._engine(record, params).decode(payload)
        if used == len(payload):
            return value
        return msgspec.structs.replace(value, trailing=payload[used:])

    def _decode_auto(self, record: type[MessageRecord], payload: bytes) -> MessageRecord:
        """Try witness, then base: base misreads some cut payloads, so it must use every byte."""
        failure: BadPayload | None = None
        value: MessageRecord | None = None
        try:
            value = self._decode(record, payload, self.params)
        except BadPayload as error:
            failure = error
        if value is not None and not value.trailing:
            return value
        try:
            base = self._decode(record, payload, self._base)
        except BadPayload:
            base = None
        if base is not None and not base.trailing:
            return base
        if value is None:
            assert failure is not None
            raise failure
        return value
