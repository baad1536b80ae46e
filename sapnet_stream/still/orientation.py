"""How a stored picture is turned to be seen upright."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Orientation:
    """Rows and columns change places, then are flipped.

    Attributes:
        transposed: rows become columns.
        upside_down: then rows are flipped.
        mirrored: then columns are flipped.
    """

    transposed: bool = False
    upside_down: bool = False
    mirrored: bool = False

    @classmethod
    def from_exif(cls, tag: object) -> "Orientation":
        """By the value of EXIF's tag 0x0112, 1 to 8; anything else is upright."""
        return _EXIF.get(tag, cls()) if isinstance(tag, int) else cls()

    @classmethod
    def from_display_matrix(cls, matrix: Sequence[int]) -> "Orientation":
        """By a container's nine numbers (ISO/IEC 14496-12, 6.2.2), the nearest quarter turn."""
        a, b, _, c, d, *_ = matrix
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(False, d < 0, a < 0)
        return cls(True, b < 0, c < 0)

    def upright(self, stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """[H, W, ...] as it is to be seen, contiguous."""
        turned = stored.swapaxes(0, 1) if self.transposed else stored
        return np.ascontiguousarray(self._flipped(turned))

    def stored(self, upright: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The inverse of `upright`, as a view."""
        turned = self._flipped(upright)
        return turned.swapaxes(0, 1) if self.transposed else turned

    def _flipped(self, picture: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return picture[:: -1 if self.upside_down else 1, :: -1 if self.mirrored else 1]


_EXIF = {
    2: Orientation(mirrored=True),
    3: Orientation(upside_down=True, mirrored=True),
    4: Orientation(upside_down=True),
    5: Orientation(transposed=True),
    6: Orientation(transposed=True, mirrored=True),
    7: Orientation(transposed=True, upside_down=True, mirrored=True),
    8: Orientation(transposed=True, upside_down=True),
}
