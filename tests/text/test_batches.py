"""Batches are a pure function of seed and step, and show every row."""

import numpy as np
import pytest
import torch

from minildm.errors import UserError
from minildm.text.batches import Batches, valid_batches


def table(count: int) -> np.ndarray:
    return np.arange(count * 5, dtype=np.uint16).reshape(count, 5)


def test_any_order_of_steps_gives_the_same_batches():
    batches = Batches(table(20), 6, seed=7)
    forward = {step: batches.at(step) for step in range(12)}
    for step in (11, 0, 5, 4, 3, 11, 7):
        assert torch.equal(batches.at(step), forward[step])
        assert torch.equal(Batches(table(20), 6, seed=7).at(step), forward[step])


def test_an_epoch_shows_each_row_once_in_a_new_order():
    batches = Batches(table(24), 6, seed=0)
    epochs = [
        torch.cat([batches.at(4 * epoch + i) for i in range(4)])[:, 0] // 5 for epoch in range(3)
    ]
    for order in epochs:
        assert sorted(order.tolist()) == list(range(24))
    assert not torch.equal(epochs[0], epochs[1]) and not torch.equal(epochs[1], epochs[2])
    assert not torch.equal(epochs[0], Batches(table(24), 24, seed=1).at(0)[:, 0] // 5)


def test_rows_left_over_come_in_other_epochs():
    batches = Batches(table(7), 3, seed=0)
    seen = {int(i) for step in range(40) for i in batches.at(step)[:, 0] // 5}
    assert seen == set(range(7))


def test_a_memory_map_serves(tmp_path):
    np.save(tmp_path / "rows.npy", table(9))
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    assert torch.equal(Batches(mapped, 4, 0).at(3), Batches(table(9), 4, 0).at(3))


def test_a_batch_larger_than_the_corpus_is_refused():
    with pytest.raises(
        UserError, match=r"has 5 rows, fewer than a batch of 8: lower --train\.batch"
    ):
        Batches(table(5), 8, 0)


def test_valid_batches_are_all_rows_in_order():
    parts = list(valid_batches(table(10), 4))
    assert [len(part) for part in parts] == [4, 4, 2]
    assert torch.equal(torch.cat(parts), torch.from_numpy(table(10).astype(np.int64)))
