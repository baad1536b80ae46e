"""What to derain, and into what."""

import io
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av

from sapnet_stream.engine import DerainEngine
from sapnet_stream.errors import UsageError
from sapnet_stream.identity import Identity, input_identity, versions
from sapnet_stream.target import behind_link
from sapnet_stream.video.codec import EncoderPlan, EncoderSettings, plan_encoder
from sapnet_stream.video.compare import COMPARISONS
from sapnet_stream.video.container import container_format
from sapnet_stream.video.decode import VideoDecoder
from sapnet_stream.video.frame import Frame
from sapnet_stream.video.hardware import HardwareDecoder
from sapnet_stream.video.info import FIRST_PICTURES, VideoInfo
from sapnet_stream.video.join import VideoPart, join
from sapnet_stream.video.others import OtherStreams
from sapnet_stream.video.span import Span, span_between

# What a death costs at most. Shorter parts would cost quality: each begins with a keyframe.
PART_SECONDS = 5.0


@dataclass(frozen=True)
class Job:
    """What to derain, and into what.

    Attributes:
        source: a video file.
        target: a file whose suffix names the container; of a link, the file it names.
        start_seconds: leave out what is before, and let the output begin at zero.
        duration_seconds: and what is this much later.
        compare: "side" writes input beside output, "wipe" one left of a line that moves.
        deinterlace: make whole pictures of frames that are two fields.
        hardware: decodes the source; None leaves that to the CPU.
        encoder: codec, quality and effort.
        overwrite: replace an existing target, and begin anew what was not finished.
        resume: go on with what is done of an unfinished job, if there is any.
        keep_partial: derain nothing; write what is done of an unfinished job.
        part_seconds: length of the parts.
    """

    source: Path
    target: Path
    start_seconds: float | None = None
    duration_seconds: float | None = None
    compare: str | None = None
    deinterlace: bool = False
    hardware: HardwareDecoder | None = None
    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    overwrite: bool = False
    resume: bool = False
    keep_partial: bool = False
    part_seconds: float = PART_SECONDS

    def __post_init__(self) -> None:
        object.__setattr__(self, "target", behind_link(self.target))
        if self.compare is not None and self.compare not in COMPARISONS:
            raise UsageError(f"--compare must be side or wipe, got {self.compare!r}")

    @property
    def folder(self) -> Path:
        """Where the parts are until the target is complete."""
        return self.target.with_name(f"{self.target.name}.parts")


@dataclass(frozen=True)
class PreparedJob:
    """A job whose source was looked at.

    Attributes:
        job: as it was asked for.
        span: of the source that is derained.
        origin: seconds of the source's clock where the first part begins.
        zero: seconds of the source's clock that are the target's 0.
        source_info: of the source's video.
        info: of the video that is written.
        plan: of its encoder.
        metadata: of the source's video stream.
        identity: all that the output depends on.
    """

    job: Job
    span: Span
    origin: Fraction
    zero: Fraction
    source_info: VideoInfo
    info: VideoInfo
    plan: EncoderPlan
    metadata: dict[str, str]
    identity: Identity

    @property
    def part_seconds(self) -> Fraction:
        return Fraction(self.job.part_seconds).limit_denominator(1_000_000)

    def part_span(self, first: int, behind: int | None) -> Span:
        """The stretch of the source that some parts are made of.

        Args:
            first: number of a part.
            behind: number of the part behind the last; None is all that follow.
        """
        begin = self.span.begin if first == 0 else self.origin + first * self.part_seconds
        end = self.span.end
        if behind is not None:
            # A job may end within its last part.
            behind_time = self.origin + behind * self.part_seconds
            end = behind_time if end is None else min(end, behind_time)
        return Span(begin, end)

    def part_number(self, frame: Frame) -> int:
        """Of the part that a frame belongs to."""
        return max(0, (frame.pts * frame.time_base - self.origin) // self.part_seconds)

    def join(
        self, parts: list[VideoPart], path: Path, count: int | None, check: Callable[[], None]
    ) -> OtherStreams:
        """Write parts and the source's other streams to `path`.

        Args:
            parts: the leading ones of the job; none for a trial.
            path: the file.
            count: how many parts they are; None is all.
            check: called now and then; may raise to give up.

        Returns:
            What travelled beside the video, closed.
        """
        span = self.part_span(0, count)
        with closing(OtherStreams(self.job.source, span, self.zero)) as others:
            join(path, parts, others, self.info, self.plan, self.metadata, self.zero, check)
        return others


def prepare(
    job: Job, engine: DerainEngine, check: Callable[[], None] = lambda: None
) -> PreparedJob:
    """Look at a job's source, and plan how its output is written.

    Args:
        job: what to derain, and into what.
        engine: what derains.
        check: called while the first frame is sought; may raise to give up.

    Raises:
        SapnetError: the source cannot be read or is too large, or the target cannot hold it.
    """
    span = span_between(job.source, job.start_seconds, job.duration_seconds)
    decoder = VideoDecoder(
        job.source, span, deinterlace=job.deinterlace, hardware=job.hardware, check=check
    )
    with decoder, closing(decoder.frames()) as frames:
        first = next(frames)
        interlaced = any(frame.interlaced for frame in (first, *islice(frames, FIRST_PICTURES - 1)))
        source_info = replace(decoder.info, interlaced=interlaced)
        begin, metadata = decoder.begin_seconds, decoder.metadata
    height, width = source_info.orientation.size(source_info.height, source_info.width)
    engine.check_memory(height, width)
    info = COMPARISONS[job.compare].info(source_info) if job.compare else source_info
    with av.open(io.BytesIO(), "w", format=container_format(job.target)) as container:
        plan = plan_encoder(job.encoder, info, container)
    identity = {
        **input_identity(job.source),
        "--start": f"{job.start_seconds}",
        "--duration": f"{job.duration_seconds}",
        "--compare": f"{job.compare}",
        "--deinterlace": f"{job.deinterlace}",
        "--hwaccel": f"{job.hardware}",
        "the encoder": f"{plan}",
        "the length of parts": f"{float(job.part_seconds)} s",
        **engine.identity,
        **versions(),
    }
    origin = begin if span.begin is None else span.begin
    zero = span.begin or Fraction(0)
    if first.pts < 0:
        # MP4 and MOV hide what is before 0. Sound before the first picture may be meant to be.
        zero = min(begin, first.pts * first.time_base)
    return PreparedJob(job, span, origin, zero, source_info, info, plan, metadata, identity)
