"""What the command does: derain a video, an image or a folder, or show one frame."""

import argparse
import os
import shlex
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from sapnet_stream.derain import Report, Start, derain_file
from sapnet_stream.engine import DerainEngine
from sapnet_stream.errors import UsageError
from sapnet_stream.events import JsonProgress
from sapnet_stream.folder import derain_folder, is_video_name, plan_folder
from sapnet_stream.image import derain_image
from sapnet_stream.job import Job
from sapnet_stream.models import Kind, Models
from sapnet_stream.parser import encoder_settings
from sapnet_stream.preview import preview
from sapnet_stream.progress import JobProgress, JobSettings
from sapnet_stream.signals import STOPPED
from sapnet_stream.still.write import IMAGE_ENDINGS
from sapnet_stream.stop import Stop
from sapnet_stream.video.hardware import HardwareDecoder

# They say nothing to a single picture.
OF_VIDEOS = (
    *("start", "duration", "compare", "codec", "crf", "preset", "pix_fmt", "encoder_option"),
    *("deinterlace", "hwaccel", "resume", "keep_partial"),
)


class Command:
    """One run of the command.

    Args:
        options: as they were parsed.
        arguments: as they were typed, to say how to go on.
        models: what derains.
        progress: told what happens.
        stop: asked once, ends the job where it can go on from.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        arguments: list[str],
        models: Models,
        progress: JobProgress | JsonProgress,
        stop: Stop,
    ) -> None:
        self._options = options
        self._models = models
        self._progress = progress
        self._stop = stop
        kept = [each for each in arguments if each not in ("--resume", "--keep-partial")]
        self._again = shlex.join(["sapnet-stream", "--resume", *kept])

    @property
    def resumable(self) -> bool:
        """Whether what is done of the job when it is stopped is of use."""
        return not (self._options.preview is not None or self._is_image)

    def run(self, engine: Callable[[Kind], DerainEngine]) -> int:
        """Do it; returns the exit status.

        Args:
            engine: makes the one for videos, or for images.

        Raises:
            SapnetError: one sentence.
            KeyboardInterrupt: it was stopped, and nothing was written.
        """
        options = self._options
        if not self.resumable:
            self._refuse_video_options()
        if options.preview is not None:
            preview(
                options.input,
                options.output,
                options.preview,
                engine("video"),
                overwrite=options.overwrite,
            )
            self._progress.done(str(options.output), 1)
            return 0
        if self._is_folder:
            return self._folder(engine)
        if self._is_image:
            if is_video_name(options.input):
                raise UsageError(
                    f"{options.input} is a video and {options.output} an image: name a video such "
                    "as .mp4, or add --preview FRAME for one of its frames"
                )
            self._image(options.input, options.output, engine("image"))
            return 0
        return self._video(engine("video"))

    @property
    def _is_folder(self) -> bool:
        # os.path takes names that no file can have for missing files, pathlib raises.
        return os.path.isdir(self._options.input)

    @property
    def _is_image(self) -> bool:
        return not self._is_folder and self._options.output.suffix.lower() in IMAGE_ENDINGS

    def _refuse_video_options(self) -> None:
        for name in OF_VIDEOS:
            given = getattr(self._options, name)
            # Not by equality: 0 is a value, and equals False.
            if given is not None and given is not False and given != []:
                raise UsageError(
                    f"--{name.replace('_', '-')} is for videos and {self._options.output} is "
                    "an image: leave it out"
                )

    def _image(self, source: Path, target: Path, engine: DerainEngine) -> None:
        for warning in derain_image(source, target, engine, overwrite=self._options.overwrite):
            self._progress.warn(warning)
        self._progress.done(str(target), 1)

    def _video(self, engine: DerainEngine) -> int:
        job = self._job(self._options.input, self._options.output)
        report = self._derained(job, engine)
        if report.complete:
            return 0
        status = 0 if job.keep_partial else STOPPED
        self._progress.stopped(self._unfinished(report, job), status)
        return status

    def _folder(self, engine: Callable[[Kind], DerainEngine]) -> int:
        options = self._options
        if options.keep_partial:
            raise UsageError("--keep-partial is for one video: name it and its output")

        def image(source: Path, target: Path) -> None:
            # As for one image, whatever is done of it is of no use.
            with self._stop.cancelling(_interrupt):
                self._image(source, target, engine("image"))
            if self._stop.asked:
                raise KeyboardInterrupt

        def video(source: Path, target: Path) -> None:
            if not self._derained(self._job(source, target), engine("video")).complete:
                raise KeyboardInterrupt

        plan = plan_folder(options.input, options.output)
        for kind in dict.fromkeys(item.kind for item in plan.items):
            # A mistake in an option is said once, and before a file is made.
            engine(kind)
            if kind == "video":
                _ = self._hardware
        for note in plan.notes:
            self._progress.note(note)
        try:
            report = derain_folder(
                plan,
                image,
                video,
                self._progress.file,
                self._progress.fail,
                overwrite=options.overwrite,
                resume=options.resume,
            )
        except KeyboardInterrupt:
            self._progress.stopped(f"stopped; go on: {self._again}", STOPPED)
            return STOPPED
        self._progress.summary(report)
        return report.exit_code

    @cached_property
    def _hardware(self) -> HardwareDecoder | None:
        """Opened once, for all files."""
        name = self._options.hwaccel
        return HardwareDecoder(name) if name else None

    def _job(self, source: Path, target: Path) -> Job:
        options = self._options
        return Job(
            source=source,
            target=target,
            start_seconds=options.start,
            duration_seconds=options.duration,
            compare=options.compare,
            deinterlace=options.deinterlace,
            hardware=self._hardware,
            encoder=encoder_settings(options),
            overwrite=options.overwrite,
            resume=options.resume,
            keep_partial=options.keep_partial,
        )

    def _derained(self, job: Job, engine: DerainEngine) -> Report:
        def start(begin: Start) -> None:
            settings = self._settings(job, begin, engine)
            self._progress.begin(settings, begin.info.frame_count, begin.done_frames)
            for warning in begin.warnings:
                self._progress.warn(warning)

        try:
            report = derain_file(
                job, engine, start, self._progress.update, self._stop, self._progress.again
            )
        except KeyboardInterrupt:
            report = Report(None, 0, False, [], [])
        for warning in report.warnings:
            self._progress.warn(warning)
        if report.complete:
            self._progress.done(str(report.path), report.frames)
        return report

    def _settings(self, job: Job, begin: Start, engine: DerainEngine) -> JobSettings:
        """What is in effect, defaults included."""
        info = begin.info
        return JobSettings(
            input=str(job.source),
            output=str(job.target),
            codec=info.codec,
            width=info.width,
            height=info.height,
            pixel_format=info.layout.name,
            frames_per_second=float(info.rate),
            network=engine.description,
            weights=self._models.path("video").name,
            strength=engine.strength,
            encoder=str(begin.plan),
            needs=str(begin.needs),
        )

    def _unfinished(self, report: Report, job: Job) -> str:
        """What there is of a job that was stopped, and how to go on."""
        go_on = f"go on: {self._again}"
        if report.path is not None:
            return f"stopped: the first {report.frames} frames are in {report.path}; {go_on}"
        if job.folder.exists():
            return f"stopped: what is done is in {job.folder}; {go_on}"
        return "stopped before anything was finished"


def _interrupt() -> None:
    raise KeyboardInterrupt
