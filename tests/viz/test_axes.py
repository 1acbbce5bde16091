"""What a player runs over moves the curves and not the axes, so that a reader may compare sizes."""

import pytest
import torch

from minildm.viz import (
    bridging,
    costs_to_go,
    kicks,
    matching,
    moving,
    rectifying,
    steering,
    stepping,
    style,
)

PLAYED = [
    (kicks, "time", {"system": "pendulum"}),
    (costs_to_go, "time", {"system": "cart"}),
    (bridging, "time", {}),
    (bridging, "noise", {}),
    (bridging, "noise", {"coupling": "pinned"}),
    (moving, "time", {}),
    (moving, "time", {"law": "narrow modes", "noise": 2.0}),
    (matching, "time", {"data": "two narrow modes"}),
    (matching, "batch", {"data": "noise itself"}),
    (rectifying, "width", {}),
    (stepping, "steps", {"std": 0.1}),
    (steering, "weight", {"system": "pendulum"}),
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


@pytest.mark.parametrize("data", matching.LAWS)
def test_no_density_leaves_its_axes(data):
    """All couplings, and the flow's own ends as pairs."""
    for batch, reflow, time in (
        (1, "none", 0.0),
        (1, "none", 0.5),
        (64, "none", 0.75),
        (1, "once", 0.5),
        (4, "once", 1.0),
    ):
        shown = matching.matched(batch, reflow, time, data)
        assert shown.density.max() < 1.15 * shown.top


def test_no_term_of_the_balance_leaves_its_axes():
    for law in moving.LAWS:
        for time in (0.05, 0.85, 0.95):
            shown = moving.moving(time, 2.0, law, moving.DRIFTS[0])
            terms = torch.stack(
                (
                    shown.balance.rate,
                    shown.balance.drift,
                    shown.balance.noise,
                    shown.balance.residual,
                )
            )
            assert (
                terms.abs().max() < 1.1 * shown.top
                and shown.density.max() <= 1.35 * shown.sheet.max()
            )
