"""Batches: which rows a step trains on, as a pure function of the seed and the step."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError


class Batches:
    """Endless batches of rows, every row once an epoch.

    Step s takes the s-th batch in the row order of its epoch, a permutation drawn from (seed,
    epoch) alone. So a resumed run needs only its step, and every process of a distributed run knows
    the whole batch that it takes its part of.

    Args:
        rows: (rows, length) integers.
        batch: Rows a step.
        seed: Seed of the random numbers.

    Raises:
        UserError: When there are fewer rows than `batch`.
    """

    def __init__(self, rows: np.ndarray, batch: int, seed: int):
        if len(rows) < batch:
            raise UserError(
                f"the corpus has {len(rows)} rows, fewer than a batch of {batch}: "
                "lower --train.batch or give more text"
            )
        self.rows = rows
        self.batch = batch
        self.seed = seed
        self.steps = len(rows) // batch  # in an epoch; rows left over wait for the next permutation
        self.epoch = -1
        self.order = np.empty(0, np.int64)

    def at(self, step: int) -> Tensor:
        """The rows of a step, (batch, length) int64."""
        epoch, place = divmod(step, self.steps)
        if epoch != self.epoch:
            self.epoch = epoch
            self.order = np.random.default_rng((self.seed, epoch)).permutation(len(self.rows))
        return tensor(self.rows[self.order[place * self.batch : (place + 1) * self.batch]])


def tensor(rows: np.ndarray) -> Tensor:
    """Rows as int64, which is what embeddings take.

    Args:
        rows: (rows, length) integers.

    Returns:
        The rows as a tensor of int64.
    """
    return torch.from_numpy(rows.astype(np.int64))


def valid_batches(rows: np.ndarray, batch: int) -> Iterator[Tensor]:
    """All rows in order, `batch` at a time; the last batch may be smaller.

    Args:
        rows: (rows, length) integers.
        batch: Rows at a time.

    Returns:
        An iterator of (batch, length) int64.
    """
    for start in range(0, len(rows), batch):
        yield tensor(rows[start : start + batch])
