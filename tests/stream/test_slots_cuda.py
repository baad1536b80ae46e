"""On a GPU: what a CPU returns, whatever overlaps, and transfers that cost no time."""

import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sapnet_stream.engine import DerainEngine
from sapnet_stream.models import Models
from sapnet_stream.networks.executor import Remembering
from sapnet_stream.networks.weights import load_network
from sapnet_stream.slots import Cuda, Slots
from sapnet_stream.video.frame import Colour, Frame, PixelLayout, pixel_layout
from sapnet_stream.video.orientation import Orientation

pytestmark = pytest.mark.usefixtures("needs_cuda")

BT601, BT709, BT2020 = (0.299, 0.114), (0.2126, 0.0722), (0.2627, 0.0593)
LEAST_HIDDEN = 0.9


class Smaller:
    """Stands in for the network: takes a ninth off, and looks at no neighbour.

    Of 0.9 times a code one in ten would lie in the middle between two; of this none is near.
    """

    name = "smaller"

    def __call__(self, image: Tensor) -> Tensor:
        return image * 0.8889

    def check_memory(self, height: int, width: int) -> None:
        """Everything fits."""


class Busy(Smaller):
    """Keeps the GPU busy for a time that does not depend on what else it does."""

    def __call__(self, image: Tensor) -> Tensor:
        torch.cuda._sleep(20_000_000)  # type: ignore[no-untyped-call]
        return image * 0.9


class Resident(Cuda):
    """Frames are on the GPU already, and stay there."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self._planes: dict[int, Tensor] = {}

    def sent(self, plane: Tensor) -> Tensor:
        if plane.data_ptr() not in self._planes:
            self._planes[plane.data_ptr()] = plane.cuda()
        return self._planes[plane.data_ptr()]

    def fetched(self, plane: Tensor) -> Tensor:
        return plane


def scene(layout: PixelLayout, height: int, width: int, colour: Colour, number: int) -> Frame:
    """A textured picture that moves two pixels a frame, with specks that stay for one."""
    generator = torch.Generator().manual_seed(3)
    ground = torch.rand(1, 1, height // 8, (width + 400) // 8, generator=generator)
    wide = F.interpolate(ground, (height, width + 400), mode="bicubic").clamp(0, 1)[0, 0]
    light = wide[:, 2 * number : 2 * number + width]
    generator.manual_seed(100 + number)
    light = (light * 0.7 + 0.2 * (torch.rand(height, width, generator=generator) > 0.99)).clamp(
        0, 1
    )
    planes = []
    for rows, columns in layout.plane_shapes(height, width):
        step_y, step_x = round(height / rows), round(width / columns)
        codes = light[::step_y, ::step_x] * (2**layout.bits - 1)
        planes.append(codes.round().to(torch.uint8 if layout.bits == 8 else torch.uint16))
    return Frame(tuple(planes), layout, colour, number, Fraction(1, 25))


def codes_apart(one: Frame, other: Frame) -> tuple[float, float]:
    """Largest and mean difference, in codes."""
    pairs = zip(one.planes, other.planes, strict=True)
    apart = torch.cat([(a.int() - b.int()).abs().flatten() for a, b in pairs]).double()
    return float(apart.max()), float(apart.mean())


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", [BT601, BT709, BT2020])
@pytest.mark.parametrize(
    "name", ["yuv420p", "yuv420p10le", "yuv422p10le", "yuva420p", "gbrp", "gray", "gray10le"]
)
def test_a_gpu_returns_what_a_cpu_does(
    name: str, matrix: tuple[float, float], full_range: bool
) -> None:
    layout, colour = pixel_layout(name), Colour(*matrix, full_range)
    frames = [scene(layout, 66, 98, colour, number) for number in range(5)]
    given = [[plane.clone() for plane in frame.planes] for frame in frames]
    expected = list(DerainEngine(executor=Smaller(), device="cpu").frames(frames))
    results = list(DerainEngine(executor=Smaller(), device="cuda").frames(frames))
    for result, want, before in zip(results, expected, given, strict=True):
        assert isinstance(result, Frame) and isinstance(want, Frame)
        assert all(plane.device.type == "cpu" for plane in result.planes)
        largest, mean = codes_apart(result, want)
        # Sums in another order round another way where a code's middle is near.
        assert largest <= 1 and mean < 1e-3
        if layout.alpha:
            assert torch.equal(result.planes[-1], before[-1])


@pytest.mark.parametrize("turn", [Orientation(1), Orientation(2, True)])
def test_a_gpu_turns_pictures_and_takes_fields_apart(turn: Orientation) -> None:
    layout, colour = pixel_layout("yuv420p10le"), Colour(*BT2020, False, pq=True)
    frame = replace(scene(layout, 64, 96, colour, 0), orientation=turn, interlaced=True)
    here, there = (DerainEngine(executor=Smaller(), device=d).frame(frame) for d in ("cpu", "cuda"))
    largest, mean = codes_apart(here, there)
    assert largest <= 2 and mean < 1e-2


def test_nothing_changed_is_nothing_changed() -> None:
    engine = DerainEngine(executor=Smaller(), device="cuda", strength=0)
    for name in ("yuv420p", "yuv420p10le", "yuv444p12le"):
        frame = scene(pixel_layout(name), 60, 90, Colour(*BT709, False), 0)
        assert codes_apart(engine.frame(frame), frame) == (0, 0)


@pytest.mark.parametrize("kind", ["image", "video"])
def test_overlap_changes_no_frame(kind: str) -> None:
    network = load_network() if kind == "image" else Models().network("video")
    engine = DerainEngine(network, device="cuda")
    layout, colour = pixel_layout("yuv420p"), Colour(*BT709, False)
    frames = [scene(layout, 360, 640, colour, number) for number in range(40)]
    # The first frames of a size run as they are, later ones by a recorded graph.
    for _ in range(2):
        stream = engine.stream()
        alone = [stream.frame(frame) for frame in frames]
    for _ in range(3):
        together = list(engine.frames(frames))
        for one, other in zip(alone, together, strict=True):
            assert isinstance(other, Frame)
            assert codes_apart(one, other) == (0, 0)


def test_tensors_between_frames_disturb_neither() -> None:
    engine = DerainEngine(load_network(), device="cuda")
    frames = [scene(pixel_layout("yuv420p"), 90, 120, Colour(*BT709, False), n) for n in range(6)]
    image = torch.rand(1, 3, 90, 120, device="cuda")
    for _ in range(2):
        expected, want = [engine.frame(frame) for frame in frames], engine.tensor(image)
    stream = engine.stream()
    waits, images = [], []
    for frame in frames:
        waits.append(stream.start(frame))
        images.append(engine.tensor(image))
    for wait, other in zip(waits, expected, strict=True):
        assert codes_apart(wait(), other) == (0, 0)
    assert all(torch.equal(each, want) for each in images)


def test_the_host_waits_for_the_camera_alone() -> None:
    engine = DerainEngine(Models().network("video"), device="cuda")
    assert isinstance(engine.executor, Remembering)
    stream = engine.executor.stream()
    pictures = [
        scene(pixel_layout("gray"), 360, 640, Colour(*BT709, True), 0 if still else number)
        for still in (True, False)
        for number in range(8)
    ]
    waits = []
    for frame in pictures:
        image = (frame.planes[0].float() / 255).expand(1, 3, -1, -1).contiguous().cuda()
        torch.cuda.synchronize()
        looked, while_looking = _waits(lambda image=image: stream.look(image))  # type: ignore[misc]
        _, while_deraining = _waits(lambda looked=looked: stream.derain(looked))  # type: ignore[misc]
        waits.append((while_looking, while_deraining))
    # Position, likeness, and whether the frame repeats the last one; twice, and a third time
    # for no motion at all, where the key picture is lost.
    assert max(looking for looking, _ in waits[4:]) <= 6
    assert [looking for looking, _ in waits[4:8]] == [3] * 4
    assert {deraining for _, deraining in waits[4:]} == {0}


def _waits(work: Callable[[], object]) -> tuple[object, int]:
    """What `work` returns, and how often it waited for the device."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            result = work()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return result, sum("synchronizing" in str(each.message) for each in caught)


def test_transfers_are_hidden() -> None:
    device = torch.device("cuda")
    layout, colour = pixel_layout("yuv420p10le"), Colour(*BT2020, False)
    frames = [scene(layout, 2160, 3840, colour, number) for number in range(4)] * 6
    engine = DerainEngine(executor=Busy(), device="cuda")

    def seconds() -> float:
        """Per frame, the best of some runs."""
        best = float("inf")
        for _ in range(4):
            torch.cuda.synchronize()
            began = time.perf_counter()
            for _ in engine.frames(frames):
                pass
            best = min(best, time.perf_counter() - began)
        return best / len(frames)

    with_transfers = seconds()
    engine.slots = Slots(Resident(device))
    without = seconds()
    transfers = _transfer_seconds(frames)
    hidden = 1 - (with_transfers - without) / transfers
    print(
        f"{torch.cuda.get_device_name(device)}: {1000 * without:.3f} ms without transfers, "
        f"{1000 * with_transfers:.3f} ms with, {1000 * transfers:.3f} ms alone: {hidden:.1%} hidden"
    )
    assert hidden >= LEAST_HIDDEN


def _transfer_seconds(frames: list[Frame]) -> float:
    """Per frame, of the ways up and down alone, one after the other."""
    device = Cuda(torch.device("cuda"))
    best = float("inf")
    for _ in range(4):
        torch.cuda.synchronize()
        began = time.perf_counter()
        for frame in frames:
            for plane in frame.planes:
                there, up = device.run("up", None, lambda p=plane: device.sent(p))  # type: ignore[misc]
                _, down = device.run("down", up, lambda t=there: device.fetched(t))  # type: ignore[misc]
                down.synchronize()
        best = min(best, time.perf_counter() - began)
    return best / len(frames)
