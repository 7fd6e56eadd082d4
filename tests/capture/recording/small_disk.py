"""A disk without much room."""

import errno
import os


class SmallDisk:
    """A disk with room for so many bytes of each file."""

    def __init__(self, size):
        self.size = size
        self.written = 0
        """How often it was written to."""

    def write_all(self, descriptor, parts):
        """Write as much as there is room for."""
        self.written += 1
        data = b"".join(parts)
        room = max(0, self.size - os.fstat(descriptor).st_size)
        os.write(descriptor, data[:room])
        if len(data) > room:
            raise OSError(errno.ENOSPC, "No space left on device")
