/* Writing a record that is exactly as it was declared: one loop over a flat list of steps.

The nodes of `_native.pyx` lay out the steps once for a tree (`Plan`). The loop knows only the
plain case. At the first thing that is not (another type, a number out of range, too long a list)
it gives up, and the nodes write the record again from its beginning: they know the words of errors,
subclasses, and what construct does. So nothing here says what is wrong.

Values are read where they lie, and no reference is taken: the GIL is held, and nothing that is
called from here runs Python code, so nothing can change or go in the meantime. */

#ifndef LBCPROXY_WRITE_H
#define LBCPROXY_WRITE_H

#include <Python.h>
#include <stdint.h>
#include <string.h>

enum {
    MOST_LEVELS = 16,  /* records and lists inside one another */
    BRIEF = 512,       /* bytes that are collected on the stack */
    LONGEST_SIZE = 9,  /* bytes of a CompactSize */
    NUMBER_ROOM = 8,   /* bytes that are stored of any number; the next value covers the rest */
};

#define KINDS(DO)                                                                            \
    /* A value: `offset` is its place in the record, or in the list. */                      \
    DO(PUT_NUMBER)   /* an int from -`least` to `most`, `size` bytes, little endian */       \
    DO(PUT_BIG)      /* the same, big endian */                                              \
    DO(PUT_COMPACT)  /* an int as a CompactSize */                                           \
    DO(PUT_FLAG)     /* True or False, one byte */                                           \
    DO(PUT_RAW)      /* bytes, exactly `size` */                                             \
    DO(PUT_COUNTED)  /* bytes after their number, at most `most` */                          \
    DO(PUT_NONE)     /* None, nothing on the wire */                                         \
    DO(PUT_ZERO)     /* no value, a zero byte on the wire */                                 \
    DO(PUT_STACK)    /* at most `least` bytes after their number, each at most `most` */     \
    /* Another place: `record` is the class that must be found there; NULL for other values. \
       `other` is a distance in steps. */                                                    \
    DO(ENTER_RECORD) /* the steps up to LEAVE_RECORD are those of a record */                \
    DO(LEAVE_RECORD)                                                                         \
    DO(ENTER_LIST)   /* a count, at most `most`; NEXT_ENTRY, at `other`, ends an entry */    \
    DO(ENTER_AGAIN)  /* the entries of a list once more, without the count */                \
    DO(NEXT_ENTRY)   /* to the next entry: back to after the beginning at `other`; or on */  \
    /* Transactions: `other` is where an input keeps its witness, then a distance. */        \
    DO(MARK_WITNESS) /* 00 01 if an input, of the class `record`, has a witness */           \
    DO(SKIP_WITNESS) /* on at `other` if none has */                                         \
    DO(END_OF_STEPS)

#define NAME(kind) kind,
typedef enum { KINDS(NAME) } Kind;
#undef NAME

typedef struct {
    Kind kind;
    Py_ssize_t size;
    Py_ssize_t offset;
    Py_ssize_t other;
    uint64_t most;
    uint64_t least;
    PyTypeObject *record;
} Step;

/* What is written: on the stack while it is short, then in a bytes object that is cut to size. */
typedef struct {
    PyObject *bytes;
    unsigned char *start;
    unsigned char *limit; /* after it there is room for all steps taken once: `fixed` */
    Py_ssize_t fixed;
    unsigned char brief[BRIEF];
} Output;

/* A record or a list that was entered. */
typedef struct {
    char *around; /* the base of what it is in */
    PyObject **entry;
    PyObject **end;
} Level;

/* Move to where there is room for `count` bytes and the fixed ones; NULL if there is none. */
static unsigned char *
grown(Output *out, unsigned char *place, Py_ssize_t count)
{
    Py_ssize_t used = place - out->start;
    Py_ssize_t room = 2 * (used + count) + out->fixed;
    if (out->bytes != NULL)
        _PyBytes_Resize(&out->bytes, room);
    else {
        out->bytes = PyBytes_FromStringAndSize(NULL, room);
        if (out->bytes != NULL)
            memcpy(PyBytes_AS_STRING(out->bytes), out->brief, used);
    }
    if (out->bytes == NULL) {
        PyErr_Clear(); /* the nodes will come to it, too */
        return NULL;
    }
    out->start = (unsigned char *)PyBytes_AS_STRING(out->bytes);
    out->limit = out->start + room - out->fixed;
    return out->start + used;
}

/* memcpy, with no call for the lengths that hashes, keys, signatures and scripts have. */
static inline void
copy(unsigned char *place, const char *from, size_t size)
{
    if (size - 16 <= 16) {
        memcpy(place, from, 16);
        memcpy(place + size - 16, from + size - 16, 16);
    }
    else if (size - 32 <= 32) {
        memcpy(place, from, 32);
        memcpy(place + size - 32, from + size - 32, 32);
    }
    else if (size - 64 <= 64) {
        memcpy(place, from, 64);
        memcpy(place + size - 64, from + size - 64, 64);
    }
    else if (size)
        memcpy(place, from, size);
}

/* Store a number little endian; all eight bytes are written. */
static inline void
put_little(unsigned char *place, uint64_t number)
{
#if PY_LITTLE_ENDIAN
    memcpy(place, &number, 8);
#else
    for (int index = 0; index < 8; index++)
        place[index] = (unsigned char)(number >> 8 * index);
#endif
}

static inline unsigned char *
put_size(unsigned char *place, uint64_t number)
{
    if (number < 0xFD) {
        *place = (unsigned char)number;
        return place + 1;
    }
    int size = number >> 16 == 0 ? 2 : number >> 32 == 0 ? 4 : 8;
    *place = size == 2 ? 0xFD : size == 4 ? 0xFE : 0xFF;
    put_little(place + 1, number);
    return place + 1 + size;
}

/* Write bytes after their number. */
static inline unsigned char *
put_counted(unsigned char *place, PyObject *value, uint64_t most, Output *out)
{
    if (value == NULL || Py_TYPE(value) != &PyBytes_Type)
        return NULL;
    Py_ssize_t size = PyBytes_GET_SIZE(value);
    if ((uint64_t)size > most)
        return NULL;
    if (out->limit - place < size && (place = grown(out, place, size)) == NULL)
        return NULL;
    place = put_size(place, (uint64_t)size);
    copy(place, PyBytes_AS_STRING(value), (size_t)size);
    return place + size;
}

static inline PyObject *
value_at(const char *base, const Step *step)
{
    return *(PyObject **)(base + step->offset);
}

/* Read an int that is within a step's bounds; a negative one as two's complement. */
static inline int
take_number(PyObject *value, const Step *step, uint64_t *number)
{
    if (value == NULL || Py_TYPE(value) != &PyLong_Type)
        return 0;
#if PY_VERSION_HEX < 0x030C0000 && PyLong_SHIFT == 30
    const digit *digits = ((PyLongObject *)value)->ob_digit;
    Py_ssize_t size = Py_SIZE(value);
    Py_ssize_t count = size < 0 ? -size : size;
    uint64_t magnitude;
    switch (count) {
    case 0:
        magnitude = 0;
        break;
    case 1:
        magnitude = digits[0];
        break;
    case 2:
        magnitude = digits[0] | (uint64_t)digits[1] << 30;
        break;
    case 3:
        if (digits[2] >> 4)
            return 0;
        magnitude = digits[0] | (uint64_t)digits[1] << 30 | (uint64_t)digits[2] << 60;
        break;
    default:
        return 0;
    }
    *number = size < 0 ? 0 - magnitude : magnitude;
    return magnitude <= (size < 0 ? step->least : step->most);
#else
    int overflow = 0;
    long long small;
#if PY_VERSION_HEX >= 0x030C0000
    if (PyUnstable_Long_IsCompact((PyLongObject *)value))
        small = PyUnstable_Long_CompactValue((PyLongObject *)value);
    else
#endif
        small = PyLong_AsLongLongAndOverflow(value, &overflow);
    *number = (uint64_t)small;
    if (overflow > 0) {
        *number = PyLong_AsUnsignedLongLong(value);
        if (*number == (uint64_t)-1 && PyErr_Occurred()) {
            PyErr_Clear();
            return 0;
        }
        return *number <= step->most;
    }
    return overflow == 0 && (small < 0 ? 0 - *number <= step->least : *number <= step->most);
#endif
}

/* Find the entries of a tuple or a list; 0 if it is neither. */
static inline int
entries_of(PyObject *value, PyObject ***entries, Py_ssize_t *count)
{
    if (value == NULL)
        return 0;
    if (PyTuple_CheckExact(value))
        *entries = ((PyTupleObject *)value)->ob_item;
    else if (PyList_CheckExact(value))
        *entries = ((PyListObject *)value)->ob_item;
    else
        return 0;
    *count = Py_SIZE(value);
    return 1;
}

/* Return the base of a list's entry: the record, or where the list has the value. */
static inline char *
base_of(PyObject **entry, const Step *list)
{
    if (list->record == NULL)
        return (char *)entry;
    return Py_TYPE(*entry) == list->record ? (char *)*entry : NULL;
}

/* Whether an input has a witness; -1 if an input or a witness before it is of another type. */
static inline int
any_witness(PyObject *inputs, const Step *step)
{
    PyObject **entries, **items;
    Py_ssize_t count, index, size;
    if (!entries_of(inputs, &entries, &count))
        return -1;
    for (index = 0; index < count; index++) {
        if (Py_TYPE(entries[index]) != step->record)
            return -1;
        if (!entries_of(*(PyObject **)((char *)entries[index] + step->other), &items, &size))
            return -1;
        if (size)
            return 1;
    }
    return 0;
}

#ifdef __GNUC__
/* Each step ends with a jump of its own, so that the processor learns what follows what: that is
   a sixth of the time. */
#define PLACE(kind) &&at_##kind,
#define BEGIN static const void *const places[] = {KINDS(PLACE)}; goto *places[step->kind];
#define AT(kind) at_##kind
#define GO_ON do { step++; goto *places[step->kind]; } while (0)
#define AHEAD(place) __builtin_prefetch(place)
#else
#define BEGIN again: switch (step->kind)
#define AT(kind) case kind
#define GO_ON do { step++; goto again; } while (0)
#define AHEAD(place) (void)(place)
#endif

/* Write a record; give where it ends, or NULL. */
static unsigned char *
taken(const Step *step, PyObject *record, Output *out, unsigned char *place)
{
    Level levels[MOST_LEVELS + 1];
    Level *level = levels;
    char *base = (char *)&record;
    PyObject **entries;
    PyObject *value;
    Py_ssize_t count;
    uint64_t number;
    int marked = 0;

    BEGIN {
    AT(PUT_NUMBER):
        if (!take_number(value_at(base, step), step, &number))
            return NULL;
        put_little(place, number);
        place += step->size;
        GO_ON;
    AT(PUT_BIG):
        if (!take_number(value_at(base, step), step, &number))
            return NULL;
        for (count = step->size; count-- > 0; number >>= 8)
            place[count] = (unsigned char)number;
        place += step->size;
        GO_ON;
    AT(PUT_COMPACT):
        if (!take_number(value_at(base, step), step, &number))
            return NULL;
        place = put_size(place, number);
        GO_ON;
    AT(PUT_FLAG):
        value = value_at(base, step);
        if (value != Py_True && value != Py_False)
            return NULL;
        *place++ = value == Py_True;
        GO_ON;
    AT(PUT_RAW):
        value = value_at(base, step);
        if (value == NULL || Py_TYPE(value) != &PyBytes_Type
            || PyBytes_GET_SIZE(value) != step->size)
            return NULL;
        copy(place, PyBytes_AS_STRING(value), (size_t)step->size);
        place += step->size;
        GO_ON;
    AT(PUT_COUNTED):
        place = put_counted(place, value_at(base, step), step->most, out);
        if (place == NULL)
            return NULL;
        GO_ON;
    AT(PUT_NONE):
        if (value_at(base, step) != Py_None)
            return NULL;
        GO_ON;
    AT(PUT_ZERO):
        *place++ = 0;
        GO_ON;
    AT(PUT_STACK):
        if (!entries_of(value_at(base, step), &entries, &count) || (uint64_t)count > step->least)
            return NULL;
        place = put_size(place, (uint64_t)count);
        for (; count > 0; count--) {
            place = put_counted(place, *entries++, step->most, out);
            if (place == NULL)
                return NULL;
        }
        GO_ON;
    AT(ENTER_RECORD):
        value = value_at(base, step);
        if (value == NULL || Py_TYPE(value) != step->record)
            return NULL;
        (++level)->around = base;
        base = (char *)value;
        GO_ON;
    AT(LEAVE_RECORD):
        base = (level--)->around;
        GO_ON;
    AT(ENTER_LIST):
    AT(ENTER_AGAIN):
        if (!entries_of(value_at(base, step), &entries, &count))
            return NULL;
        if (step->kind == ENTER_LIST) {
            if ((uint64_t)count > step->most)
                return NULL;
            place = put_size(place, (uint64_t)count);
        }
        if (count == 0) {
            step += step->other;
            GO_ON;
        }
        *++level = (Level){base, entries, entries + count};
        base = base_of(entries, step);
        if (base == NULL)
            return NULL;
        GO_ON;
    AT(NEXT_ENTRY):
        if (place > out->limit && (place = grown(out, place, 0)) == NULL)
            return NULL;
        if (++level->entry == level->end) {
            base = (level--)->around;
            GO_ON;
        }
        /* Ask for what the next entry holds: records lie scattered once others were freed. */
        if (step->record != NULL && level->end - level->entry > 1
            && Py_TYPE(level->entry[1]) == step->record) {
            const char *next = (const char *)level->entry[1];
            for (count = sizeof(PyObject); count < step->record->tp_basicsize;
                 count += sizeof(void *))
                AHEAD(*(void **)(next + count));
            if (level->end - level->entry > 2)
                AHEAD(level->entry[2]);
        }
        base = base_of(level->entry, step);
        if (base == NULL)
            return NULL;
        step += step->other;
        GO_ON;
    AT(MARK_WITNESS):
        marked = any_witness(value_at(base, step), step);
        if (marked < 0)
            return NULL;
        if (marked) {
            *place++ = 0;
            *place++ = 1;
        }
        GO_ON;
    AT(SKIP_WITNESS):
        if (!marked)
            step += step->other;
        GO_ON;
    AT(END_OF_STEPS):
        return place;
    }
#ifndef __GNUC__
    return NULL;
#endif
}

#undef BEGIN
#undef AT
#undef GO_ON
#undef AHEAD

/* Return the bytes of a record; NULL, with no error set, if it is not as the steps expect.

`fixed` are the bytes of all steps taken once, lists and counted bytes left out; `room` is how many
bytes are expected in all. */
static PyObject *
written(const Step *steps, PyObject *record, Py_ssize_t fixed, Py_ssize_t room)
{
    Output out;
    unsigned char *place = out.brief;
    PyObject *result;
    Py_ssize_t size;
    out.bytes = NULL;
    out.start = out.brief;
    out.fixed = fixed;
    if (room + fixed <= BRIEF)
        out.limit = out.brief + BRIEF - fixed;
    else
        place = grown(&out, place, (room + 1) / 2);
    if (place != NULL)
        place = taken(steps, record, &out, place);
    if (place == NULL) {
        Py_XDECREF(out.bytes);
        return NULL;
    }
    size = place - out.start;
    if (out.bytes != NULL && size > PyBytes_GET_SIZE(out.bytes) / 2) {
        _PyBytes_Resize(&out.bytes, size);
        result = out.bytes;
    }
    else {
        result = PyBytes_FromStringAndSize((char *)out.start, size);
        Py_XDECREF(out.bytes);
    }
    if (result == NULL)
        PyErr_Clear();
    return result;
}

#endif
