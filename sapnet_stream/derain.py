"""The file job: one corridor from container to container."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sapnet_stream.engine import DerainEngine
from sapnet_stream.errors import UsageError
from sapnet_stream.flow import Pipeline, StageStats
from sapnet_stream.video.codec import EncoderPlan, EncoderSettings
from sapnet_stream.video.compare import side_by_side, side_by_side_info
from sapnet_stream.video.decode import Packet, VideoDecoder
from sapnet_stream.video.encode import VideoEncoder, check_target
from sapnet_stream.video.frame import Frame
from sapnet_stream.video.info import VideoInfo

# Enough for decoder and encoder to work through a slow moment of the other; packets of audio
# take places too. More would only cost memory: the network is the bottleneck.
QUEUED_ITEMS = 6


@dataclass(frozen=True)
class Job:
    """What to derain, and into what.

    Attributes:
        source: a video file.
        target: a file whose suffix names the container.
        start_seconds: leave out what is before, and let the output begin at zero.
        duration_seconds: and what is this much later.
        compare: "side" writes input and output side by side.
        encoder: codec, quality and effort.
        overwrite: replace an existing target.
    """

    source: Path
    target: Path
    start_seconds: float | None = None
    duration_seconds: float | None = None
    compare: str | None = None
    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.compare not in (None, "side"):
            raise UsageError(f"--compare must be side, got {self.compare!r}")


@dataclass(frozen=True)
class Report:
    """What a job did.

    Attributes:
        frames: derained and written.
        warnings: sentences on what the source lacked or the target cannot hold.
        stats: where the time went, stage by stage.
    """

    frames: int
    warnings: list[str]
    stats: list[StageStats]


def derain_file(
    job: Job,
    engine: DerainEngine,
    on_start: Callable[[VideoInfo, EncoderPlan], None] | None = None,
    on_frame: Callable[[int], None] | None = None,
) -> Report:
    """Derain a video file; the target appears when it is complete, or not at all.

    Every frame keeps its time; audio, subtitles, chapters and metadata are carried over.

    Args:
        job: source, target and settings.
        engine: what derains the frames.
        on_start: told what is read and how it is written, before the first frame.
        on_frame: told how many frames are written, after each, from another thread.

    Raises:
        SapnetError: one sentence; the target is untouched.
        Cancelled: never from here; Ctrl-C raises KeyboardInterrupt with the target untouched.
    """
    # Refused before anything is decoded.
    check_target(job.target, job.source, overwrite=job.overwrite)
    with VideoDecoder(job.source, job.start_seconds, job.duration_seconds) as decoder:
        info = decoder.info
        engine.check_memory(info.height, info.width)
        if job.compare:
            info = side_by_side_info(info)
        with VideoEncoder(
            job.target, decoder, info, job.encoder, overwrite=job.overwrite
        ) as encoder:
            if on_start is not None:
                on_start(decoder.info, encoder.plan)
            stats = _run(job, decoder, engine, encoder, on_frame)
        warnings = _warnings(decoder, encoder)
    return Report(encoder.written, warnings, stats)


def derain_video(
    source: str | Path, engine: DerainEngine | None = None
) -> Generator[Frame, None, None]:
    """Iterate over the derained frames of a video file, in order.

    Args:
        source: a video file.
        engine: what derains the frames; None makes one with the bundled weights.

    Raises:
        InputError: the file is missing, unreadable, or has no video.
    """
    with VideoDecoder(Path(source)) as decoder, closing(_frames(decoder)) as frames:
        yield from (engine or DerainEngine()).frames(frames)


def _frames(decoder: VideoDecoder) -> Generator[Frame, None, None]:
    for item in decoder:
        if isinstance(item, Frame):
            yield item


def _run(
    job: Job,
    decoder: VideoDecoder,
    engine: DerainEngine,
    encoder: VideoEncoder,
    on_frame: Callable[[int], None] | None,
) -> list[StageStats]:
    def derain(items: Iterator[Frame | Packet]) -> Generator[Frame | Packet, None, None]:
        for item in items:
            with _located(item):
                if not isinstance(item, Frame):
                    done: Frame | Packet = item
                elif job.compare is None:
                    done = engine.frame(item)
                else:
                    done = side_by_side(item, engine.frame(item))
            yield done

    def encode(items: Iterator[Frame | Packet]) -> Generator[None, None, None]:
        frames = 0
        for item in items:
            with _located(item):
                encoder.write(item)
            if isinstance(item, Frame):
                frames += 1
                if on_frame is not None:
                    on_frame(frames)
            yield
        encoder.finish(frames)

    pipeline = Pipeline()
    decoded = pipeline.source("decode", decoder.items, QUEUED_ITEMS)
    derained = pipeline.stage("derain", derain, decoded, QUEUED_ITEMS)
    pipeline.sink("encode", encode, derained)
    pipeline.run()
    return pipeline.stats


@contextmanager
def _located(item: Frame | Packet) -> Iterator[None]:
    """Let an error say at which moment of the video it happened."""
    try:
        yield
    except Exception as error:
        if isinstance(item, Frame):
            error.add_note(f"at the frame of {item.seconds:.3f} s")
        raise


def _warnings(decoder: VideoDecoder, encoder: VideoEncoder) -> list[str]:
    warnings = [
        f"{stream} was left out: {encoder.path.suffix or 'this container'} cannot hold it, .mkv may"
        for stream in encoder.left_out
    ]
    if decoder.damaged:
        warnings.append(
            f"{decoder.damaged} damaged packets or frames in {decoder.path}: "
            "the pictures around them may show it"
        )
    if decoder.missing:
        warnings.append(
            f"{decoder.path} is cut short: {decoder.missing} frames that its index names "
            "are not there"
        )
    if decoder.retimed:
        warnings.append(
            f"{decoder.retimed} frames of {decoder.path} went back in time and were moved "
            "behind the frame before"
        )
    if encoder.retimed:
        warnings.append(
            f"{encoder.retimed} packets of sound or subtitles of {decoder.path} went back in "
            "time and were moved behind the packet before"
        )
    if decoder.info.interlaced:
        warnings.append(
            f"{decoder.path} is interlaced: its two fields were derained as one picture"
        )
    return warnings
