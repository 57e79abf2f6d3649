"""A recording as it was sent: its bytes, and a descriptor from which another process can read them."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from mmap import ACCESS_READ, mmap
from typing import BinaryIO

Contents = bytes | mmap  # a mapped file is not read before it is looked at
Sent = bytes | BinaryIO  # a file has a descriptor, and is not empty


class Source:
    """Bytes in memory, or a file that is never read into this process's memory as a whole."""

    __slots__ = ("_file", "data")

    def __init__(self, sent: Sent) -> None:
        self._file = None if isinstance(sent, bytes) else sent
        self.data: Contents = sent if isinstance(sent, bytes) else mmap(sent.fileno(), 0, access=ACCESS_READ)

    @contextmanager
    def descriptor(self) -> Iterator[int]:
        """Of a file that holds the recording, valid in the block."""
        if self._file is not None:
            yield self._file.fileno()
            return
        fd = anonymous_file()
        try:
            rest = memoryview(self.data)
            while rest:
                rest = rest[os.write(fd, rest) :]
            yield fd
        finally:
            os.close(fd)


def anonymous_file() -> int:
    """The descriptor of an empty file in memory that has no name; on disk where the system has no such files."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("whisper_serve")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
