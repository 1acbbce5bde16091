"""Ctrl-C during a training: the first asks it to stop after its step and to save, the second stops
it at once.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

SAID = b"\nstopping after this step, then saving; Ctrl-C again stops at once\n"


@contextmanager
def patient(active: bool) -> Iterator[list[bool]]:
    """Turn the first Ctrl-C into an entry of a list, empty until then; outside of the main thread
    nothing changes.
    """
    asked: list[bool] = []

    def hear(number, frame) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(True)
        with suppress(OSError):
            os.write(2, SAID)  # a stream may be in the middle of a write

    if not active or threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = signal.signal(signal.SIGINT, hear)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
