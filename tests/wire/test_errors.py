"""Errors: what is wrong, in which field, at which byte."""

from lbcproxy.wire.errors import BadPayload, BadRecord, FieldError


def test_an_error_of_a_payload_says_where():
    """Or that it is of the payload as a whole."""
    error = BadPayload("8 bytes needed, 3 left", "nonce", 5, cut_short=True)
    assert str(error) == "nonce at byte 5: 8 bytes needed, 3 left"
    assert (error.what, error.where, error.offset) == ("8 bytes needed, 3 left", "nonce", 5)
    assert error.cut_short
    assert str(BadPayload("too long")) == "payload at byte 0: too long"
    assert not BadPayload("too long").cut_short


def test_an_error_of_a_record_has_its_field_if_it_is_one_of_a_field():
    """A record has no bytes yet, and so no place."""
    assert str(BadRecord("not bytes", "body")) == "body: not bytes"
    assert str(BadRecord("too long")) == "too long"
    assert BadRecord("too long").where == ""


def test_the_path_of_a_field_is_made_from_the_inside():
    """Each layout adds its name; the innermost offset is the place."""
    error = FieldError("bad")
    assert (error.where, error.offset, error.cut_short, error.read) == ("", None, False, None)
    error.inside("value", 9).inside("[0]", 7).inside("outputs", 5).inside("[3]").inside(
        "transactions"
    )
    assert error.where == "transactions[3].outputs[0].value"
    assert error.offset == 9
    late = FieldError("bad", cut_short=True).inside("[1]").inside("inputs", 4)
    assert (late.where, late.offset, late.cut_short) == ("inputs[1]", 4, True)
