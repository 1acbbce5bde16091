"""What a network keeps of rows that it has read, so that it need not read them again."""

from torch import Tensor


class Cache:
    """Tensors (..., rows, channels) of the rows seen so far, for one layer.

    `keep`: how many of the rows that come next stay, from the first on; the others are seen and
    forgotten. None: all stay.
    """

    def __init__(self, length: int):
        self.length, self.filled, self.keep, self.parts = length, 0, None, []

    def extend(self, *new: Tensor) -> list[Tensor]:
        """What was kept, followed by what is new."""
        if not self.parts:
            self.parts = [x.new_empty(*x.shape[:-2], self.length, x.shape[-1]) for x in new]
        end = self.filled + new[0].shape[-2]
        for part, x in zip(self.parts, new):
            part[..., self.filled : end, :] = x
        self.filled += new[0].shape[-2] if self.keep is None else self.keep
        return [part[..., :end, :] for part in self.parts]
