"""A network with a memory sees each video's frames in order, and those before a part."""

import weakref
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sapnet_stream.derain import count_parts, derain_file, derain_part, derain_video
from sapnet_stream.engine import DerainEngine
from sapnet_stream.errors import TooLargeError, UsageError
from sapnet_stream.job import Job
from sapnet_stream.live.shared_engine import SharedEngine
from sapnet_stream.networks.sapnet_video import SAPNetVideo
from sapnet_stream.preview import preview
from sapnet_stream.video.codec import EncoderSettings
from sapnet_stream.video.decode import VideoDecoder
from sapnet_stream.video.frame import Frame

pytestmark = pytest.mark.usefixtures("one_thread")

Make = Callable[..., Path]
Read = Callable[[Path], Any]
PAST = 16


def _code(image: Tensor) -> int:
    """Of a gray picture in limited range, its luma."""
    return round(float(image.mean()) * 219 + 16)


class Eye:
    """What one stream was shown, by mean brightness: remembered frames are negative."""

    def __init__(self) -> None:
        self.shown: list[int] = []

    def __call__(self, image: Tensor) -> Tensor:
        self.shown.append(_code(image))
        return image.clone()

    def look(self, image: Tensor) -> Tensor:
        return image

    def derain(self, looked: Tensor) -> Tensor:
        return self(looked)

    def remember(self, image: Tensor) -> None:
        self.shown.append(-_code(image))


class Watching:
    """Stands in for a network with a memory: records what each of its streams was shown."""

    name = "watching"
    past_frames = PAST

    def __init__(self) -> None:
        self.eyes: list[Eye] = []
        self.sizes: list[tuple[int, int]] = []

    def __call__(self, image: Tensor) -> Tensor:
        return image.clone()

    def stream(self) -> Eye:
        self.eyes.append(Eye())
        return self.eyes[-1]

    def check_memory(self, height: int, width: int) -> None:
        """Everything fits."""
        self.sizes.append((height, width))


@pytest.fixture
def remembering() -> DerainEngine:
    """An engine with a small video network of random weights, in float32."""
    torch.manual_seed(5)
    return DerainEngine(SAPNetVideo(), device="cpu", dtype=torch.float32)


@pytest.fixture
def steps(tmp_path: Path, make_clip: Make) -> Callable[..., Path]:
    """A function that makes a video whose n-th frame is gray of code 20 + 2 n."""

    def make(count: int = 60, rate: int = 25) -> Path:
        frame = next(iter(VideoDecoder(make_clip("one.mkv", pixel_format="gray", ticks=range(1)))))
        path = tmp_path / "steps.mkv"
        import av

        with av.open(f"file:{path}", "w") as container:
            stream: Any = container.add_stream("ffv1", rate=rate)
            stream.width, stream.height = frame.width, frame.height
            stream.pix_fmt = "gray"
            for number in range(count):
                samples = np.full((frame.height, frame.width), 20 + 2 * number, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(samples, "gray")))
            container.mux(stream.encode(None))
        return path

    return make


def codes(first: int, behind: int) -> list[int]:
    return [20 + 2 * number for number in range(first, behind)]


def job(source: Path, target: Path, **settings: Any) -> Job:
    encoder = EncoderSettings(codec="ffv1")
    return Job(source, target, encoder=encoder, part_seconds=0.8, **settings)


def test_each_part_begins_with_the_frames_before_it(
    steps: Callable[..., Path], tmp_path: Path
) -> None:
    watching = Watching()
    derain_file(job(steps(), tmp_path / "out.mkv"), DerainEngine(executor=watching))
    # Parts of 20 frames.
    first, second, third = (eye.shown for eye in watching.eyes if eye.shown)
    assert first == codes(0, 20)
    assert second == [-c for c in codes(4, 16)] + codes(16, 40)
    assert third == [-c for c in codes(24, 36)] + codes(36, 60)


def test_a_part_made_alone_sees_the_same(steps: Callable[..., Path], tmp_path: Path) -> None:
    watching = Watching()
    source = steps()
    derain_part(job(source, tmp_path / "out.mkv"), DerainEngine(executor=watching), 1)
    (shown,) = (eye.shown for eye in watching.eyes if eye.shown)
    assert shown == [-c for c in codes(4, 16)] + codes(16, 40)


def test_frames_long_ago_do_not_warm_up(steps: Callable[..., Path], tmp_path: Path) -> None:
    watching = Watching()
    # 4 frames per second: two seconds are eight frames, a part is three or four.
    derain_part(job(steps(rate=4), tmp_path / "out.mkv"), DerainEngine(executor=watching), 5)
    (shown,) = (eye.shown for eye in watching.eyes if eye.shown)
    assert shown == [-c for c in codes(8, 12)] + codes(12, 20)


def test_a_start_in_the_middle_warms_up(steps: Callable[..., Path], tmp_path: Path) -> None:
    watching = Watching()
    derain_file(
        job(steps(), tmp_path / "out.mkv", start_seconds=1.2, duration_seconds=0.4),
        DerainEngine(executor=watching),
    )
    (shown,) = (eye.shown for eye in watching.eyes if eye.shown)
    assert shown == [-c for c in codes(14, 26)] + codes(26, 40)


def test_a_preview_warms_up_too(steps: Callable[..., Path], tmp_path: Path) -> None:
    watching = Watching()
    preview(steps(), tmp_path / "look.png", 30, DerainEngine(executor=watching))
    (shown,) = (eye.shown for eye in watching.eyes if eye.shown)
    assert shown == [-c for c in codes(14, 26)] + codes(26, 31)


def test_fields_have_a_memory_each(steps: Callable[..., Path]) -> None:
    watching = Watching()
    stream = DerainEngine(executor=watching).stream()
    with VideoDecoder(steps(4)) as decoder:
        for frame in decoder:
            planes = [plane.clone() for plane in frame.planes]
            planes[0][1::2] += 100
            stream.frame(replace(frame, planes=tuple(planes), interlaced=True))
    assert [eye.shown for eye in watching.eyes] == [codes(0, 4), [c + 100 for c in codes(0, 4)]]


def test_whole_frames_between_fields_do_not_end_a_memory(steps: Callable[..., Path]) -> None:
    watching = Watching()
    stream = DerainEngine(executor=watching).stream()
    with VideoDecoder(steps(4)) as decoder:
        for number, frame in enumerate(decoder):
            stream.frame(replace(frame, interlaced=number % 2 == 1))
    assert [eye.shown for eye in watching.eyes] == [codes(0, 4)[::2], *[codes(0, 4)[1::2]] * 2]


def test_parts_in_any_order_join_to_the_same(
    remembering: DerainEngine, make_clip: Make, read_clip: Read, tmp_path: Path
) -> None:
    source = make_clip("in.mp4", "libx264", ticks=range(70), noise=False, options={"g": "12"})
    derain_file(job(source, tmp_path / "whole.mkv"), remembering)
    apart = job(source, tmp_path / "out.mkv", resume=True)
    for number in reversed(range(count_parts(apart))):
        derain_part(apart, remembering, number)
    derain_file(apart, remembering)
    whole, joined = read_clip(tmp_path / "whole.mkv"), read_clip(tmp_path / "out.mkv")
    assert len(whole.times) == 70 and whole.times == joined.times
    for one, other in zip(whole.planes, joined.planes, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def frames_of(path: Path) -> list[Frame]:
    with VideoDecoder(path) as decoder:
        return list(decoder)


def test_a_state_never_crosses_videos(remembering: DerainEngine, make_clip: Make) -> None:
    source = make_clip("in.mkv", noise=False, ticks=range(6))
    once, again = (list(derain_video(source, remembering)) for _ in range(2))
    for one, other in zip(once, again, strict=True):
        assert torch.equal(one.planes[0], other.planes[0])
    alone = remembering.frame(frames_of(source)[5])
    assert not torch.equal(alone.planes[0], once[5].planes[0])


def test_a_picture_of_another_size_begins_anew(remembering: DerainEngine, make_clip: Make) -> None:
    small = frames_of(make_clip("a.mkv", noise=False, size=(32, 24)))
    large = frames_of(make_clip("b.mkv", noise=False, size=(64, 48)))
    stream = remembering.stream()
    for frame in small:
        stream.frame(frame)
    mixed = stream.frame(large[0])
    assert torch.equal(mixed.planes[0], remembering.frame(large[0]).planes[0])


def test_images_have_no_past(remembering: DerainEngine) -> None:
    images = torch.rand(3, 3, 20, 24, generator=torch.Generator().manual_seed(0))
    together = remembering.tensor(images)
    apart = [remembering.tensor(image[None]) for image in images]
    torch.testing.assert_close(together, torch.cat(apart))


def test_the_video_network_has_no_stages(remembering: DerainEngine) -> None:
    assert remembering.description == "SAPNetVideo, float32 on cpu (folded)"
    with pytest.raises(UsageError, match="--stages is for --model sapnet"):
        DerainEngine(SAPNetVideo(), stages=2)


def test_a_frame_that_does_not_fit_is_refused_before_it_is_seen() -> None:
    engine = DerainEngine(SAPNetVideo(), memory_bytes=2**20)
    engine.check_memory(16, 16)
    with pytest.raises(TooLargeError, match="640x480 frame needs"):
        engine.check_memory(480, 640)


def test_each_new_size_is_looked_at_and_a_refused_one_spoils_nothing(make_clip: Make) -> None:
    small = frames_of(make_clip("a.mkv", size=(32, 24), ticks=range(2)))
    source = make_clip("b.mkv", size=(64, 48), ticks=range(1))
    engine = DerainEngine(SAPNetVideo(), memory_bytes=2**20)
    stream = engine.stream()
    stream.frame(small[0])
    with pytest.raises(TooLargeError, match="64x48 frame needs"):
        stream.frame(frames_of(source)[0])
    stream.frame(small[1])
    with pytest.raises(TooLargeError, match="64x48 frame needs"):
        next(derain_video(source, engine))


def test_a_size_that_fits_is_looked_at_once(steps: Callable[..., Path]) -> None:
    watching = Watching()
    engine = DerainEngine(executor=watching)
    for frame in frames_of(steps(2)) * 2:
        engine.frame(frame)
    assert len(watching.sizes) == 1


def test_of_a_video_that_changes_its_size_one_memory_is_kept(make_clip: Make) -> None:
    eyes: list[weakref.ref[Eye]] = []

    class Forgetting(Watching):
        def stream(self) -> Eye:
            eye = Eye()
            eyes.append(weakref.ref(eye))
            return eye

    sizes = [(32, 24), (64, 48), (48, 32)]
    clips = [make_clip(f"{w}.mkv", size=(w, h), ticks=range(1)) for w, h in sizes]
    stream = SharedEngine(lambda: DerainEngine(executor=Forgetting())).stream()
    for frame in [frames_of(clip)[0] for clip in clips]:
        # Between whole pictures and fields nothing is forgotten.
        for interlaced in (False, True):
            stream.frame(replace(frame, interlaced=interlaced))
    assert [eye() is not None for eye in eyes] == [False] * 6 + [True] * 3


def test_the_lead_is_read_but_its_damage_is_not_counted(make_clip: Make) -> None:
    from sapnet_stream.video.span import Span

    source = make_clip("in.mp4", "libx264", ticks=range(60), noise=False, options={"g": "10"})
    span = Span(Fraction(1), Fraction(3, 2))
    with VideoDecoder(source, span, lead_seconds=Fraction(1, 2)) as decoder:
        times = [frame.pts * frame.time_base for frame in decoder]
    assert times == [Fraction(n, 25) for n in range(13, 38)]
    content = bytearray(source.read_bytes())
    middle = content.find(b"mdat") + (len(content) - content.find(b"mdat")) * 15 // 60
    content[middle : middle + 200] = b"\xaa" * 200
    source.write_bytes(content)
    with VideoDecoder(source, span) as decoder:
        alone = [(frame.pts, frame.damaged) for frame in decoder]
    with VideoDecoder(source, span, lead_seconds=1) as decoder:
        led = [(f.pts, f.damaged) for f in decoder if f.pts * f.time_base >= 1]
    assert led == alone
