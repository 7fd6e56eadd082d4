# cython: language_level=3, boundscheck=False, wraparound=False, binding=False
"""`Layout.plain`, compiled: converts a record to a JSON object.

A field with a conversion of its own is called. Tests check that both return the same.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from lbcproxy.wire.fields import Field, HashField, Many, plain
from lbcproxy.wire.messages.transactions import Elsewhere
from lbcproxy.wire.optional import Maybe
from lbcproxy.wire.record import Layout, Record

cdef enum Way:
    AS_IT_IS  # numbers; bytes in hexadecimal
    REVERSED  # hashes
    LISTED
    SHOWN_WITHIN
    NESTED
    ASKED  # the field gives its value
    ASKED_FOR_ALL  # the field gives its entries


@cython.final
cdef class Shown:
    """How one field is converted."""

    cdef Way way
    cdef object name
    cdef object field
    cdef Shown element
    cdef Plain record

    def __init__(self, name, field):
        self.name = name
        self.field = field
        kind = type(field)
        own = isinstance(field, Field | Maybe) and kind.entries is not Field.entries
        if own and name is not None:
            self.way = ASKED_FOR_ALL
        elif kind is Elsewhere:
            self.way, self.element = SHOWN_WITHIN, Shown(None, field.subcon)
        elif isinstance(field, Layout) and kind.plain is Layout.plain:
            self.way, self.record = NESTED, Plain(field)
        elif getattr(kind, "plain", Field.plain) is Field.plain:
            self.way = AS_IT_IS
        elif kind.plain is HashField.plain:
            self.way = REVERSED
        elif kind.plain is Many.plain:
            self.way, self.element = LISTED, Shown(None, field.subcon)
        else:
            self.way = ASKED

    cdef object show(self, object value):
        if self.way == AS_IT_IS:
            return value.hex() if isinstance(value, bytes) else value
        if self.way == REVERSED:
            return reversed_hex(value) if type(value) is bytes else self.field.plain(value)
        if self.way == LISTED:
            return [self.element.show(each) for each in value]
        if self.way == SHOWN_WITHIN:
            return self.element.show(value)
        if self.way == NESTED:
            return self.record.show(value)
        return plain(self.field, value)


cdef object reversed_hex(bytes value):
    cdef Py_ssize_t size = PyBytes_GET_SIZE(value)
    cdef Py_ssize_t index
    cdef const char* data = PyBytes_AS_STRING(value)
    cdef bytes turned = PyBytes_FromStringAndSize(NULL, size)
    cdef char* place = PyBytes_AS_STRING(turned)
    for index in range(size):
        place[index] = data[size - 1 - index]
    return turned.hex()


@cython.final
cdef class Plain:
    """Converts the records of one layout."""

    cdef tuple fields
    cdef bint derives

    def __init__(self, layout):
        self.fields = tuple([Shown(name, field) for name, field in layout.fields.items()])
        self.derives = layout.record.derived is not Record.derived

    def __call__(self, record):
        """Return the record as a JSON object, derived values included."""
        return self.show(record)

    cdef dict show(self, object record):
        cdef Shown field
        cdef dict result = {}
        for each in self.fields:
            field = <Shown>each
            value = getattr(record, field.name)
            if field.way == ASKED_FOR_ALL:
                result.update(field.field.entries(field.name, value))
            else:
                result[field.name] = field.show(value)
        if self.derives:
            result.update(record.derived())
        return result
