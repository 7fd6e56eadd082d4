# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False, binding=False, embedsignature=True
"""The native engine: a record's construct tree as a tree of small nodes that read and write.

The tree is made once, for what a payload depends on (`Tree`); there is a class of node for each
kind of field. Reading goes through a cursor whose `need` is the only way to the bytes. Writing is
done by steps that the nodes lay out beforehand (`plan`, `Plan`; `_write.h` takes them), as long
as a record is exactly as declared; any other is written by the nodes, to a buffer that grows. What is
accepted, refused and said is what construct does: the tests hold both engines to that. Where there
is no node for a construct, or a value to be written is not exactly of the type a node knows, construct
itself does that field (`Foreign`, `by_construct`).
"""

cimport cython
import gc
from io import BytesIO
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memset
from types import MemberDescriptorType
import sys

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.long cimport PyLong_FromLongLong, PyLong_FromUnsignedLongLong
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM

from construct import Construct, ConstructError, Container, Flag, FormatField, StreamError
from msgspec.structs import astuple

from lbcproxy.wire.errors import FieldError
from lbcproxy.wire.fields import CompactSize, Fixed, Many, Rest, VarBytes
from lbcproxy.wire.optional import Extension, IfChain, OptionalTail, Since, When
from lbcproxy.wire.record import Layout, Record
from lbcproxy.wire.rules import ByVersion, bound

cdef extern from "Python.h":
    const Py_ssize_t PY_VECTORCALL_ARGUMENTS_OFFSET
    PyObject* PyObject_Vectorcall(object kind, PyObject** args, size_t nargs, PyObject* names)
    long long PyLong_AsLongLongAndOverflow(object value, int* overflow) except? -1
    unsigned long long PyLong_AsUnsignedLongLong(object value) except? 0
    void PyObject_GC_UnTrack(void* thing)
    ctypedef struct PyTypeObject:
        Py_ssize_t tp_basicsize
    object PyType_GenericAlloc(PyTypeObject* kind, Py_ssize_t count)
    int PyObject_IsTrue(object thing) except -1

cdef extern from "structmember.h":
    ctypedef struct PyMemberDef:
        int type
        Py_ssize_t offset
    ctypedef struct PyMemberDescrObject:
        PyMemberDef* d_member
    const int T_OBJECT_EX

cdef extern from "_write.h":
    ctypedef enum Kind:
        PUT_NUMBER
        PUT_BIG
        PUT_COMPACT
        PUT_FLAG
        PUT_RAW
        PUT_COUNTED
        PUT_NONE
        PUT_ZERO
        PUT_STACK
        ENTER_RECORD
        LEAVE_RECORD
        ENTER_LIST
        ENTER_AGAIN
        NEXT_ENTRY
        MARK_WITNESS
        SKIP_WITNESS
        END_OF_STEPS
    ctypedef struct Step:
        Kind kind
        Py_ssize_t size
        Py_ssize_t offset
        Py_ssize_t other
        uint64_t most
        uint64_t least
        PyTypeObject* record
    PyObject* written(const Step* steps, object record, Py_ssize_t fixed, Py_ssize_t room)
    const int MOST_LEVELS
    const int LONGEST_SIZE
    const int NUMBER_ROOM

DEF MOST_FIELDS = 32
DEF LARGEST_LIMIT = 1 << 62
DEF LEAST_ROOM = 512
DEF MOST_ROOM = 4 << 20


# Bytes: the cursor and the buffer.


@cython.final
cdef class Cursor:
    """A position in a payload."""

    cdef const unsigned char* data
    cdef Py_ssize_t pos
    cdef Py_ssize_t size
    cdef bytes payload
    cdef object params
    cdef object context  # construct's own, where construct is at work; else None
    cdef object stream
    cdef PyObject** values  # what has been read of the record that is being read
    cdef bint keeps  # whether an error is to tell what was read before it

    def __cinit__(self, bytes payload, params):
        self.payload = payload
        self.data = <const unsigned char*>PyBytes_AS_STRING(payload)
        self.size = PyBytes_GET_SIZE(payload)
        self.params = params


cdef inline const unsigned char* need(Cursor cur, Py_ssize_t count) noexcept:
    """Step over some bytes and say where they are; NULL if there are not as many."""
    cdef const unsigned char* place
    if count < 0 or cur.size - cur.pos < count:
        return NULL
    place = cur.data + cur.pos
    cur.pos += count
    return place


cdef object short_of(Cursor cur, uint64_t count):
    left = max(cur.size - cur.pos, 0)
    return FieldError(f"{count} bytes needed, {left} left", cut_short=True)


cdef inline uint64_t load4(const unsigned char* place) noexcept:
    """Compilers make one instruction of it."""
    return (
        <uint64_t>place[0] | <uint64_t>place[1] << 8 | <uint64_t>place[2] << 16
        | <uint64_t>place[3] << 24
    )


cdef inline uint64_t load(const unsigned char* place, int size, bint big) noexcept:
    cdef uint64_t value = 0
    cdef int index
    if size == 4 and not big:
        return load4(place)
    if size == 8 and not big:
        return load4(place) | load4(place + 4) << 32
    for index in range(size):
        value = value << 8 | place[index if big else size - 1 - index]
    return value


cdef inline void store(unsigned char* place, uint64_t value, int size, bint big) noexcept:
    cdef int index
    for index in range(size):
        place[size - 1 - index if big else index] = <unsigned char>(value & 0xFF)
        value >>= 8


cdef uint64_t read_size(Cursor cur) except? 77:
    """Read a CompactSize, in the shortest form only."""
    cdef const unsigned char* place = need(cur, 1)
    cdef uint64_t value
    cdef int size
    if place is NULL:
        raise short_of(cur, 1)
    if place[0] < 0xFD:
        return place[0]
    size = 2 << (place[0] - 0xFD)
    place = need(cur, size)
    if place is NULL:
        raise short_of(cur, size)
    value = load(place, size, False)
    if value < (0xFD if size == 2 else <uint64_t>1 << (size * 4)):
        raise FieldError(f"CompactSize {value} takes {size + 1} bytes, not the shortest form")
    return value


cdef uint64_t read_count(Cursor cur, uint64_t most, str unit) except? 77:
    """Read a count and hold it to its limit, before anything is kept for it."""
    cdef uint64_t count = read_size(cur)
    if count > most:
        raise FieldError(f"{count} {unit}, at most {most} allowed")
    return count


@cython.final
cdef class Writer:
    """Bytes that are being written, and construct's stream of them where construct is at work."""

    cdef unsigned char* data
    cdef Py_ssize_t size
    cdef Py_ssize_t room
    cdef object params
    cdef object context
    cdef object stream
    cdef tuple values  # of the record that is being written, where a field looks at another
    cdef bint tail_ended

    def __cinit__(self, params):
        self.params = params
        self.room = LEAST_ROOM
        self.data = <unsigned char*>PyMem_Malloc(self.room)
        if self.data is NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_Free(self.data)

    cdef unsigned char* reserve(self, Py_ssize_t count) except NULL:
        """Return where to write some more bytes."""
        cdef unsigned char* place
        if self.room - self.size < count:
            self.grow(count)
        place = self.data + self.size
        self.size += count
        return place

    cdef int grow(self, Py_ssize_t count) except -1:
        cdef Py_ssize_t room = max(self.room * 2, self.size + count)
        cdef void* data = PyMem_Realloc(self.data, room)
        if data is NULL:
            raise MemoryError
        self.data = <unsigned char*>data
        self.room = room
        return 0

    cdef int put(self, bytes data) except -1:
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        memcpy(self.reserve(size), PyBytes_AS_STRING(data), size)
        return 0

    cdef int put_size(self, uint64_t value) except -1:
        cdef unsigned char* place
        cdef int size
        if value < 0xFD:
            self.reserve(1)[0] = <unsigned char>value
            return 0
        size = 2 if value < 1 << 16 else 4 if value < <uint64_t>1 << 32 else 8
        place = self.reserve(1 + size)
        place[0] = 0xFD if size == 2 else 0xFE if size == 4 else 0xFF
        store(place + 1, value, size, False)
        return 0

    cdef int flush(self) except -1:
        """Hand what is written to construct's stream."""
        if self.stream is None:
            self.stream = BytesIO()
        self.stream.write(PyBytes_FromStringAndSize(<char*>self.data, self.size))
        self.size = 0
        return 0

    cdef bytes finish(self):
        if self.stream is None:
            return PyBytes_FromStringAndSize(<char*>self.data, self.size)
        self.flush()
        return self.stream.getvalue()


cdef int by_construct(object field, object value, Writer out) except -1:
    """Let construct write a field: it has no node, or the value is not of the type expected."""
    out.flush()
    if out.context is None:
        out.context = root_context(out.params)
    field._build(value, out.stream, out.context, "")
    return 0


cdef object root_context(object params):
    """Make the context that `record.parse` and `record.build` begin with."""
    context = Container(params=params)
    context._params = context
    return context


# Steps.


@cython.final
cdef class Plan:
    """The steps that write a record which is exactly as declared: `_write.h`."""

    cdef Step* steps
    cdef Py_ssize_t count
    cdef Py_ssize_t fixed  # the bytes of all steps taken once, at most
    cdef Py_ssize_t level
    cdef Node root

    def __cinit__(self, Node root):
        self.root = root
        self.fixed = NUMBER_ROOM

    def __dealloc__(self):
        PyMem_Free(self.steps)

    cdef Step* add(self, Kind kind, Py_ssize_t offset, Py_ssize_t fixed) except NULL:
        """Add a step; where it is may change with the next one."""
        cdef void* steps = PyMem_Realloc(self.steps, (self.count + 1) * sizeof(Step))
        cdef Step* step
        if steps is NULL:
            raise MemoryError
        self.steps = <Step*>steps
        step = self.steps + self.count
        memset(step, 0, sizeof(Step))
        step.kind, step.offset = kind, offset
        self.count += 1
        self.fixed += fixed
        return step

    cdef bint enter(self) except -1:
        """Go inside a record or a list; False where that is too deep."""
        self.level += 1
        return self.level <= MOST_LEVELS

    cdef int next_entry(self, Py_ssize_t start) except -1:
        """End the steps of the entries of a list."""
        cdef Step* step = self.add(NEXT_ENTRY, 0, 0)
        cdef Step* first = self.steps + start
        self.level -= 1
        first.other = step - first
        step.other = -first.other
        step.record = first.record
        return 0


# Nodes.


cdef class Node:
    """One field; what it reads and writes is what its construct would."""

    cdef object field
    cdef Py_ssize_t least  # the fewest bytes it takes; 0 also where that is not known
    cdef bint foreign  # whether construct is at work in it or below it

    cdef object read(self, Cursor cur):
        raise NotImplementedError

    cdef int write(self, object value, Writer out) except -1:
        raise NotImplementedError

    cdef bint plan(self, Plan plan, Py_ssize_t offset) except -1:
        """Add the steps that write what `write` does; False if there are none for it."""
        return False


@cython.final
cdef class Foreign(Node):
    """Whatever has no node: construct reads and writes it at the same offset of the same bytes."""

    def __cinit__(self, field):
        self.field = field
        self.foreign = True

    cdef object read(self, Cursor cur):
        if cur.stream is None:
            cur.stream = BytesIO(cur.payload)
        cur.stream.seek(cur.pos)
        value = self.field._parsereport(cur.stream, cur.context, "")
        cur.pos = cur.stream.tell()
        return value

    cdef int write(self, object value, Writer out) except -1:
        return by_construct(self.field, value, out)


cdef bint as_unsigned(object value, uint64_t* result) except -1:
    """Turn an int into C's; False if it is none, negative or too large."""
    cdef int overflow = 0
    cdef long long number
    if type(value) is not int:
        return False
    number = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow > 0:
        if value >> 64:
            return False
        result[0] = PyLong_AsUnsignedLongLong(value)
        return True
    result[0] = <uint64_t>number
    return overflow == 0 and number >= 0


@cython.final
cdef class Number(Node):
    """An integer of 1, 2, 4 or 8 bytes: construct's FormatField."""

    cdef int size
    cdef bint signed
    cdef bint big
    cdef uint64_t last  # what was read last: sequence numbers, versions and kinds are much alike
    cdef object last_value

    def __cinit__(self, field, int size, bint signed, bint big):
        self.field = field
        self.least = self.size = size
        self.signed = signed
        self.big = big
        self.last_value = 0

    cdef object read(self, Cursor cur):
        cdef const unsigned char* place = need(cur, self.size)
        cdef uint64_t value
        if place is NULL:
            raise StreamError("the payload ends inside a number")
        value = load(place, self.size, self.big)
        if self.size == 4:
            if value == self.last:
                return self.last_value
            made = self.number(value)
            self.last, self.last_value = value, made
            return made
        return self.number(value)

    cdef object number(self, uint64_t value):
        cdef uint64_t sign
        if self.signed:
            sign = <uint64_t>1 << (8 * self.size - 1)
            return PyLong_FromLongLong(<int64_t>((value ^ sign) - sign))
        return PyLong_FromUnsignedLongLong(value)

    cdef int write(self, object value, Writer out) except -1:
        cdef uint64_t number = 0
        cdef int overflow = 0
        cdef int64_t most, signed_number
        cdef bint fits = False
        if not self.signed:
            fits = as_unsigned(value, &number) and (self.size == 8 or not number >> 8 * self.size)
        elif type(value) is int:
            signed_number = PyLong_AsLongLongAndOverflow(value, &overflow)
            most = <int64_t>((<uint64_t>1 << (8 * self.size - 1)) - 1)
            fits = overflow == 0 and -most - 1 <= signed_number <= most
            number = <uint64_t>signed_number
        if not fits:
            return by_construct(self.field, value, out)
        store(out.reserve(self.size), number, self.size, self.big)
        return 0

    cdef bint plan(self, Plan plan, Py_ssize_t offset) except -1:
        cdef Step* step = plan.add(PUT_BIG if self.big else PUT_NUMBER, offset, self.size)
        cdef uint64_t sign = <uint64_t>1 << (8 * self.size - 1)
        step.size = self.size
        step.least = sign if self.signed else 0
        step.most = sign - 1 if self.signed else sign - 1 + sign
        return True


@cython.final
cdef class Boolean(Node):
    """construct's Flag."""

    def __cinit__(self, field):
        self.field = field
        self.least = 1

    cdef object read(self, Cursor cur):
        cdef const unsigned char* place = need(cur, 1)
        if place is NULL:
            raise StreamError("the payload ends before a flag")
        return place[0] != 0

    cdef int write(self, object value, Writer out) except -1:
        if value is not True and value is not False:
            return by_construct(self.field, value, out)
        out.reserve(1)[0] = value is True
        return 0

    cdef bint plan(self, Plan plan, Py_ssize_t offset) except -1:
        plan.add(PUT_FLAG, offset, 1)
        return True


@cython.final
cdef class Size(Node):
    """A CompactSize that is a value by itself."""

    def __cinit__(self, field):
        self.field = field
        self.least = 1

    cdef object read(self, Cursor cur):
        return PyLong_FromUnsignedLongLong(read_size(cur))

    cdef int write(self, object value, Writer out) except -1:
        cdef uint64_t number = 0
        if not as_unsigned(value, &number):
            return by_construct(self.field, value, out)
        return out.put_size(number)

    cdef bint plan(self, Plan plan, Py_ssize_t offset) except -1:
        plan.add(PUT_COMPACT, offset, LONGEST_SIZE).most = <uint64_t>-1
        return True


@cython.final
cdef class Raw(Node):
    """A fixed number of bytes: Fixed, hashes, IP addresses."""

    cdef Py_ssize_t size

    def __cinit__(self, field, Py_ssize_t size):
        self.field = field
        self.least = self.size = size

    cdef object read(self, Cursor cur):
        cdef const unsigned char* place = need(cur, self.size)
        if place is NULL:
            raise short_of(cur, self.size)
        return PyBytes_FromStringAndSize(<const char*>place, self.size)

    cdef int write(self, object value, Writer out) except -1:
        if type(value) is not bytes or PyBytes_GET_SIZE(value) != self.size:
            return by_construct(self.field, value, out)
        return out.put(<bytes>value)

    cdef bint plan(self, Plan plan, Py_ssize_t offset) except -1:
        plan.add(PUT_RAW, offset, self.size).size = self.size
        return True


@cython.final
cdef class Counted(Node):
    """Bytes after their count: VarBytes and its subclasses."""

    cdef uint64_t most

    def __cinit__(self, field, uint64_t most):
        self.field = field
        self.least = 1
        self.most = most

    cdef object read(self, Cursor cur):
        cdef uint64_t count = read_count(cur, self.most, "bytes")
        cdef const unsigned char* place = need(cur, <Py_ssize_t>count)
        if place is NULL:
            raise short_of(cur, count)
        return PyBytes_FromStringAndSize(<const char*>place, <Py_ssize_t>count)

    cdef int write(self, object value, Writer out) except -1:
        cdef Py_ssize_t size
        if type(value) is not bytes or <uint64_t>PyBytes_GET_SIZE(value) > self.most:
            return by_construct(self.field, value, out)
        out.put_size(<uint64_t>PyBytes_GET_SIZE(value))
        return out.put(<bytes>value)

    cdef bint plan(self, Plan plan, Py_ssize_t offset) except -1:
        plan.add(PUT_COUNTED, offset, LONGEST_SIZE).most = self.most
        return True


@cython.final
cdef class List(Node):
    """A count, then that many of one kind of field."""

    cdef Node child
    cdef uint64_t most

    def __cinit__(self, field, Node child, uint64_t most):
        self.field = field
        self.child = child
        self.most = most
        self.foreign = child.foreign
        self.least = 0 if child.foreign else 1

    cdef object read(self, Cursor cur):
        return self.elements(cur, read_count(cur, self.most, "entries"))

    cdef tuple elements(self, Cursor cur, uint64_t count):
        """Read entries whose count has been read already.

        A count that the bytes left cannot hold is read for its error only: nothing is kept, unless
        the error has to say what was read.
        """
        cdef Py_ssize_t left = max(cur.size - cur.pos, 0)
        cdef uint64_t index = 0
        cdef Py_ssize_t start = cur.pos
        cdef list growing = None
        cdef tuple result = None
        if count == 0:
            return ()
        if self.child.least == 0 or cur.keeps:
            growing = []
        elif count <= <uint64_t>(left // self.child.least):
            result = PyTuple_New(<Py_ssize_t>count)
            # Nobody has seen it yet, and nothing in it can lead back to it.
            PyObject_GC_UnTrack(<void*>result)
        try:
            while index < count:
                start = cur.pos
                value = self.child.read(cur)
                if result is not None:
                    Py_INCREF(value)
                    PyTuple_SET_ITEM(result, <Py_ssize_t>index, value)
                elif growing is not None:
                    growing.append(value)
                index += 1
        except FieldError as error:
            if cur.keeps:
                error.read = tuple(growing)
            raise error.inside(f"[{index}]", start) from None
        return tuple(growing) if result is None else result

    cdef int write(self, object value, Writer out) except -1:
        cdef Py_ssize_t index = 0
        cdef tuple entries
        if type(value) is tuple:
            entries = <tuple>value
        elif type(value) is list:
            entries = tuple(<list>value)
        else:
            return by_construct(self.field, value, out)
        if <uint64_t>len(entries) > self.most:
            return by_construct(self.field, value, out)
        out.put_size(<uint64_t>len(entries))
        try:
            for index in range(len(entries)):
                self.child.write(entries[index], out)
        except FieldError as error:
            raise error.inside(f"[{index}]") from None
        return 0

    cdef bint plan(self, Plan plan, Py_ssize_t offset) except -1:
        cdef Py_ssize_t start = plan.count
        cdef Step* step
        if type(self.child) is Counted:
            step = plan.add(PUT_STACK, offset, 2 * LONGEST_SIZE)
            step.least, step.most = self.most, (<Counted>self.child).most
            return True
        plan.add(ENTER_LIST, offset, LONGEST_SIZE).most = self.most
        return self.plan_entries(plan, start)

    cdef bint plan_entries(self, Plan plan, Py_ssize_t start) except -1:
        """Add the steps of an entry, after the one that enters the list."""
        cdef bint known
        if not plan.enter():
            return False
        if isinstance(self.child, Fields):
            plan.steps[start].record = <PyTypeObject*><void*>(<Fields>self.child).record
            known = (<Fields>self.child).plan_inside(plan)
        else:
            known = self.child.plan(plan, 0)
        plan.next_entry(start)
        return known


@cython.final
cdef class Absent(Node):
    """A field that these parameters rule out: Since, IfChain."""

    def __cinit__(self, field):
        self.field = field

    cdef object read(self, Cursor cur):
        return None

    cdef int write(self, object value, Writer out) except -1:
        if value is not None:
            raise FieldError(f"cannot be sent: {self.field.absence()}")
        return 0

    cdef bint plan(self, Plan plan, Py_ssize_t offset) except -1:
        plan.add(PUT_NONE, offset, 0)
        return True


@cython.final
cdef class Present(Node):
    """A field that these parameters ask for: Since, IfChain."""

    cdef Node child

    def __cinit__(self, field, Node child):
        self.field = field
        self.child = child
        self.least = child.least
        self.foreign = child.foreign

    cdef object read(self, Cursor cur):
        return self.child.read(cur)

    cdef int write(self, object value, Writer out) except -1:
        if value is None:
            raise FieldError(f"missing: {self.field.absence()}")
        return self.child.write(value, out)

    cdef bint plan(self, Plan plan, Py_ssize_t offset) except -1:
        # The steps of these would take None.
        return not isinstance(self.child, Absent | Nowhere) and self.child.plan(plan, offset)


@cython.final
cdef class Extended(Node):
    """Bytes at the end that a chain may have and that are not looked into: Extension of Rest."""

    cdef bint there
    cdef Py_ssize_t before

    def __cinit__(self, field, params):
        self.field = field
        self.there = bool(getattr(params.rules, field.rule))
        self.before = field.subcon.before

    cdef object read(self, Cursor cur):
        return self.content(cur) if self.there and cur.pos < cur.size else None

    cdef object content(self, Cursor cur):
        cdef Py_ssize_t count = cur.size - cur.pos - self.before
        if count < 1:
            raise short_of(cur, self.before + 1)
        return PyBytes_FromStringAndSize(<const char*>need(cur, count), count)

    cdef int write(self, object value, Writer out) except -1:
        if value is None:
            return 0
        if not self.there or type(value) is not bytes or not PyBytes_GET_SIZE(value):
            return by_construct(self.field, value, out)
        return out.put(<bytes>value)

    cdef bint plan(self, Plan plan, Py_ssize_t offset) except -1:
        plan.add(PUT_NONE, offset, 0)
        return True


@cython.final
cdef class Conditional(Node):
    """A field that is there if an earlier one has one of some values: When."""

    cdef Node child
    cdef Py_ssize_t sibling
    cdef frozenset those

    def __cinit__(self, field, Node child, Py_ssize_t sibling):
        self.field = field
        self.child = child
        self.sibling = sibling
        self.those = field.values
        self.foreign = child.foreign

    cdef object read(self, Cursor cur):
        if <object>cur.values[self.sibling] not in self.those:
            return None
        return self.child.read(cur)

    cdef int write(self, object value, Writer out) except -1:
        cdef bint present = out.values[self.sibling] in self.those
        if present is not (value is not None):
            words = "missing" if present else "cannot be sent"
            raise FieldError(f"{words}: {self.field.absence()}")
        return self.child.write(value, out) if present else 0


@cython.final
cdef class Tail(Node):
    """A field that is read if any byte is left: OptionalTail."""

    cdef Node child

    def __cinit__(self, field, Node child):
        self.field = field
        self.child = child
        self.foreign = child.foreign

    cdef object read(self, Cursor cur):
        if cur.pos >= cur.size:
            return None
        return self.child.read(cur)

    cdef int write(self, object value, Writer out) except -1:
        if value is None:
            out.tail_ended = True
            return 0
        if out.tail_ended:
            raise FieldError("cannot be sent: a field before it is absent")
        return self.child.write(value, out)


@cython.final
cdef class Nowhere(Node):
    """A field whose bytes do not lie with its record: Elsewhere."""

    def __cinit__(self, field):
        self.field = field

    cdef object read(self, Cursor cur):
        return ()

    cdef int write(self, object value, Writer out) except -1:
        return 0

    cdef bint plan(self, Plan plan, Py_ssize_t offset) except -1:
        return True


@cython.final
cdef class BareHeader(Node):
    """A header of `headers`, followed by the count of its transactions, which is zero: Bare."""

    cdef Node child

    def __cinit__(self, field, Node child):
        self.field = field
        self.child = child
        self.foreign = child.foreign
        self.least = 0 if child.foreign else child.least + 1

    cdef object read(self, Cursor cur):
        header = self.child.read(cur)
        cdef Py_ssize_t start = cur.pos
        cdef uint64_t count
        try:
            count = read_size(cur)
            if count:
                raise FieldError(f"{count} transactions after a header, none allowed")
        except FieldError as error:
            raise error.inside("transaction_count", start) from None
        return header

    cdef int write(self, object value, Writer out) except -1:
        self.child.write(value, out)
        out.reserve(1)[0] = 0
        return 0

    cdef bint plan(self, Plan plan, Py_ssize_t offset) except -1:
        if not self.child.plan(plan, offset):
            return False
        plan.add(PUT_ZERO, 0, 1)
        return True


cdef class Fields(Node):
    """A record: its fields one after another, then one call that makes it."""

    cdef object record
    cdef tuple names
    cdef tuple nodes
    cdef PyObject* each[MOST_FIELDS]  # the same nodes, at hand
    cdef Py_ssize_t count
    cdef Py_ssize_t[MOST_FIELDS] offsets  # where the record keeps each value; 0 if not known
    cdef bint checks
    cdef bint looks_around  # a field looks at its neighbours
    cdef bint has_context  # construct looks at the neighbours
    cdef bint direct  # a record is filled in where its class keeps the values, not called for
    cdef Py_ssize_t rest  # where the one value after the fields is kept; 0 if there is none

    def __cinit__(self, layout, tuple nodes, *more):
        cdef Node node
        cdef Py_ssize_t index
        self.field = layout
        self.record = layout.record
        self.names = tuple(layout.fields)
        self.nodes = nodes
        self.count = len(nodes)
        for node in nodes:
            self.least += node.least
            self.foreign = self.foreign or node.foreign
            self.looks_around = self.looks_around or isinstance(node, Conditional | Tail)
        if self.foreign:
            self.least = 0  # construct may also go backwards
        self.has_context = self.foreign and layout.needs_siblings
        self.checks = self.record.check is not Record.check
        for index in range(self.count):
            self.each[index] = <PyObject*>nodes[index]
            self.offsets[index] = offset_of(self.record, self.names[index])
        if not self.foreign and not self.looks_around:
            self.direct = self.can_be_filled()

    cdef bint can_be_filled(self) except -1:
        """Try whether a record that is filled in is what a call of its class makes.

        Filling in takes a seventh less time of a whole block; but what msgspec keeps where is
        its own affair.
        """
        cdef Py_ssize_t index
        for index in range(self.count):
            if not self.offsets[index]:
                return False
        rest = self.record.__struct_fields__[self.count:]
        if rest:
            self.rest = offset_of(self.record, rest[0])
        if len(rest) > 1 or (rest and not self.rest) or hasattr(self.record, "__post_init__"):
            return False
        called = self.record(*self.names)
        filled = new_of(self.record)
        for index in range(self.count):
            fill(filled, self.offsets[index], self.names[index])
        self.fill_rest(filled)
        return (
            filled == called
            and astuple(filled) == astuple(called)
            and gc.is_tracked(filled) == gc.is_tracked(called) == False
        )

    cdef int fill_rest(self, object made) except -1:
        if self.rest:
            fill(made, self.rest, b"")
        return 0

    cdef object read(self, Cursor cur):
        cdef Py_ssize_t done = 0
        cdef Py_ssize_t start = cur.pos
        if not self.direct or cur.keeps:
            return self.read_called(cur)
        made = new_of(self.record)
        try:
            while done < self.count:
                start = cur.pos
                fill(made, self.offsets[done], (<Node>self.each[done]).read(cur))
                done += 1
        except BaseException as error:
            raise self.placed(error, self.names[done], start, cur) from None
        self.fill_rest(made)
        if self.checks:
            made.check()
        return made

    cdef object read_called(self, Cursor cur):
        cdef PyObject* args[MOST_FIELDS + 1]
        cdef Py_ssize_t done = 0
        cdef Py_ssize_t start = cur.pos
        outer = None
        if self.has_context:
            outer = cur.context
            cur.context = Container(_=outer, _params=outer._params)
        try:
            while done < self.count:
                start = cur.pos
                if self.looks_around:
                    cur.values = args + 1
                value = (<Node>self.each[done]).read(cur)
                if self.has_context:
                    cur.context[self.names[done]] = value
                Py_INCREF(value)
                args[done + 1] = <PyObject*>value
                done += 1
        except BaseException as error:
            kept = [<object>args[index + 1] for index in range(done)] if cur.keeps else None
            release(args, done)
            raise self.kept(self.placed(error, self.names[done], start, cur), kept) from None
        if self.has_context:
            cur.context = outer
        kept = [<object>args[index + 1] for index in range(done)] if cur.keeps else None
        made = made_of(self.record, args, done)
        if self.checks:
            try:
                made.check()
            except FieldError as error:
                raise self.kept(error, kept) from None
        return made

    cdef object kept(self, object error, list values):
        """Note in an error what was read, if that is wanted."""
        if values is None or not isinstance(error, FieldError):
            return error
        return self.field.keeping(error, values)

    cdef object placed(self, object error, object name, Py_ssize_t start, Cursor cur):
        if not isinstance(error, ConstructError):
            return error
        return self.field.located(error, name, start, BytesIO(cur.payload))

    cdef object get(self, object record, Py_ssize_t index):
        """Return a value of a record that is exactly of our class."""
        cdef PyObject* value = NULL
        if self.offsets[index]:
            value = (<PyObject**>((<char*><void*>record) + self.offsets[index]))[0]
        if value is NULL:
            return getattr(record, self.names[index])
        return <object>value

    cdef int write(self, object value, Writer out) except -1:
        cdef Py_ssize_t index = 0
        cdef bint outer_ended = out.tail_ended
        if type(value) is not self.record:
            return by_construct(self.field, value, out)
        outer, outer_values = out.context, out.values
        if self.has_context:
            out.context = Container(_=outer, _params=outer._params)
        try:
            if self.looks_around:
                out.tail_ended = False
                values = tuple([self.get(value, index) for index in range(self.count)])
            for index in range(self.count):
                each = self.get(value, index)
                if self.has_context:
                    out.context[self.names[index]] = each
                if self.looks_around:
                    out.values = values
                (<Node>self.each[index]).write(each, out)
        except ConstructError as error:
            raise self.field.located(error, self.names[index]) from None
        out.context, out.values, out.tail_ended = outer, outer_values, outer_ended
        if self.checks:
            value.check()
        return 0

    cdef bint plan(self, Plan plan, Py_ssize_t offset) except -1:
        plan.add(ENTER_RECORD, offset, 0).record = <PyTypeObject*><void*>self.record
        if not plan.enter() or not self.plan_inside(plan):
            return False
        plan.add(LEAVE_RECORD, 0, 0)
        plan.level -= 1
        return True

    cdef bint plan_inside(self, Plan plan) except -1:
        """Add the steps of the fields, where the record has been entered.

        A check is Python code, for which the loop does not stop: the root's is run after it.
        """
        cdef Py_ssize_t index
        if self.checks and self is not plan.root:
            return False
        for index in range(self.count):
            if not self.offsets[index]:
                return False
        return self.plan_fields(plan)

    cdef bint plan_fields(self, Plan plan) except -1:
        cdef Py_ssize_t index
        for index in range(self.count):
            if not (<Node>self.each[index]).plan(plan, self.offsets[index]):
                return False
        return True


cdef inline object new_of(object record):
    """Make a record with no value yet."""
    return PyType_GenericAlloc(<PyTypeObject*><void*>record, 0)


cdef inline void fill(object made, Py_ssize_t offset, object value) noexcept:
    """Set a value of a record that no other code has a reference to yet."""
    cdef PyObject** place = <PyObject**>((<char*><void*>made) + offset)
    cdef PyObject* before = place[0]
    Py_INCREF(value)
    place[0] = <PyObject*>value
    if before is not NULL:
        Py_DECREF(<object>before)


cdef inline object made_of(object record, PyObject** args, Py_ssize_t count):
    """Make a record of the values from index 1 on, and release them."""
    cdef PyObject* made = PyObject_Vectorcall(
        record, args + 1, count | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL
    )
    release(args, count)
    if made is NULL:
        raise_what_is_set()
    result = <object>made
    Py_DECREF(result)
    return result


cdef int raise_what_is_set() except -1:
    return -1


cdef inline void release(PyObject** args, Py_ssize_t count):
    cdef Py_ssize_t index
    for index in range(count):
        Py_DECREF(<object>args[index + 1])


cdef Py_ssize_t offset_of(object record, str name) except -1:
    """Find where a class of ours keeps a value in its instances; 0 if that is not known."""
    place = getattr(record, name, None)
    if type(place) is not MemberDescriptorType:
        return 0
    cdef PyMemberDef* member = (<PyMemberDescrObject*><void*>place).d_member
    return member.offset if member.type == T_OBJECT_EX else 0


cdef enum:
    FLAG_WITNESS = 1
    FLAG_MWEB = 8


@cython.final
cdef class Transaction(Fields):
    """A transaction in one of the encodings: TransactionLayout."""

    cdef bint witness
    cdef bint superfluous
    cdef Node version
    cdef List inputs
    cdef Node outputs
    cdef Node lock_time
    cdef Extended mweb
    cdef Fields tx_in
    cdef Py_ssize_t witness_place
    cdef Node stack

    def __cinit__(self, layout, tuple nodes, params, Node stack):
        self.witness = params.witness
        self.superfluous = params.rules.superfluous_witness
        self.version, self.inputs, self.outputs, self.lock_time, self.mweb = nodes
        self.tx_in = self.inputs.child
        self.witness_place = self.tx_in.names.index("witness")
        self.stack = stack
        if stack.foreign:
            self.foreign = True
            self.least = 0

    cdef object read(self, Cursor cur):
        cdef uint64_t count
        cdef int flag = 0
        cdef bint flagged = False
        cdef Py_ssize_t start = cur.pos
        name = "version"
        version = inputs = outputs = mweb = None
        try:
            version = self.version.read(cur)
            start, name = cur.pos, "inputs"
            if self.witness and cur.pos < cur.size and cur.data[cur.pos] == 0:
                flag = self.read_flag(cur)
                flagged = flag & FLAG_WITNESS != 0
            count = read_count(cur, self.inputs.most, "entries")
            inputs = self.inputs.elements(cur, count)
            start, name = cur.pos, "outputs"
            outputs = self.outputs.read(cur)
            if flag & FLAG_WITNESS:
                name = None
                self.read_witnesses(inputs, cur)
                flagged = False
            if flag & FLAG_MWEB:
                start, name = cur.pos, "mweb"
                mweb = self.read_mweb(cur)
            start, name = cur.pos, "lock_time"
            lock_time = self.lock_time.read(cur)
        except BaseException as error:
            placed = error if name is None else self.placed(error, name, start, cur)
            if cur.keeps and isinstance(placed, FieldError):
                names = ("version", "inputs", "outputs", "mweb")
                read = zip(names, (version, inputs, outputs, mweb))
                read = {name: value for name, value in read if value is not None}
                placed = self.field.keeping_named(placed, read, without_witness=flagged)
            raise placed from None
        cdef PyObject* args[6]
        if self.direct:
            made = new_of(self.record)
            fill(made, self.offsets[0], version)
            fill(made, self.offsets[1], inputs)
            fill(made, self.offsets[2], outputs)
            fill(made, self.offsets[3], lock_time)
            fill(made, self.offsets[4], mweb)
            self.fill_rest(made)
            return made
        for value in (version, inputs, outputs, lock_time, mweb):
            Py_INCREF(value)
        args[1], args[2] = <PyObject*>version, <PyObject*>inputs
        args[3], args[4] = <PyObject*>outputs, <PyObject*>lock_time
        args[5] = <PyObject*>mweb
        return made_of(self.record, args, 5)

    cdef int read_flag(self, Cursor cur) except -1:
        cdef const unsigned char* place
        need(cur, 1)
        place = need(cur, 1)
        if place is NULL:
            raise short_of(cur, 1)
        if not place[0] or place[0] & ~(FLAG_WITNESS | (FLAG_MWEB if self.mweb.there else 0)):
            known = "01, 08 or 09" if self.mweb.there else "01"
            raise FieldError(f"the byte after the witness marker is {place[0]:02x}, not {known}")
        return place[0]

    cdef bytes read_mweb(self, Cursor cur):
        if cur.pos < cur.size and cur.data[cur.pos] == 0:
            cur.pos += 1
            return b"\0"
        return self.mweb.content(cur)

    cdef int read_witnesses(self, tuple inputs, Cursor cur) except -1:
        cdef Py_ssize_t index = 0
        cdef Py_ssize_t start = 0
        cdef bint any_witness = False
        try:
            for index in range(len(inputs)):
                start = cur.pos
                witness = <tuple>self.stack.read(cur)
                if witness:
                    any_witness = True
                    # The input is ours alone as yet: nobody sees it change.
                    fill(inputs[index], self.tx_in.offsets[self.witness_place], witness)
        except FieldError as error:
            if cur.keeps:
                error.read = inputs[:index]
            raise error.inside("witness", start).inside(f"[{index}]").inside("inputs") from None
        if not any_witness and not self.superfluous:
            refused = FieldError("the witness flag is set but no input has a witness")
            refused.read = inputs
            raise refused.inside("inputs")
        return 0

    cdef int write(self, object value, Writer out) except -1:
        cdef Py_ssize_t index = 0
        cdef bint witness = False
        cdef int flag
        if type(value) is not self.record:
            return by_construct(self.field, value, out)
        inputs, mweb = self.get(value, 1), self.get(value, 4)
        if type(inputs) is list:
            inputs = tuple(<list>inputs)
        if type(inputs) is not tuple:
            return by_construct(self.field, value, out)
        if self.witness:
            for each in <tuple>inputs:
                if type(each) is self.tx_in.record:
                    witness = witness or PyObject_IsTrue(self.tx_in.get(each, self.witness_place))
                elif isinstance(each, self.tx_in.record):
                    return by_construct(self.field, value, out)
        has_mweb = self.witness and mweb is not None
        name = "version"
        try:
            self.version.write(self.get(value, 0), out)
            flag = (FLAG_WITNESS if witness else 0) | (FLAG_MWEB if has_mweb else 0)
            if flag:
                out.put(bytes((0, flag)))
            name = "inputs"
            self.inputs.write(inputs, out)
            name = "outputs"
            self.outputs.write(self.get(value, 2), out)
            if witness:
                name = None
                self.write_witnesses(<tuple>inputs, out)
            if has_mweb:
                name = "mweb"
                self.mweb.write(mweb, out)
            name = "lock_time"
            self.lock_time.write(self.get(value, 3), out)
        except ConstructError as error:
            raise (error if name is None else self.field.located(error, name)) from None
        return 0

    cdef int write_witnesses(self, tuple inputs, Writer out) except -1:
        cdef Py_ssize_t index = 0
        try:
            for index in range(len(inputs)):
                self.stack.write(self.tx_in.get(inputs[index], self.witness_place), out)
        except FieldError as error:
            raise error.inside("witness").inside(f"[{index}]").inside("inputs") from None
        return 0

    cdef bint plan_fields(self, Plan plan) except -1:
        cdef Py_ssize_t witness = self.tx_in.offsets[self.witness_place]
        cdef PyTypeObject* tx_in = <PyTypeObject*><void*>self.tx_in.record
        cdef Py_ssize_t start
        cdef Step* step
        if not self.version.plan(plan, self.offsets[0]):
            return False
        if self.witness:
            step = plan.add(MARK_WITNESS, self.offsets[1], 2)
            step.record, step.other = tx_in, witness
        if not self.inputs.plan(plan, self.offsets[1]):
            return False
        if not self.outputs.plan(plan, self.offsets[2]):
            return False
        if self.witness:
            start = plan.count
            plan.add(SKIP_WITNESS, 0, 0)
            plan.add(ENTER_AGAIN, self.offsets[1], 0).record = tx_in
            if not plan.enter() or not self.stack.plan(plan, witness):
                return False
            plan.next_entry(start + 1)
            plan.steps[start].other = plan.count - 1 - start
        if self.witness and not self.mweb.plan(plan, self.offsets[4]):
            return False
        return self.lock_time.plan(plan, self.offsets[3])


# From constructs to nodes.

REPLACED = (
    "_parsereport", "_parse", "_build", "present", "elements",
    "_field", "_input_count", "_inputs", "_witnesses", "_mweb", "_write",
)
NUMBER_SIZES = {"b": 1, "h": 2, "l": 4, "q": 8}


def _methods(kind):
    """Return the methods of a node; classes that share them share the node."""
    return tuple(getattr(kind, name, None) for name in REPLACED)


cdef dict _makers = {}


cdef dict makers():
    """Return what makes the node of a construct, by the methods of the construct's class."""
    if not _makers:
        # They import the package that this module is imported by.
        from lbcproxy.wire.messages.headers import Bare
        from lbcproxy.wire.messages.transactions import Elsewhere, TransactionLayout

        for kind, maker in (
            (FormatField, _number),
            (type(Flag), lambda field, params: Boolean(field)),
            (CompactSize, lambda field, params: Size(field)),
            (Fixed, lambda field, params: Raw(field, field.size)),
            (VarBytes, _counted),
            (Many, _list),
            (Since, _by_version),
            (IfChain, _by_chain),
            (Extension, _extension),
            (Bare, lambda field, params: BareHeader(field, node_of(field.subcon, params))),
            (Elsewhere, lambda field, params: Nowhere(field)),
            (Layout, _fields),
            (TransactionLayout, _transaction),
        ):
            _makers[_methods(kind)] = maker
    return _makers


cdef Node node_of(object field, object params):
    """Make the node of a construct, or one that lets construct do it."""
    maker = makers().get(_methods(type(field))) if field.parsed is None else None
    node = None if maker is None else maker(field, params)
    return Foreign(field) if node is None else node


def _number(field, params):
    order, code = field.fmtstr
    size = NUMBER_SIZES.get(code.lower())
    if size is None:
        return None
    big = order == ">" or (order == "=" and sys.byteorder == "big")
    return Number(field, size, code.islower(), big)


def _limit(field, params):
    """Return a field's limit; None where that must fail when it is read, as construct has it."""
    try:
        most = bound(field.limit, params)
    except Exception:
        return None
    return most if type(most) is int and 0 <= most <= LARGEST_LIMIT else None


def _counted(field, params):
    most = _limit(field, params)
    return None if most is None else Counted(field, most)


def _list(field, params):
    most = _limit(field, params)
    return None if most is None else List(field, node_of(field.subcon, params), most)


def _by_version(field, params):
    there = params.protocol_version >= field.version
    return Present(field, node_of(field.subcon, params)) if there else Absent(field)


def _by_chain(field, params):
    there = getattr(params.rules, field.rule)
    return Present(field, node_of(field.subcon, params)) if there else Absent(field)


def _extension(field, params):
    return Extended(field, params) if type(field.subcon) is Rest else None


def _fields(layout, params):
    if len(layout.fields) > MOST_FIELDS:
        return None
    nodes = []
    for place, field in enumerate(layout.fields.values()):
        nodes.append(_looking_around(layout, place, field, params) or node_of(field, params))
    return Fields(layout, tuple(nodes))


def _looking_around(layout, place, field, params):
    """Make the node of a field that only its record's node can serve; None if it is no such."""
    if field.parsed is not None:
        return None
    if _methods(type(field)) == _methods(OptionalTail):
        return Tail(field, node_of(field.subcon, params))
    if _methods(type(field)) == _methods(When):
        before = list(layout.fields)[:place]
        if field.sibling in before:
            return Conditional(field, node_of(field.subcon, params), before.index(field.sibling))
    return None


def _transaction(layout, params):
    nodes = tuple([node_of(field, params) for field in layout.fields.values()])
    if list(layout.fields) != ["version", "inputs", "outputs", "lock_time", "mweb"]:
        return None
    if type(nodes[4]) is not Extended:
        return None
    if type(nodes[1]) is not List or type((<List>nodes[1]).child) is not Fields:
        return None
    tx_in = (<List>nodes[1]).child.field
    if "witness" not in tx_in.fields or not offset_of(tx_in.record, "witness"):
        return None
    stack = node_of(tx_in.fields["witness"].subcon, params)
    return Transaction(layout, nodes, params, stack)


@cython.final
cdef class Tree:
    """The nodes of a record's construct tree, for the parameters that it depends on."""

    cdef Node root
    cdef readonly bint foreign
    """Whether construct has to do any of its fields."""
    cdef Py_ssize_t room
    cdef Plan plan  # None where there is a field without steps
    cdef bint checks

    def __init__(self, layout, params):
        self.root = node_of(layout, params)
        self.foreign = self.root.foreign
        plan = Plan(self.root)
        if self.root.plan(plan, 0):
            plan.add(END_OF_STEPS, 0, 0)
            self.plan = plan
            self.checks = (<Fields>self.root).checks

    def decode(self, bytes payload not None, params):
        """Return the record and how many bytes it took; raises FieldError."""
        cur = Cursor(payload, params)
        if self.foreign:
            cur.context = root_context(params)
        record = self.root.read(cur)
        return record, cur.pos

    def partial(self, bytes payload not None, params):
        """Return the record, and how many bytes it took, or the FieldError that tells what was read."""
        cur = Cursor(payload, params)
        cur.keeps = True
        if self.foreign:
            cur.context = root_context(params)
        try:
            record = self.root.read(cur)
        except FieldError as error:
            return error, cur.pos
        return record, cur.pos

    def encode(self, record, params):
        """Return the bytes of a record; raises FieldError."""
        made = self.by_steps(record)
        if made is not None:
            if self.checks:
                record.check()
            return made
        out = Writer(params)
        if self.foreign:
            out.context = root_context(params)
        self.root.write(record, out)
        return out.finish()

    cpdef bytes by_steps(self, record):
        """Return the bytes of a record that is exactly as declared; None for any other."""
        cdef PyObject* made
        if self.plan is None:
            return None
        # As much room as the last one took: to grow step by step costs a long one a third.
        made = written(self.plan.steps, record, self.plan.fixed, self.room)
        if made is NULL:
            return None
        result = <bytes>made
        Py_DECREF(result)
        self.room = min(PyBytes_GET_SIZE(result), MOST_ROOM)
        return result
