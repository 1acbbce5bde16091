"""Printing that never ends a command: what a terminal cannot show becomes "?", and nobody reading
is no fault.

Inside `safe_output` plain `print`, `tqdm` and `tqdm.write` are safe, because they write to the
streams that it puts in place.
"""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from ..errors import UserError

NOBODY_READS = (
    errno.EPIPE,
    errno.EBADF,
    errno.EIO,
)  # a broken pipe, a closed stream, a terminal that is gone


class Patient(io.RawIOBase):
    """A raw stream that drops what cannot be written, and remembers the first fault that loses text
    somebody wanted.
    """

    def __init__(self, raw: io.RawIOBase):
        self.raw, self.fault = raw, None

    def write(self, data) -> int:
        """Write some bytes or drop them; returns how many."""
        try:
            return self.raw.write(data)
        except OSError as fault:
            if fault.errno not in NOBODY_READS:
                self.fault = self.fault or fault
            return len(data)

    def writable(self) -> bool:
        """Always."""
        return True

    def fileno(self) -> int:
        """The number of the stream below."""
        return self.raw.fileno()

    def isatty(self) -> bool:
        """Whether the stream below is a terminal."""
        return self.raw.isatty()


def safe(stream: TextIO | None) -> tuple[TextIO, Patient]:
    """A text stream in the place of one of the process, and the raw stream below it; for a closed
    one, the null device's.
    """
    if stream is None:
        raw, encoding = io.FileIO(os.devnull, "w"), "ascii"
    else:
        raw, encoding = getattr(stream.buffer, "raw", stream.buffer), stream.encoding
    patient = Patient(raw)
    return io.TextIOWrapper(
        io.BufferedWriter(patient), encoding, "replace", line_buffering=True
    ), patient


@contextmanager
def safe_output() -> Iterator[None]:
    """Let all output go through streams that never raise; those that a test or a notebook put in
    place stay.

    Raises:
        UserError: At the end when a full disk has lost a part of the standard output.
    """
    real = sys.stdout, sys.stderr
    if real != (sys.__stdout__, sys.__stderr__):
        yield
        return
    (sys.stdout, out), (sys.stderr, _) = safe(real[0]), safe(real[1])
    try:
        yield
        sys.stdout.flush()
        if out.fault:
            raise UserError(
                f"the output cannot be written ({out.fault.strerror}): send it to another place"
            )
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            stream.detach().detach()
        sys.stdout, sys.stderr = real
