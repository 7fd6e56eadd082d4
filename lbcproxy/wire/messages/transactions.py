"""Transactions, in both encodings. lbcd `wire/msgtx.go`; BIP144 (witness)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec
from construct import ConstructError, Subconstruct

from lbcproxy.text import unix_time
from lbcproxy.wire.engine import bytes_of
from lbcproxy.wire.errors import FieldError
from lbcproxy.wire.fields import (
    COMPACT_SIZE,
    Hash,
    Int32,
    Int64,
    Many,
    Script,
    UInt32,
    VarBytes,
    hold,
    plain,
    take,
)
from lbcproxy.wire.hashes import display, sha256d
from lbcproxy.wire.partial import Partial
from lbcproxy.wire.record import Layout, MessageRecord, Record, at_most
from lbcproxy.wire.rules import ANY_CHAIN, MAX_PAYLOAD, ByChain, ChainRules, Limit, Params

__all__ = ["Tx", "TxIn", "TxOut"]

LOCK_TIME_THRESHOLD = 500_000_000
"""Lock times below are block heights, others unix seconds."""
MOST_INPUTS = MAX_PAYLOAD // 41 + 1
MOST_OUTPUTS = MAX_PAYLOAD // 9 + 1


class Elsewhere(Subconstruct):
    """A field whose bytes do not lie with its record; `TransactionLayout` reads and writes them."""

    def _parse(self, stream: Any, context: Any, path: Any) -> tuple[Any, ...]:
        return ()

    def _build(self, value: Any, stream: Any, context: Any, path: Any) -> Any:
        return value

    needs_siblings = False

    def plain(self, value: Any) -> Any:
        """Give the field's plain value."""
        return plain(self.subcon, value)


class TxIn(Record, frozen=True, gc=False):
    """One input: the output it spends, and what entitles to it.

    The witness stands behind all outputs of the transaction on the wire; empty where there is none.
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
    """One output: an amount in base units and the script that guards it."""

    value: Int64
    script_pubkey: Script


class TransactionLayout(Layout):
    """A transaction: with a marker (00) and a flag (01) each input's witness follows the outputs.

    Rules are those of lbcd `MsgTx.BtcDecode`: with the witness encoding asked for, an input count
    of zero is the marker.
    """

    def _parse(self, stream: Any, context: Any, path: Any) -> Record:
        read: dict[str, Any] = {}
        flagged = False
        try:
            read["version"] = self._field("version", stream, context, path)
            start = stream.tell()
            try:
                count, flagged = self._input_count(stream, context, path)
            except FieldError as error:
                raise error.inside("inputs", start) from None
            inputs = read["inputs"] = self._inputs(count, stream, context, path)
            read["outputs"] = self._field("outputs", stream, context, path)
            if flagged:
                inputs = read["inputs"] = self._witnesses(inputs, stream, context, path)
                flagged = False
            read["lock_time"] = self._field("lock_time", stream, context, path)
        except FieldError as error:
            raise self.keeping_named(error, read, without_witness=flagged) from None
        return self.record(read["version"], inputs, read["outputs"], read["lock_time"])

    def keeping_named(
        self, error: FieldError, read: dict[str, Any], *, without_witness: bool
    ) -> FieldError:
        """Note in an error what was read; an input whose witness was not is one without it."""
        fields = dict(read)
        last = error.names[-1] if error.names else ""
        elements: tuple[Any, ...] = ()
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

    def _field(self, name: str, stream: Any, context: Any, path: Any) -> Any:
        start = stream.tell()
        try:
            return self.fields[name]._parsereport(stream, context, path)
        except ConstructError as error:
            raise self.located(error, name, start, stream) from None

    def _input_count(self, stream: Any, context: Any, path: Any) -> tuple[int, bool]:
        count = COMPACT_SIZE._parse(stream, context, path)
        flagged = count == 0 and context._params.params.witness
        if flagged:
            flag = take(stream, 1)[0]
            if flag != 1:
                raise FieldError(f"the byte behind the witness marker is {flag:02x}, not 01")
            count = COMPACT_SIZE._parse(stream, context, path)
        hold(count, MOST_INPUTS, "entries", context)
        return count, flagged

    def _inputs(self, count: int, stream: Any, context: Any, path: Any) -> tuple[TxIn, ...]:
        try:
            inputs: tuple[TxIn, ...] = self.fields["inputs"].elements(count, stream, context, path)
        except FieldError as error:
            raise error.inside("inputs") from None
        return inputs

    def _witnesses(
        self, inputs: tuple[TxIn, ...], stream: Any, context: Any, path: Any
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

    def _build(self, obj: Any, stream: Any, context: Any, path: Any) -> Any:
        if not isinstance(obj, Tx):
            raise FieldError(f"{type(obj).__name__} is not Tx")
        listed = isinstance(obj.inputs, tuple | list)
        witness = (
            listed
            and context._params.params.witness
            and any(isinstance(tx_in, TxIn) and tx_in.witness for tx_in in obj.inputs)
        )
        for name in ("version", "inputs", "outputs"):
            if name == "inputs" and witness:
                stream.write(b"\x00\x01")
            self._write(name, getattr(obj, name), stream, context, path)
        for index, tx_in in enumerate(obj.inputs if witness else ()):
            try:
                TxIn.schema.fields["witness"].subcon._build(tx_in.witness, stream, context, path)
            except FieldError as error:
                raise error.inside("witness").inside(f"[{index}]").inside("inputs") from None
        self._write("lock_time", obj.lock_time, stream, context, path)
        return obj

    def _write(self, name: str, value: Any, stream: Any, context: Any, path: Any) -> None:
        try:
            self.fields[name]._build(value, stream, context, path)
        except ConstructError as error:
            raise self.located(error, name) from None


class Tx(MessageRecord, frozen=True, gc=False):
    """A transaction. On LBRY a claim is an output whose script begins with a claim opcode."""

    command: ClassVar[str] = "tx"
    maximum: ClassVar[Limit] = ByChain("block_payload")
    layout: ClassVar[type[Layout]] = TransactionLayout

    version: Int32
    inputs: Annotated[tuple[TxIn, ...], at_most(MOST_INPUTS)]
    outputs: Annotated[tuple[TxOut, ...], at_most(MOST_OUTPUTS)]
    lock_time: UInt32

    def to_bytes(self, *, witness: bool) -> bytes:
        """Give the transaction's own bytes in one of the encodings, whatever the chain."""
        return bytes_of(self, _WITNESS if witness else _BASE)

    def summary(self) -> str:
        """Name it, and say how much goes in and out."""
        lock = (
            f"height {self.lock_time}"
            if self.lock_time < LOCK_TIME_THRESHOLD
            else unix_time(self.lock_time)
        )
        counts = f"{len(self.inputs)} inputs, {len(self.outputs)} outputs"
        return f"hash {display(self.txid)}, {counts}, lock {lock}"

    @property
    def txid(self) -> bytes:
        """The id in wire order: SHA-256d of the base encoding."""
        return sha256d(self.to_bytes(witness=False))

    @property
    def wtxid(self) -> bytes:
        """The id with witness in wire order; the txid if no input has a witness."""
        return sha256d(self.to_bytes(witness=True))

    def derived(self) -> dict[str, Any]:
        """Give both ids in display order."""
        txid = self.txid
        has_witness = any(tx_in.witness for tx_in in self.inputs)
        return {"txid": display(txid), "wtxid": display(self.wtxid if has_witness else txid)}


# Ids are taken of any transaction that could be read, whatever chain's limits it was read under.
_BASE = Params(ANY_CHAIN, 0, witness=False)
_WITNESS = Params(ANY_CHAIN, 0, witness=True)
