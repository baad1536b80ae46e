"""How a picture is turned for display, so that the network sees rain fall downwards."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Orientation:
    """One of the eight ways to lay a rectangle onto itself.

    Attributes:
        quarter_turns: anticlockwise, 0 to 3, done first.
        mirrored: left and right are exchanged after that.
    """

    quarter_turns: int = 0
    mirrored: bool = False

    @classmethod
    def from_matrix(cls, matrix: Sequence[int] | None) -> "Orientation":
        """The one nearest to a display matrix.

        Args:
            matrix: nine integers a b u c d v x y w of ISO/IEC 14496-12, which send the stored
                point (p, q), q downwards, to (a p + c q, b p + d q); None means as stored.
        """
        if matrix is None:
            return AS_STORED
        a, b, _, c, d = matrix[:5]
        mirrored = a * d - b * c < 0
        if mirrored:
            # Undo the exchange of left and right, which comes last.
            a, c = -a, -c
        # Turning anticlockwise by 0, 90, 180, 270 degrees has (a + d, c - b) along
        # (1, 0), (0, 1), (-1, 0), (0, -1).
        along = (a + d, c - b, -a - d, b - c)
        return cls(along.index(max(along)), mirrored)

    def upright(self, image: Tensor) -> Tensor:
        """A picture [..., H, W] as stored, turned as it is seen; the data may be shared."""
        if image.dtype == torch.uint16:
            # Which PyTorch 2.11 cannot flip.
            return self.upright(image.view(torch.int16)).view(torch.uint16)
        # Turning by nothing would copy.
        if self.quarter_turns:
            image = torch.rot90(image, self.quarter_turns, (-2, -1))
        return image.flip(-1) if self.mirrored else image

    def stored(self, image: Tensor) -> Tensor:
        """The inverse of `upright`."""
        if image.dtype == torch.uint16:
            return self.stored(image.view(torch.int16)).view(torch.uint16)
        if self.mirrored:
            image = image.flip(-1)
        return torch.rot90(image, -self.quarter_turns, (-2, -1)) if self.quarter_turns else image

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) as seen of a picture stored as `height` x `width`."""
        return (width, height) if self.quarter_turns % 2 else (height, width)


AS_STORED = Orientation()
