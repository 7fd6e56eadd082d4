"""How legs carry messages: as values, as objects in files, and in words."""

import msgspec
import pytest
from hypothesis import given

from lbcproxy.session import LegTransport, PacketForm, Transports
from lbcproxy.transport.kind import Transport
from tests.session.packet_forms import FORMS

ID = bytes(range(32))
V2 = LegTransport(Transport.V2, ID)
V1 = LegTransport()
TRANSPORTS = [
    Transports(V2, V1),
    Transports(V1, V2),
    Transports(V2, LegTransport(Transport.V2)),
    Transports(LegTransport(Transport.OPAQUE), LegTransport(Transport.OPAQUE)),
]


@pytest.mark.parametrize("transports", TRANSPORTS, ids=str)
def test_an_object_of_json_has_everything(transports):
    """What is read back from it is the same."""
    assert Transports.from_dict(transports.to_dict()) == transports
    assert transports


def test_what_is_empty_is_left_out():
    """A leg without a session id has none in the file."""
    assert V1.to_dict() == {"kind": "v1"}
    assert V2.to_dict() == {"kind": "v2", "session_id": ID.hex()}


def test_two_legs_in_the_clear_are_not_worth_a_word():
    """Captures of such sessions are as they always were."""
    assert not Transports()
    assert str(Transports(V2, V1)) == f"client v2 (session id {ID.hex()}), upstream v1"


@pytest.mark.parametrize(
    "value",
    [
        *(
            None,
            5,
            "v2",
            [],
            {},
            {"kind": "v3"},
            {"kind": "auto"},
            {"kind": None},
            {"kind": ["v2"]},
        ),
        *({"kind": "v2", "session_id": text} for text in ("00", "x" * 64, ID.hex().upper(), 5)),
        {"kind": "v2", "session_id": ID.hex() + "\n"},
        {"kind": "v1", "session_id": ID.hex()},
        {"kind": "opaque", "session_id": ID.hex()},
    ],
    ids=str,
)
def test_other_values_of_a_file_are_refused(value):
    """Anybody may have written it."""
    assert LegTransport.from_dict(value) is None
    assert Transports.from_dict({"client": value, "upstream": V1.to_dict()}) is None
    assert Transports.from_dict({"client": V1.to_dict(), "upstream": value}) is None
    assert Transports.from_dict(value) is None


def test_without_session_ids_only_the_kinds_are_left():
    """An id tells the operator of a node which connection it was."""
    assert Transports(V2, V2).without_session_ids().to_dict() == {
        "client": {"kind": "v2"},
        "upstream": {"kind": "v2"},
    }


@given(FORMS)
def test_a_form_is_an_object_of_what_is_unusual(form):
    """Nothing is written where nothing is."""
    value = msgspec.to_builtins(form)
    assert msgspec.convert(value, PacketForm) == form
    assert bool(value) is bool(form) is bool(str(form))
    assert 0 not in value.values()
    everything = {"long": False, "decoys": 0, "garbage": 0, "version_size": 0, **value}
    assert msgspec.convert(everything, PacketForm) == form


def test_a_form_of_which_nothing_is_said_is_usual():
    """A program names only what is unusual."""
    assert not PacketForm()
    assert PacketForm() == PacketForm(is_long=False, decoys=0, garbage=0, version_size=0)


def test_a_form_is_described():
    """For comments in Wireshark, and for lines."""
    form = PacketForm(is_long=True, decoys=2_000, garbage=4_095, version_size=3)
    assert str(form) == (
        "long type, 2,000 decoys before it, 4,095 bytes of garbage, version packet of 3 bytes"
    )
    assert msgspec.to_builtins(form) == {
        "long": True,
        "decoys": 2_000,
        "garbage": 4_095,
        "version_size": 3,
    }


@pytest.mark.parametrize(
    "value",
    [5, [], {"decoys": -1}, {"long": 1}, {"garbage": 1 << 62}, {"version_size": "3"}],
    ids=str,
)
def test_other_forms_in_a_file_are_refused(value):
    """Numbers that no program writes, and values of other types."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(value, PacketForm)
