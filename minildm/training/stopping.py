"""Ctrl-C during a training: the first stops it after its step and saves, the second at once."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

SAID = b"\nstopping after this step, then saving; Ctrl-C again stops at once\n"


@contextmanager
def patient(active: bool) -> Iterator[list[bool]]:
    """Turn the first Ctrl-C into an entry of a list, which is empty until then.

    Outside of the main thread nothing changes.

    Args:
        active: False to leave Ctrl-C as it is.

    Returns:
        The list, for the time of the context.
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
