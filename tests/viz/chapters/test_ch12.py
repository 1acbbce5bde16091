"""The recipe switchboard: which runs the switches pick, and what its frames and its live view show."""

import pytest

from minildm.viz.chapters.ch12 import FIGURES, INGREDIENTS, RecipeSwitchboard, switches
from minildm.viz.core import style

FULL = {
    "decoder_loss": "mse",
    "warmup": 200,
    "adaptive_time": True,
    "decoder_noise": 0.5,
    "latent_norm": "rms",
    "encoder_gradient_scale": 1.0,
}
RECIPES = {
    "full": FULL,
    "no warm-up": FULL | {"warmup": 0},
    "small scale": FULL | {"encoder_gradient_scale": 0.1},
    "never run": FULL | {"adaptive_time": False},
}


def run(variant: str, seed: int) -> dict:
    curve = {
        "step": [0, 25, 50],
        "tokens": [5.0, 2.0, 9.0],
        "diffusion": [1.0, 0.5, 0.25],
        "gamma": [0.0, 0.5, 1.0],
    }
    return {"variant": variant, "seed": seed, **dict.fromkeys(FIGURES, 0.5 + seed), "curve": curve}


@pytest.fixture
def board() -> RecipeSwitchboard:
    runs = [run("full", 0), run("no warm-up", 0), run("small scale", 0), run("full", 1)]
    return RecipeSwitchboard({"rows": runs, "recipes": RECIPES})


def test_switches_read_a_recipe():
    assert all(switches(FULL).values()) and tuple(switches(FULL)) == INGREDIENTS
    off = {
        "decoder_loss": "cross_entropy",
        "warmup": 0,
        "adaptive_time": False,
        "decoder_noise": 0.0,
    }
    for i, (field, value) in enumerate(off.items()):
        assert [not on for on in switches(FULL | {field: value}).values()] == [
            i == j for j in range(4)
        ]


def test_switches_pick_the_runs_with_just_these_ingredients(board):
    assert board.variants == ["full", "no warm-up", "small scale"]
    assert board.matching(switches(FULL)) == ["full", "small scale"]
    assert board.matching(switches(RECIPES["no warm-up"])) == ["no warm-up"]
    assert board.matching(switches(RECIPES["never run"])) == []


def test_a_page_shows_the_run_and_the_mean(board):
    page = board.page("full", 1)
    assert (
        "150.0%" in page
        and "100.0%" in page
        and "no warm-up" not in page
        and page.count("<polyline") == 2
    )
    assert "no warm-up" in board.page("no warm-up", 0) and "not run" in board.page("no warm-up", 1)
    assert (
        " 330,0 " not in page and 'points="0,54 165,136 330,0"' in page
    )  # 9 nats are cut at the upper edge


def test_frames_are_variants_by_moments_of_training(board):
    frames = board.frames()
    assert len(frames.stack.children) == 3 and all(
        len(row.children) == 4 for row in frames.stack.children
    )
    first, *_, last = (frame.value for frame in frames.stack.children[0].children)
    assert (
        first.count('points=""') == 4 and 'points="0,54 165,136 330,0"' in last
    )  # two terms of two seeds
    assert (
        "<td>50.0%</td><td>150.0%</td>" in last
        and "no warm-up" in frames.stack.children[1].children[0].value
    )
    assert len(board.frames(["small scale"]).stack.children) == 1


def test_live_switches_change_the_view(board):
    live = board.live()
    assert live.variant.options == ("full", "small scale") and live.view.value == board.page(
        "full", 0
    )
    live.variant.value = "small scale"
    assert live.view.value == board.page("small scale", 0)
    live.switches["warm-up"].value = False
    assert live.view.value == board.page("no warm-up", 0)
    live.switches["adaptive time"].value = False
    assert "train them yourself" in live.view.value


def test_the_figure_has_a_panel_for_each_variant(board):
    style.use()
    axes = board.figure().axes
    assert [axis.get_title(loc="left") for axis in axes[:3]] == board.variants and len(
        axes[0].lines
    ) == 4
