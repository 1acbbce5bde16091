"""Batches: which rows a step trains on, as a pure function of the seed and the step."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import LongTensor

from ..errors import UserError


class Batches:
    """Endless batches of rows, every row once an epoch, cut evenly over the ranks of a distributed run.

    Step s takes the s-th batch in the row order of its epoch, a permutation drawn from (seed, epoch) alone.
    So a resumed run needs only its step, and the batches of all ranks together are the batch of one process.

    Args: `rows` (rows, length) integers; `batch`, rows a step over all ranks; `seed`; `rank` of `world` processes.
    Raises UserError when `batch` does not divide evenly over `world`, or when there are fewer rows than `batch`.
    Derived in chapter 00. Source: ours.
    """

    def __init__(self, rows: np.ndarray, batch: int, seed: int, rank: int = 0, world: int = 1):
        if batch < 1 or batch % world:
            raise UserError(f"a batch of {batch} rows cannot be cut evenly over {world} process(es): "
                            f"make --batch a positive multiple of {world}")
        if len(rows) < batch:
            raise UserError(f"the corpus has {len(rows)} rows, fewer than a batch of {batch}: "
                            "lower --batch or give more text")
        self.rows, self.batch, self.seed, self.rank, self.world = rows, batch, seed, rank, world
        self.steps = len(rows) // batch  # in an epoch; the rows left over wait for the next permutation
        self.epoch, self.order = -1, np.empty(0)

    def at(self, step: int) -> LongTensor:
        """This rank's rows of a step, (batch // world, length) int64."""
        epoch, place = divmod(step, self.steps)
        if epoch != self.epoch:
            self.epoch, self.order = epoch, np.random.default_rng((self.seed, epoch)).permutation(len(self.rows))
        share = self.batch // self.world
        start = place * self.batch + self.rank * share
        return tensor(self.rows[self.order[start:start + share]])


def tensor(rows: np.ndarray) -> LongTensor:
    """Rows as int64, which is what embeddings take.

    Args: `rows` (rows, length) integers. Returns them as a tensor. Derived in chapter 00. Source: ours.
    """
    return torch.from_numpy(rows.astype(np.int64))


def valid_batches(rows: np.ndarray, batch: int) -> Iterator[LongTensor]:
    """All rows in order, `batch` at a time; the last batch may be smaller.

    Args: `rows` (rows, length) integers; `batch`. Returns an iterator of (batch, length) int64.
    Derived in chapter 00. Source: ours.
    """
    for start in range(0, len(rows), batch):
        yield tensor(rows[start:start + batch])
