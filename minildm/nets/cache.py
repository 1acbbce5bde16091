"""What a network keeps of the rows that it has read, so that it need not read them again."""

from torch import Tensor


class Cache:
    """Tensors (..., rows, channels) of the rows read so far, for one layer.

    `keep` is how many of the rows that come next stay, counted from the first; the others are used
    once. All stay where it is None.
    """

    def __init__(self, length: int):
        self.length = length
        self.filled = 0
        self.keep: int | None = None
        self.parts: list[Tensor] = []

    def extend(self, *new: Tensor) -> list[Tensor]:
        """What was kept, followed by what is new."""
        if not self.parts:
            self.parts = [x.new_empty(*x.shape[:-2], self.length, x.shape[-1]) for x in new]
        count = new[0].shape[-2]
        end = self.filled + count
        for part, x in zip(self.parts, new):
            part[..., self.filled : end, :] = x
        self.filled += count if self.keep is None else self.keep
        return [part[..., :end, :] for part in self.parts]


class FieldCache:
    """What a vector field keeps of the first tokens of texts, which no noise reaches any more.

    One cache holds the inputs of the blocks, one those of the pointer, and one each the keys and
    values of a block.
    """

    def __init__(self, n_layers: int, length: int):
        self.inputs = Cache(length)
        self.pointer = Cache(length)
        self.blocks = [Cache(length) for _ in range(n_layers)]

    @property
    def filled(self) -> int:
        """How many positions are kept."""
        return self.inputs.filled

    def keep(self, end: int) -> None:
        """Of the positions that are read next, keep those before `end`."""
        count = end - self.filled
        for cache in (self.inputs, self.pointer, *self.blocks):
            cache.keep = count
