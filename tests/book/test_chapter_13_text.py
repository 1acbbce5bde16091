"""What chapter 13 says of its outputs, beside these outputs."""

import re

from .notebooks import CHAPTERS, load, outputs, printed, prose

CHAPTER = next(load(path) for path in CHAPTERS if path.name.startswith("13"))
ROW = re.compile(
    r"push ([\d.]+) at t = ([\d.]+): good sentences ([\d.–]+) \(closed\) ([\d.–]+) \(replayed\)"
)


def pushes(size: float) -> list[tuple[float, list[float], list[float]]]:
    """The first look's table for one size: time of the push, and good sentences of the closed loop and of the replay."""
    rows = [row for output in outputs(CHAPTER) for row in ROW.findall(printed(output))]
    return [
        (float(t), *([float(x) for x in ends.split("–")] for ends in both))
        for s, t, *both in rows
        if float(s) == size
    ]


def test_what_the_first_look_says_of_pushes():
    """Equal at 0.2, worse at 0.4 before the last step, better early and worse late at 0.8; the replay is level."""
    for size in (0.2, 0.4, 0.8):
        assert (
            len(pushes(size)) == 6
            and len({tuple(replayed) for _, _, replayed in pushes(size)}) == 1
        )
    assert all(
        min(closed) < max(replayed) + 0.005 and max(closed) > min(replayed) - 0.005
        for _, closed, replayed in pushes(0.2)
    )
    assert all(max(closed) < min(replayed) for t, closed, replayed in pushes(0.4) if t < 0.5)
    early, late = (
        [row for row in pushes(0.8) if row[0] < 0.12],
        [row for row in pushes(0.8) if 0.25 < row[0] < 0.45],
    )
    assert early and all(min(closed) > max(replayed) for _, closed, replayed in early)
    assert late and all(max(closed) < min(replayed) for _, closed, replayed in late)


def test_true_tales_are_credited_to_the_solver_that_writes_them():
    """Wherever the chapter says that nine tales of ten are true, it says that this is autoregressive decoding."""
    said = [
        line
        for line in prose(CHAPTER).splitlines()
        if re.search("nine true tales", line, re.IGNORECASE)
    ]
    assert said and all("`entropy_bounded`" in line or "autoregressive" in line for line in said)
