"""Images as uint8 in memory, as far as the memory allowed for them goes."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar, overload

from torch import Tensor

Item = TypeVar("Item")


class Store(Sequence[Tensor]):
    """What `read` makes of each item: read once while there is room, else each time.

    Args:
        items: whatever `read` takes.
        read: gives a uint8 image.
        budget_bytes: of memory.
        left_out: says of an image that it is not wanted; needs every item read once.

    Attributes:
        held: how many of the images are in memory, the first ones.
        held_bytes: what they take.
        unwanted: how many items were left out.
    """

    def __init__(
        self,
        items: Iterable[Item],
        read: Callable[[Item], Tensor],
        budget_bytes: float,
        left_out: Callable[[Tensor], bool] | None = None,
    ) -> None:
        self._readers: list[Callable[[], Tensor]] = []
        self._images: list[Tensor] = []
        self.held_bytes = self.unwanted = 0
        full = False
        for item in items:
            reader = partial(read, item)
            if left_out is not None or not full:
                image = reader()
                if left_out is not None and left_out(image):
                    self.unwanted += 1
                    continue
                full = full or self.held_bytes + image.numel() > budget_bytes
                if not full:
                    self._images.append(image)
                    self.held_bytes += image.numel()
            self._readers.append(reader)
        self.held = len(self._images)

    def __len__(self) -> int:
        return len(self._readers)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> list[Tensor]: ...
    def __getitem__(self, index: int | slice) -> Tensor | list[Tensor]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        return self._images[number] if number < self.held else self._readers[number]()
