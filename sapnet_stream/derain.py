"""The file job: one corridor from container to container, part by part."""

import os
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sapnet_stream.engine import DerainEngine
from sapnet_stream.errors import UsageError
from sapnet_stream.flow import StageStats
from sapnet_stream.job import Job, PreparedJob, prepare
from sapnet_stream.journal import Journal, claimed, clear, remove, was_placed
from sapnet_stream.limits import Needs, check_needs, needs
from sapnet_stream.models import Models
from sapnet_stream.parts import PartWork
from sapnet_stream.stop import Stop
from sapnet_stream.target import check_target, place
from sapnet_stream.video.codec import EncoderPlan
from sapnet_stream.video.container import container_format
from sapnet_stream.video.decode import VideoDecoder
from sapnet_stream.video.demux import Demuxer
from sapnet_stream.video.frame import Frame
from sapnet_stream.video.gaps import skipped_frames
from sapnet_stream.video.info import VideoInfo
from sapnet_stream.video.others import OtherStreams
from sapnet_stream.video.pixel_format import losses
from sapnet_stream.video.span import span_between
from sapnet_stream.video.verify import verify_written


@dataclass(frozen=True)
class Start:
    """What is known before the first frame.

    Attributes:
        info: of the source's video.
        plan: how it is written.
        done_frames: finished by an earlier run.
        needs: of memory and disk, about.
        warnings: sentences on what may not suffice.
    """

    info: VideoInfo
    plan: EncoderPlan
    done_frames: int
    needs: Needs
    warnings: list[str]


@dataclass(frozen=True)
class Report:
    """What a job did.

    Attributes:
        path: what was written: the target, or what is done of it, or None for nothing.
        frames: in it.
        complete: it is the target.
        warnings: sentences on what the source lacked or the target cannot hold.
        stats: where the time went, stage by stage.
    """

    path: Path | None
    frames: int
    complete: bool
    warnings: list[str]
    stats: list[StageStats]


def derain_file(
    job: Job,
    engine: DerainEngine,
    on_start: Callable[[Start], None] = lambda _: None,
    on_frame: Callable[[], None] = lambda: None,
    stop: Stop | None = None,
    on_again: Callable[[int, int], None] = lambda *_: None,
) -> Report:
    """Derain a video file; the target appears when it is complete, or not at all.

    Every frame keeps its time; audio, subtitles, chapters and metadata are carried over.
    Until the end, finished parts are kept in `job.folder`, whatever happens.

    Args:
        job: source, target and settings.
        engine: what derains the frames.
        on_start: told what is read and how it is written, before the first frame.
        on_frame: called after each frame, from another thread.
        stop: asked once, ends the job with the part at hand and writes what is done beside
            the target; asked twice, ends it at once.
        on_again: called while damage has frames decoded a second time, with how many were, and
            how many are to be; from any thread.

    Raises:
        SapnetError: one sentence; the target is untouched.
        KeyboardInterrupt: `stop` was asked twice; the target is untouched.
    """
    stop = stop or Stop()
    if job.resume and was_placed(job.folder, job.target):
        with claimed(job.folder):
            frames = sum(len(part.video.pts) for part in Journal(job.folder).parts.values())
            remove(job.folder)
        return Report(job.target, frames, True, [], [])
    # Refused before anything is decoded.
    check_target(job.target, job.source, overwrite=job.overwrite)
    container_format(job.target)
    prepared = prepare(job, engine, stop.check)
    # os.path takes names that no file can have for missing files, pathlib raises.
    if os.path.exists(job.folder) and not (job.resume or job.overwrite or job.keep_partial):
        raise UsageError(
            f"{job.folder} holds what is done of this job: add --resume to go on, "
            "--keep-partial to keep that much, or --overwrite to begin anew"
        )
    with claimed(job.folder):
        if job.overwrite and not (job.resume or job.keep_partial):
            clear(job.folder)
        journal = Journal(job.folder, prepared.identity)
        # Refused now rather than after hours.
        trial = job.folder / f"trial{job.target.suffix}"
        prepared.join([], trial, 0, stop.check)
        trial.unlink()
        on_start(_start(prepared, journal))
        stats: list[StageStats] = []
        if not job.keep_partial:
            work = PartWork(prepared, engine, journal)
            for first, behind in list(journal.missing()):
                if not stop.asked:
                    stats = work.run(first, behind, stop, on_frame, on_again)
        return _finish(prepared, journal, stop, stats)


def derain_part(job: Job, engine: DerainEngine, number: int) -> None:
    """Make one part of a job alone, for `derain_file` with `resume` to join with the others.

    Any number of processes may make different parts at once, also on machines that share the
    target's folder. Settings and versions must be the same everywhere.

    Args:
        job: as for `derain_file`.
        engine: likewise.
        number: 0 to `count_parts(job) - 1`.
    """
    prepared = prepare(job, engine)
    journal = Journal(job.folder, prepared.identity)
    PartWork(prepared, engine, journal).run(number, number + 1, Stop())


def count_parts(job: Job) -> int:
    """How many parts a job has, by the times of all packets of its video."""
    span = span_between(job.source, job.start_seconds, job.duration_seconds)
    demuxer = Demuxer(job.source)
    with demuxer.container:
        origin = demuxer.begin_seconds if span.begin is None else span.begin
        packets = demuxer.packets([demuxer.video], span.end)
        times = (packet.pts * packet.time_base for packet in packets if packet.pts is not None)
        last = max((time for time in times if time in span), default=origin)
    return max(0, int((last - origin) / job.part_seconds)) + 1


def derain_video(
    source: str | Path, engine: DerainEngine | None = None
) -> Generator[Frame, None, None]:
    """Iterate over the derained frames of a video file, in order.

    Args:
        source: a video file.
        engine: what derains the frames; None makes one for videos, see `Models`.

    Raises:
        InputError: the file is missing, unreadable, or has no video.
        TooLargeError: its pictures do not fit into the memory allowed.
    """
    with VideoDecoder(Path(source)) as decoder, closing(decoder.frames()) as frames:
        yield from (engine or DerainEngine(Models().network("video"))).frames(frames)


def _start(prepared: PreparedJob, journal: Journal) -> Start:
    """What is known before the first frame; refuses what plainly cannot be done."""
    job, plan = prepared.job, prepared.plan
    done = sum(len(part.video.pts) for part in journal.parts.values())
    needed = needs(prepared.info, plan, job.source.stat().st_size, done)
    warnings = [] if job.keep_partial else check_needs(needed, job.folder)
    lost = losses(prepared.info.layout, plan.pixel_format)
    if lost and job.encoder.pixel_format is None:
        warnings.append(
            f"the output is {plan.pixel_format}: {', '.join(lost)}; another --codec may keep it, "
            "ffv1 in .mkv does"
        )
    return Start(prepared.source_info, plan, done, needed, warnings)


def _finish(prepared: PreparedJob, journal: Journal, stop: Stop, stats: list[StageStats]) -> Report:
    """Write the target, or what is done of it from the beginning on beside the target."""
    job = prepared.job
    parts = [part.video for part in journal.leading()]
    if not parts:
        if job.keep_partial:
            raise UsageError(f"nothing of {job.target} is done yet: run the job first")
        return Report(None, 0, False, [], stats)
    result = job.folder / f"joined{job.target.suffix}"
    count = None if journal.complete else journal.leading()[-1].number + 1
    others = prepared.join(parts, result, count, stop.check)
    warnings = _warnings(prepared, journal, others)
    warnings += verify_written(result, prepared.plan, prepared.info)
    frames = sum(len(part.pts) for part in parts)
    if not journal.complete:
        partial = journal.partial_target(job.target)
        result.replace(partial)
        return Report(partial, frames, False, warnings, stats)
    journal.placing(result)
    place(result, job.target, overwrite=job.overwrite)
    journal.partial_target(job.target).unlink(missing_ok=True)
    remove(job.folder)
    return Report(job.target, frames, True, warnings, stats)


def _warnings(prepared: PreparedJob, journal: Journal, others: OtherStreams) -> list[str]:
    source = prepared.job.source
    warnings = list(others.left_out)
    damaged = sum(part.damaged for part in journal.parts.values())
    if damaged:
        warnings.append(
            f"{damaged} damaged packets or frames in {source}: the pictures around them may show it"
        )
    if others.missing:
        warnings.append(
            f"{source} is cut short: {others.missing} frames that its index names are not there"
        )
    lost = _lost_frames(prepared, journal, others) - damaged - others.missing
    if lost > 0:
        warnings.append(
            f"about {lost} frames that {source} should hold, by its header or by the times of the "
            "others, are not there: they are lost, or were never recorded"
        )
    retimed = sum(part.retimed for part in journal.parts.values())
    if retimed:
        warnings.append(
            f"{retimed} frames of {source} went back in time and were moved behind the frame before"
        )
    if others.retimed:
        warnings.append(
            f"{others.retimed} packets of sound or subtitles of {source} went back in "
            "time and were moved behind the packet before"
        )
    return warnings + _fields(prepared, journal)


def _fields(prepared: PreparedJob, journal: Journal) -> list[str]:
    """What became of frames that are two fields."""
    source, interlaced = prepared.job.source, _interlaced(journal)
    if prepared.source_info.interlaced and not prepared.info.interlaced:
        return [
            f"{source} is interlaced, and a comparison is written as whole pictures: players may "
            "show combs, --deinterlace makes whole pictures of its fields"
        ]
    if prepared.info.interlaced or (interlaced and prepared.plan.codec == "ffv1"):
        return [
            f"{source} is interlaced: its fields were derained one by one and stay fields; "
            "--deinterlace makes whole pictures of them"
        ]
    if interlaced:
        return [
            f"{interlaced} frames of {source} are interlaced, unlike its first, and the output "
            "does not say so: players may show combs, --deinterlace makes whole pictures of them"
        ]
    return []


def _interlaced(journal: Journal) -> int:
    return sum(part.interlaced for part in journal.parts.values())


def _lost_frames(prepared: PreparedJob, journal: Journal, others: OtherStreams) -> int:
    """About how many frames are not there, by what the source says of itself."""
    info, stated = prepared.source_info, others.stated_span
    if stated is None or not journal.complete:
        return 0
    pts = np.sort(np.concatenate([part.video.pts for part in journal.leading()]))
    # Packets may hold one of two fields, and in VP8 pictures that are never shown.
    fields = info.interlaced or _interlaced(journal) or prepared.job.deinterlace
    uncounted = fields or info.codec == "vp8"
    lost = 0 if uncounted else others.stated_frames - len(pts)
    if others.listed:
        return lost
    unit = info.time_base
    begin, end = (None if time is None else time / unit for time in (stated.begin, stated.end))
    return max(lost, skipped_frames(pts, 1 / (info.rate * unit), begin, end))
