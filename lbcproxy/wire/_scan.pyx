# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=True
"""`scan.by_python`, compiled. Tests check that both return the same.

The hash is hashlib's, which uses the processor's own instructions for it.
"""

from libc.stdint cimport uint32_t
from libc.string cimport memcmp

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.object cimport PyObject

from hashlib import sha256

cdef extern from "Python.h":
    PyObject* PyDict_GetItemWithError(object mapping, object key) except? NULL

DEF HEADER = 24
DEF COMMAND = 12


def by_native(data, bytes magic not None, dict known not None, bint verify=True):
    """Return the commands of the valid frames that data begins with, and where each ends."""
    cdef const unsigned char[::1] view = data
    cdef const unsigned char* first
    cdef const unsigned char* place
    cdef const unsigned char* last_command = NULL
    cdef Py_ssize_t left = view.shape[0]
    cdef Py_ssize_t end = 0
    cdef uint32_t length
    cdef Py_ssize_t most = -1
    cdef PyObject* found
    names = []
    ends = []
    if left < HEADER or len(magic) != 4:
        return names, ends
    first = place = &view[0]
    while left >= HEADER:
        if memcmp(place, PyBytes_AS_STRING(magic), 4) != 0:
            break
        if last_command is NULL or memcmp(place + 4, last_command, COMMAND) != 0:
            found = PyDict_GetItemWithError(
                known, PyBytes_FromStringAndSize(<const char*>place + 4, COMMAND)
            )
            if found is NULL:
                break
            name, limit = <object>found
            most = limit
            last_command = place + 4
        length = (
            <uint32_t>place[16] | <uint32_t>place[17] << 8 | <uint32_t>place[18] << 16
            | <uint32_t>place[19] << 24
        )
        if <Py_ssize_t>length > most or left - HEADER < <Py_ssize_t>length:
            break
        if verify:
            payload = PyBytes_FromStringAndSize(<const char*>place + HEADER, length)
            digest = sha256(sha256(payload).digest()).digest()
            if memcmp(PyBytes_AS_STRING(digest), place + 20, 4) != 0:
                break
        end += HEADER + <Py_ssize_t>length
        left -= HEADER + <Py_ssize_t>length
        place = first + end
        names.append(name)
        ends.append(end)
    return names, ends
