"""Printing that never ends a command: what a terminal cannot show becomes "?".

Inside `safe_output` plain `print`, `tqdm` and `tqdm.write` are safe, because they write to the
streams that it puts in place.
"""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, TextIO

from typing_extensions import Buffer

from ..errors import UserError

# A broken pipe, a closed stream, a terminal that is gone.
NOBODY_READS = (errno.EPIPE, errno.EBADF, errno.EIO)


class Patient(io.RawIOBase):
    """A raw stream that drops what cannot be written, and keeps the first fault that matters."""

    def __init__(self, raw: BinaryIO):
        self.raw = raw
        self.fault: OSError | None = None

    def write(self, data: Buffer, /) -> int:
        """Write some bytes or drop them; returns how many."""
        try:
            return self.raw.write(data)
        except OSError as fault:
            if fault.errno not in NOBODY_READS:
                self.fault = self.fault or fault
            return memoryview(data).nbytes

    def writable(self) -> bool:
        """Always."""
        return True

    def fileno(self) -> int:
        """The number of the stream below."""
        return self.raw.fileno()

    def isatty(self) -> bool:
        """Whether the stream below is a terminal."""
        return self.raw.isatty()


def safe(stream: TextIO | None) -> "tuple[io.TextIOWrapper[io.BufferedWriter[Patient]], Patient]":
    """A text stream in the place of one of the process, and the raw stream below it."""
    if stream is None:  # it was closed
        patient = Patient(open(os.devnull, "wb", buffering=0))
    else:
        patient = Patient(getattr(stream.buffer, "raw", stream.buffer))
    encoding = stream.encoding if stream else "ascii"
    writer = io.BufferedWriter(patient)
    return io.TextIOWrapper(writer, encoding, "replace", line_buffering=True), patient


@contextmanager
def safe_output() -> Iterator[None]:
    """Let all output go through streams that never raise; those of a test or a notebook stay.

    Raises:
        UserError: At the end when a full disk has lost a part of the standard output.
    """
    real = sys.stdout, sys.stderr
    if real != (sys.__stdout__, sys.__stderr__):
        yield
        return
    (out, patient), (err, _) = map(safe, real)
    sys.stdout, sys.stderr = out, err
    try:
        yield
        out.flush()
        if patient.fault:
            raise UserError(
                f"the output cannot be written ({patient.fault.strerror}): send it to another place"
            )
    finally:
        for stream in (out, err):
            stream.flush()
            stream.detach().detach()  # so that the stream below stays open
        sys.stdout, sys.stderr = real
