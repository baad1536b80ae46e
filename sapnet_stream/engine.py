"""Frames in, derained frames out, in order, on one device."""

from collections.abc import Generator, Iterable
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sapnet_stream.errors import UsageError
from sapnet_stream.networks.executor import (
    DTYPES,
    Executor,
    Remembering,
    choose_executor,
    default_dtype,
)
from sapnet_stream.networks.sapnet import SAPNet
from sapnet_stream.networks.sapnet_video import SAPNetVideo
from sapnet_stream.networks.weights import DEFAULT_NAME, load_network, tensors_sha256
from sapnet_stream.short_thread import in_short_thread
from sapnet_stream.slots import Cuda, Finish, Host, Slots, in_order
from sapnet_stream.stream import DerainStream, change, enough_memory
from sapnet_stream.video.frame import Frame

T = TypeVar("T")

DEVICES = ("cpu", "cuda")


class DerainEngine:
    """A network on a device, ready to derain frames, tensors and arrays.

    Args:
        network: a `SAPNet`, or a `SAPNetVideo` for videos; None is the bundled `SAPNet`,
            whatever $SAPNET_WEIGHTS says, which is for `Models` and the programs.
        device: "cpu", "cuda", "cuda:1"; None takes a GPU if there is one.
        dtype: of the arithmetic, one of `DTYPES`; None takes the fastest that cannot be told
            from float32 by eye, see `default_dtype`.
        stages: how often a `SAPNet` looks at each picture, 1 to 6; fewer is faster.
        strength: 1 removes all the rain the network sees, 0 returns the input.
        memory_bytes: what one picture may use; None takes what the machine has.
        executor: runs the network; None chooses one for the device.

    Attributes:
        description: network and device, for people.
        identity: all that a derained sample depends on, by name; but for the memory where OpenVINO
            runs, see `OpenVINOExecutor`.
        slots: the frames that are under way.

    Raises:
        UsageError: there is no such device or dtype, or a number is out of range.
        WeightsError: the bundled weights are damaged.
    """

    def __init__(
        self,
        network: SAPNet | SAPNetVideo | None = None,
        *,
        device: str | None = None,
        dtype: torch.dtype | None = None,
        stages: int | None = None,
        strength: float = 1.0,
        memory_bytes: int | None = None,
        executor: Executor | None = None,
    ) -> None:
        if not 0 <= strength <= 1:
            raise UsageError(f"--strength must be 0 to 1, got {strength:g}")
        if memory_bytes is not None and memory_bytes <= 0:
            raise UsageError(f"--memory must be more than 0, got {memory_bytes / 2**30:g} GiB")
        if dtype is not None and dtype not in DTYPES.values():
            known = ", ".join(f"torch.{name}" for name in DTYPES)
            raise UsageError(f"dtype must be one of {known}, got {dtype!r}")
        self.device = checked_device(device)
        self.strength = strength
        if executor is None:
            network = network or in_short_thread(lambda: load_network(DEFAULT_NAME))
            video = isinstance(network, SAPNetVideo)
            dtype = dtype or default_dtype(self.device, video=video)
            making = partial(choose_executor, network, device=self.device, dtype=dtype)
            executor = in_short_thread(partial(making, stages=stages, memory_bytes=memory_bytes))
            weights = tensors_sha256(network.state_dict())[:16]
            looks = ""
            if isinstance(network, SAPNet):
                looks = f", {stages or network.config.stages} stages"
            self.description = (
                f"{type(network).__name__}{looks}, "
                f"{str(dtype).removeprefix('torch.')} on {self.device} ({executor.name})"
            )
        else:
            weights = executor.name
            self.description = executor.name
        self.executor = executor
        self.slots = Slots(Cuda(self.device) if self.device.type == "cuda" else Host())
        self._fitting: set[tuple[int, int]] = set()
        self.identity = {
            "the network": self.description,
            "the device": _device_name(self.device),
            "the weights": weights,
            "--strength": f"{float(strength)}",
        }

    @torch.no_grad()
    def tensor(self, image: Tensor) -> Tensor:
        """Derain RGB pictures.

        Args:
            image: [N, 3, H, W] in [0, 1], any device and floating dtype, any N, H, W >= 1.

        Returns:
            The same shape, dtype and device, in [0, 1].

        Raises:
            UsageError: another shape, an integer dtype, or no pixel.
        """
        if image.dim() != 4 or image.shape[1] != 3 or not image.is_floating_point():
            raise UsageError(
                f"a tensor must be floating point [N, 3, H, W] in [0, 1], "
                f"got {image.dtype} {tuple(image.shape)}"
            )
        if not image.numel():
            raise UsageError(f"a tensor must have pixels, got {tuple(image.shape)}")
        rgb = image.to(self.device, torch.float32)
        with self.slots.device.between(), enough_memory(self.device, *image.shape[2:]):
            difference = change(rgb, self.executor(rgb), self.strength)
        return difference.add_(rgb).to(image.device, image.dtype)

    def image(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Derain one RGB picture, [H, W, 3] uint8 in and out.

        Raises:
            UsageError: another shape or dtype, or no pixel.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise UsageError(f"an image must be uint8 [H, W, 3], got {image.dtype} {image.shape}")
        rgb = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255
        clean = self.tensor(rgb).mul_(255).round_().to(torch.uint8)
        return clean[0].permute(1, 2, 0).contiguous().numpy()

    @property
    def past_frames(self) -> int:
        """How many frames before a frame may matter to it."""
        return self.executor.past_frames if isinstance(self.executor, Remembering) else 0

    def stream(self) -> DerainStream:
        """Derain a video of its own, frame after frame."""
        return DerainStream(
            self.executor, self.device, self.strength, self.slots, self._check_another
        )

    def frame(self, frame: Frame) -> Frame:
        """Derain a frame that has no past; see `DerainStream`."""
        return self.stream().frame(frame)

    def frames(self, items: Iterable[Frame | T]) -> Generator[Frame | T, None, None]:
        """Derain the frames of a video; whatever else travels among them passes untouched.

        On a GPU some frames are under way at once, and as many are taken from `items` before
        the first is returned; where frames arrive one by one, `DerainStream.frame` returns
        each as soon as it is done.
        """
        stream = self.stream()

        def start(item: Frame | T) -> Finish[Frame | T]:
            return stream.start(item) if isinstance(item, Frame) else lambda: item

        yield from in_order(map(start, items), self.slots.device.slots)

    def check_memory(self, height: int, width: int) -> None:
        """Refuse a picture size before work starts.

        Raises:
            TooLargeError: naming the bytes such a picture needs.
        """
        self.executor.check_memory(height, width)
        self._fitting.add((height, width))

    def _check_another(self, height: int, width: int) -> None:
        """Not a size that fitted: what the executor holds for it would count as taken."""
        if (height, width) not in self._fitting:
            self.check_memory(height, width)


def _device_name(device: torch.device) -> str:
    """What rounds alike: kernels are chosen for the GPU's model."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def checked_device(name: str | None) -> torch.device:
    """The device called `name`, or the best one.

    Raises:
        UsageError: there is no such device here.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in DEVICES:
            raise RuntimeError(f"nothing is derained on {device.type}")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        count = torch.cuda.device_count()
        known = "cpu" + "".join(f", cuda:{index}" for index in range(count))
        raise UsageError(f"--device {name} is not available here: choose from {known}") from error
    return device
