"""Transactions, in both encodings. lbcd `wire/msgtx.go`; BIP144 (witness).

Transactions of Litecoin may have data of a MimbleWimble extension block (MWEB), which is not
parsed: Litecoin Core `primitives/transaction.h`.
"""

from __future__ import annotations

from io import BytesIO
from typing import Annotated, ClassVar

import msgspec
from construct import ConstructError, Subconstruct

from lbcproxy.json_types import JsonObject, JsonValue
from lbcproxy.text import unix_time
from lbcproxy.wire.construct_types import Context, FieldValue
from lbcproxy.wire.engine import bytes_of
from lbcproxy.wire.errors import FieldError
from lbcproxy.wire.fields import (
    COMPACT_SIZE,
    Hash,
    Int32,
    Int64,
    Many,
    Rest,
    Script,
    UInt32,
    VarBytes,
    check_limit,
    plain,
    read_exactly,
)
from lbcproxy.wire.hashes import display, sha256d
from lbcproxy.wire.optional import Extension
from lbcproxy.wire.partial import Partial
from lbcproxy.wire.record import Layout, MessageRecord, Record, at_most
from lbcproxy.wire.rules import ANY_CHAIN, MAX_PAYLOAD, ByChain, ChainRules, Limit, Params

__all__ = ["HOGEX", "Tx", "TxIn", "TxOut", "mweb_summary"]

WITNESS, MWEB = 1, 8
"""Bits of the flag that follows the marker."""
HOGEX = b"\0"
"""The MWEB data of the transaction that sums up a block's MWEB: none of its own."""

LOCK_TIME_THRESHOLD = 500_000_000
"""Lock times below this are block heights, others Unix seconds."""
MAX_INPUTS = MAX_PAYLOAD // 41 + 1
MAX_OUTPUTS = MAX_PAYLOAD // 9 + 1


class Elsewhere(Subconstruct):
    """A field that is encoded outside its record; `TransactionLayout` reads and writes it."""

    def _parse(self, stream: BytesIO, context: Context, path: str) -> tuple[FieldValue, ...]:
        return ()

    def _build(self, value: FieldValue, stream: BytesIO, context: Context, path: str) -> object:
        return value

    needs_siblings = False

    def plain(self, value: FieldValue) -> JsonValue:
        """Return the field's value as JSON."""
        return plain(self.subcon, value)


class TxIn(Record, frozen=True, gc=False):
    """An input: the output it spends, and the scripts that authorize it.

    On the wire, the witness follows all outputs of the transaction. Empty if there is none.
    """

    prev_hash: Hash
    prev_index: UInt32
    script_sig: Script
    sequence: UInt32
    witness: Annotated[
        tuple[bytes, ...],
        Elsewhere(Many(VarBytes(ByChain("witness_item")), ByChain("witness_items"))),
    ] = ()


class TxOut(Record, frozen=True, gc=False):
    """An output: an amount in base units and the script that locks it."""

    value: Int64
    script_pubkey: Script


class TransactionLayout(Layout):
    """A transaction; with a marker (00) and a flag (01), the witnesses follow the outputs.

    The rules are those of lbcd `MsgTx.BtcDecode`: in the witness encoding, an input count of zero
    is the marker. On chains with MWEB the flag may have bit 08: then MWEB data precede the lock
    time. They have no length: they are one byte 00, or everything before the lock time.
    """

    def _parse(self, stream: BytesIO, context: Context, path: str) -> Record:
        read: dict[str, FieldValue] = {}
        flagged = False
        try:
            read["version"] = self._field("version", stream, context, path)
            start = stream.tell()
            try:
                count, flag = self._input_count(stream, context, path)
            except FieldError as error:
                raise error.inside("inputs", start) from None
            flagged = bool(flag & WITNESS)
            inputs = read["inputs"] = self._inputs(count, stream, context, path)
            read["outputs"] = self._field("outputs", stream, context, path)
            if flagged:
                inputs = read["inputs"] = self._witnesses(inputs, stream, context, path)
                flagged = False
            if flag & MWEB:
                read["mweb"] = self._mweb(stream, context, path)
            read["lock_time"] = self._field("lock_time", stream, context, path)
        except FieldError as error:
            raise self.keeping_named(error, read, without_witness=flagged) from None
        outputs, lock_time = read["outputs"], read["lock_time"]
        return self.record(read["version"], inputs, outputs, lock_time, read.get("mweb"))

    def keeping_named(
        self, error: FieldError, read: dict[str, FieldValue], *, without_witness: bool
    ) -> FieldError:
        """Record in an error the fields that were read; an unread witness is left out."""
        fields = dict(read)
        last = error.names[-1] if error.names else ""
        elements: tuple[FieldValue, ...] = ()
        if error.read and last == "inputs" and "outputs" in fields:
            elements = error.read  # the inputs whose witnesses were read
        elif error.read and last:
            fields[last] = error.read
        if without_witness and "inputs" in fields:
            names = [name for name in TxIn.schema.fields if name != "witness"]
            rest = fields["inputs"][len(elements) :]
            fields["inputs"] = elements + tuple(
                Partial(TxIn, {name: getattr(each, name) for name in names}) for each in rest
            )
        error.read = Partial(self.record, fields)
        return error

    def _field(self, name: str, stream: BytesIO, context: Context, path: str) -> FieldValue:
        start = stream.tell()
        try:
            return self.fields[name]._parsereport(stream, context, path)
        except ConstructError as error:
            raise self.located(error, name, start, stream) from None

    def _input_count(self, stream: BytesIO, context: Context, path: str) -> tuple[int, int]:
        """Read the number of inputs, and the flag that may precede it (0 if none does)."""
        count = COMPACT_SIZE._parse(stream, context, path)
        params: Params = context._params.params
        flag = 0
        if count == 0 and params.witness:
            flag = read_exactly(stream, 1)[0]
            if not flag or flag & ~(WITNESS | MWEB if params.rules.mweb else WITNESS):
                known = "01, 08 or 09" if params.rules.mweb else "01"
                raise FieldError(f"the byte after the witness marker is {flag:02x}, not {known}")
            count = COMPACT_SIZE._parse(stream, context, path)
        check_limit(count, MAX_INPUTS, "entries", context)
        return count, flag

    def _mweb(self, stream: BytesIO, context: Context, path: str) -> bytes:
        start = stream.tell()
        if stream.read(1) == HOGEX:
            return HOGEX
        stream.seek(start)
        try:
            data: bytes = self.fields["mweb"].subcon._parsereport(stream, context, path)
        except FieldError as error:
            raise error.inside("mweb", start) from None
        return data

    def _inputs(self, count: int, stream: BytesIO, context: Context, path: str) -> tuple[TxIn, ...]:
        try:
            inputs: tuple[TxIn, ...] = self.fields["inputs"].elements(count, stream, context, path)
        except FieldError as error:
            raise error.inside("inputs") from None
        return inputs

    def _witnesses(
        self, inputs: tuple[TxIn, ...], stream: BytesIO, context: Context, path: str
    ) -> tuple[TxIn, ...]:
        stack = TxIn.schema.fields["witness"].subcon
        result: list[TxIn] = []
        for index, tx_in in enumerate(inputs):
            start = stream.tell()
            try:
                witness = stack._parsereport(stream, context, path)
            except FieldError as error:
                error.read = tuple(result)
                raise error.inside("witness", start).inside(f"[{index}]").inside("inputs") from None
            result.append(msgspec.structs.replace(tx_in, witness=witness))
        rules: ChainRules = context._params.params.rules
        if not rules.superfluous_witness and not any(tx_in.witness for tx_in in result):
            refused = FieldError("the witness flag is set but no input has a witness")
            refused.read = tuple(result)
            raise refused.inside("inputs")
        return tuple(result)

    def _build(self, obj: FieldValue, stream: BytesIO, context: Context, path: str) -> object:
        if not isinstance(obj, Tx):
            raise FieldError(f"{type(obj).__name__} is not Tx")
        listed = isinstance(obj.inputs, tuple | list)
        extended = context._params.params.witness
        witness = (
            extended
            and listed
            and any(isinstance(tx_in, TxIn) and tx_in.witness for tx_in in obj.inputs)
        )
        mweb = extended and obj.mweb is not None
        for name in ("version", "inputs", "outputs"):
            if name == "inputs" and (witness or mweb):
                stream.write(bytes((0, WITNESS * witness | MWEB * mweb)))
            self._write(name, getattr(obj, name), stream, context, path)
        for index, tx_in in enumerate(obj.inputs if witness else ()):
            try:
                TxIn.schema.fields["witness"].subcon._build(tx_in.witness, stream, context, path)
            except FieldError as error:
                raise error.inside("witness").inside(f"[{index}]").inside("inputs") from None
        if mweb:
            self._write("mweb", obj.mweb, stream, context, path)
        self._write("lock_time", obj.lock_time, stream, context, path)
        return obj

    def _write(
        self, name: str, value: FieldValue, stream: BytesIO, context: Context, path: str
    ) -> None:
        try:
            self.fields[name]._build(value, stream, context, path)
        except ConstructError as error:
            raise self.located(error, name) from None


def mweb_summary(data: bytes | None) -> str:
    """Return the size of the MWEB data, for the end of a summary; empty if there is none."""
    return "" if data is None or data == HOGEX else f", {len(data):,} B of MWEB data not read"


class Tx(MessageRecord, frozen=True, gc=False):
    """A transaction. On LBRY, an output whose script begins with a claim opcode is a claim."""

    command: ClassVar[str] = "tx"
    maximum: ClassVar[Limit] = ByChain("block_payload")
    layout: ClassVar[type[Layout]] = TransactionLayout

    version: Int32
    inputs: Annotated[tuple[TxIn, ...], at_most(MAX_INPUTS)]
    outputs: Annotated[tuple[TxOut, ...], at_most(MAX_OUTPUTS)]
    lock_time: UInt32
    mweb: Annotated[bytes | None, Extension("mweb", Rest(4))] = None
    """Its part of a MimbleWimble extension block, not parsed. Litecoin only."""

    def to_bytes(self, *, witness: bool) -> bytes:
        """Return the serialized transaction in one of the encodings, the same on every chain.

        MWEB data are left out: Litecoin's ids do not cover them either.
        """
        own = self if self.mweb is None else msgspec.structs.replace(self, mweb=None)
        return bytes_of(own, _WITNESS if witness else _BASE)

    @property
    def is_mweb_only(self) -> bool:
        """Whether it is in an extension block only: its id is a hash of data that is not parsed."""
        return self.mweb is not None and not self.inputs and not self.outputs

    def summary(self) -> str:
        """Return id, number of inputs and outputs, lock time, and the size of unparsed data."""
        if self.is_mweb_only:
            return f"hash not known, 0 inputs, 0 outputs{mweb_summary(self.mweb)}"
        lock = (
            f"height {self.lock_time}"
            if self.lock_time < LOCK_TIME_THRESHOLD
            else unix_time(self.lock_time)
        )
        counts = f"{len(self.inputs)} inputs, {len(self.outputs)} outputs"
        return f"hash {display(self.txid)}, {counts}, lock {lock}{mweb_summary(self.mweb)}"

    @property
    def txid(self) -> bytes:
        """The id in wire order: SHA-256d of the base encoding."""
        return sha256d(self.to_bytes(witness=False))

    @property
    def wtxid(self) -> bytes:
        """The id with witness in wire order; the txid if no input has a witness."""
        return sha256d(self.to_bytes(witness=True))

    def derived(self) -> JsonObject:
        """Return both ids in display order; None if they cannot be computed."""
        if self.is_mweb_only:
            return {"txid": None, "wtxid": None}
        txid = self.txid
        has_witness = any(tx_in.witness for tx_in in self.inputs)
        return {"txid": display(txid), "wtxid": display(self.wtxid if has_witness else txid)}


# A transaction that was read under the limits of any chain must have an id: the widest limits.
_BASE = Params(ANY_CHAIN, 0, witness=False)
_WITNESS = Params(ANY_CHAIN, 0, witness=True)
