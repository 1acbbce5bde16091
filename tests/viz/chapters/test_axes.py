"""What a player runs over moves the curves and not the axes, so that a reader may compare sizes."""

import pytest
import torch

from minildm.viz.chapters import ch01, ch02, ch03, ch04, ch05, ch06, ch08, ch10
from minildm.viz.core import style

PLAYED = [
    (ch03, "time", {"system": "pendulum"}),
    (ch02, "time", {"system": "cart"}),
    (ch04, "time", {}),
    (ch04, "noise", {}),
    (ch04, "noise", {"coupling": "pinned"}),
    (ch05, "time", {}),
    (ch05, "time", {"data": "narrow modes", "noise": 2.0}),
    (ch06, "time", {"data": "two narrow modes"}),
    (ch06, "batch", {"data": "noise itself"}),
    (ch10, "width", {}),
    (ch08, "steps", {"std": 0.1}),
    (ch01, "weight", {"system": "pendulum"}),
]


@pytest.mark.parametrize(("module", "knob", "fixed"), PLAYED)
def test_limits_are_the_same_in_all_frames(module, knob, fixed):
    style.use()
    explorer = module.explorer()
    figures = [
        explorer.figure(**{knob: value}, **fixed) for value in sorted(explorer.knobs[knob])[::2]
    ]
    windows = [torch.tensor([axes.axis() for axes in figure.axes]) for figure in figures]
    assert len(windows) > 2 and all(
        torch.allclose(window, windows[0], rtol=1e-4) for window in windows
    ), knob


@pytest.mark.parametrize("data", ch06.DATA)
def test_no_density_leaves_its_axes(data):
    """All couplings, and the flow's own ends as pairs."""
    for batch, reflow, time in (
        (1, "none", 0.0),
        (1, "none", 0.5),
        (64, "none", 0.75),
        (1, "once", 0.5),
        (4, "once", 1.0),
    ):
        shown = ch06.matched(batch, reflow, time, data)
        assert shown.density.max() < 1.15 * shown.top


def test_no_term_of_the_balance_leaves_its_axes():
    for data in ch05.DATA:
        for time in (0.05, 0.85, 0.95):
            shown = ch05.moving(time, 2.0, data, ch05.DRIFTS[0])
            assert shown.balance.largest < 1.1 * shown.top
            assert shown.density.max() <= 1.35 * shown.sheet.max()
