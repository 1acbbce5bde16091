"""Scenes: what a run becomes for the page, paths to arrays by pure functions."""

import pytest
import torch

from minildm.dynamics.records import Trajectory
from minildm.viz.trajectory.excerpts import as_html
from minildm.viz.trajectory.scenes import (
    HIDDEN,
    PATHS,
    Shown,
    arrows,
    excerpt,
    final_words,
    first_index,
    flow_of,
    plane_of,
    scene_of,
    speeds,
    unchanged_fraction,
)

from .writers import STEPS, TEXTS, N, Straight, explorer, log_snr, pieces, scene


def test_plane_holds_the_way_and_across_it_the_most_variance():
    cloud, way = Straight(0).cloud, torch.randn(15, generator=torch.Generator().manual_seed(3))
    data, directions = cloud.flatten(1), plane_of(cloud, way)
    assert torch.allclose(directions.T @ directions, torch.eye(2), atol=1e-5)
    assert torch.allclose(way @ directions, torch.tensor([float(way.norm()), 0]), atol=1e-5)
    across = torch.eye(15) - torch.outer(way, way) / way.square().sum()
    best = torch.linalg.eigvalsh(torch.cov((data @ across).T))[-1]
    assert torch.allclose((data @ directions[:, 1]).var(), best, rtol=1e-4)


def test_path_and_data_both_fill_the_plane():
    """Latents of std 1 that spread most in a few of many directions: neither the way nor the cloud is a knot."""
    rng = torch.Generator().manual_seed(0)
    cloud = torch.randn(40, N, 60, generator=rng) * 0.7
    cloud[:, 0, :2] *= 8
    t, starts = torch.linspace(0, 1, 9), torch.randn(TEXTS, N, 60, generator=rng)
    states = starts + t[:, None, None, None] * (cloud[:TEXTS] - starts)
    tokens = torch.full((9, TEXTS, N), 4)
    here = scene_of(
        (Trajectory(t, states, None, tokens, torch.ones(tokens.shape)),),
        0,
        "latents",
        cloud,
        log_snr,
        pieces,
    )
    both = torch.cat((here.paths.flatten(0, 2), here.cloud))
    span = both.max(0).values - both.min(0).values
    assert (here.paths[0, -1].mean(0) - here.paths[0, 0].mean(0))[0] > 0.4 * span[0]
    assert here.cloud[:, 1].max() - here.cloud[:, 1].min() > 0.6 * span[1]


def test_words_are_unchanged_since_their_last_change():
    tokens = torch.tensor(
        [[[[4, 5]], [[4, 6]], [[4, 6]], [[4, 7]], [[4, 7]]]]
    )  # one path and text, five times
    fractions = unchanged_fraction(tokens, torch.tensor([0.0, 0.2, 0.5, 0.6, 1.0]))[0, :, 0]
    assert torch.allclose(fractions[:, 0], torch.tensor([0.0, 1, 1, 1, 1]))
    assert torch.allclose(fractions[:, 1], torch.tensor([0.0, 0, 0.6, 0, 0.4]))


def test_noise_is_not_shaded_however_sure_its_decoder_is():
    """At the start no word has been unchanged; and what is not written yet never is shaded."""
    shown = explorer().at(time=0.0)
    start = as_html(excerpt(shown, 0))
    assert start.count("<i ") == start.count('class="c0') == N
    moments = [
        as_html(excerpt(Shown(shown.scene, text, k), 0))
        for k in range(STEPS + 1)
        for text in range(TEXTS)
    ]
    hidden = [piece for page in moments for piece in page.split("<i ") if HIDDEN in piece]
    assert (
        hidden
        and all('"c0' in piece for piece in hidden)
        and any('"c7' in page for page in moments)
    )


def test_the_curves_of_a_straight_path():
    writer, here = Straight(0), scene()
    z0, z1 = writer.ends(0)
    whole = (z1 - z0).flatten(1).square().mean(1).sqrt()
    snr, speed, distance = here.curves.values()
    assert torch.allclose(speed, whole.expand_as(speed), rtol=1e-4)
    assert torch.allclose(distance[0], whole * (1 - here.times[:, None]), atol=1e-5)
    assert torch.allclose(
        snr[0, 1:-1], log_snr(here.times[1:-1, None]).clamp(-12, 12).expand(-1, TEXTS)
    )
    directions = plane_of(writer.cloud, (z1 - z0).mean(0).flatten())
    assert torch.allclose(
        here.paths[0, 8], (z0 + 0.25 * (z1 - z0)).flatten(1) @ directions, atol=1e-5
    )


def test_texts_of_words_show_how_many_are_final_and_no_flow():
    tokens = torch.tensor([[[[4, 3, 3, 0]], [[4, 5, 3, 0]], [[4, 6, 5, 0]]]])
    assert torch.allclose(final_words(tokens)[0, :, 0], torch.tensor([1 / 3, 1 / 3, 1]))
    here = scene(Straight(1, latent=False))
    assert next(iter(here.curves)) == "final words" and not len(arrows(here, 8)[0])
    places, flow = arrows(scene(), 8)
    assert places.shape == flow.shape and flow.norm(dim=1).max() == pytest.approx(1.0, abs=1e-5)


def test_speeds_leave_the_jump_of_a_disturbance_out():
    states = torch.zeros(3, 5, 1, 2)
    states[:, 1:] += torch.arange(1.0, 5)[:, None, None]
    states[1:, 2:] += 100
    assert torch.allclose(speeds(states, torch.linspace(0, 1, 5), 2), torch.full((3, 5, 1), 4.0))


def test_words_are_marked_where_they_change():
    writer = Straight(0)
    (plan,), _ = writer.paths()
    here = scene(writer)
    assert here.words[0][4][1] == [
        HIDDEN if w == "<mask>" else w for w in pieces(plan.tokens[4, 1].tolist())
    ]
    assert (
        torch.equal(here.marked[0, 1:], plan.tokens[1:] != plan.tokens[:-1])
        and not here.marked[0, 0].any()
    )


def test_distances_to_the_plan_are_those_of_the_disturbance():
    here = scene(moment=0.25, size=2)
    jump = 2 * torch.randn(TEXTS, N, 3, generator=torch.Generator().manual_seed(0))
    size, distance = jump.flatten(1).square().mean(1).sqrt(), here.curves["distance to the plan"]
    assert here.at == 8 and (distance[:, :8] == 0).all() and (distance[0] == 0).all()
    assert torch.allclose(distance[2, 8:], size.expand(25, TEXTS), atol=1e-5)
    assert torch.allclose(distance[1, 8:], size * (1 - here.times[8:, None]) / 0.75, atol=1e-5)


def test_other_words_are_those_that_differ_from_the_plan():
    writer = Straight(0)
    (plan, closed, _), _ = writer.paths(size=2)
    here = scene(writer, size=2)
    differ = closed.tokens != plan.tokens
    assert torch.equal(here.marked[1], differ) and not here.marked[0].any()
    assert torch.allclose(here.curves["fraction of other words"][1], differ.sum(-1) / N)
    assert [first_index(here, path) for path in range(len(PATHS))] == [0, 16, 16]


def test_an_excerpt_is_of_the_path_the_time_and_the_text():
    shown = explorer().at(time=0.75, text=2, size=2)
    said, plan = excerpt(shown, 1), excerpt(shown, 0)
    (truth, *_), _ = Straight(0).paths(size=2)
    assert shown.k == 24 and said.marked[:2].all() and not said.marked[2:].any()
    assert plan.words == [
        HIDDEN if word == "<mask>" else word for word in pieces(truth.tokens[24, 2].tolist())
    ]


def test_flow_of_one_point_heads_to_it_and_of_pure_noise_to_the_mean():
    places = torch.tensor([[0.0, 0.0], [2.0, -1.0]])
    one = torch.tensor([[3.0, 4.0]])
    assert torch.allclose(flow_of(one, places, 0.0), one - places)
    data = torch.randn(50, 2, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(flow_of(data, places, -40.0), data.mean(0) - places, atol=1e-5)
    assert torch.allclose(flow_of(data, data[:3], 12.0), torch.zeros(3, 2), atol=0.05)
