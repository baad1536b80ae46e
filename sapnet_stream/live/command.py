"""The command for live streams: what was typed, turned into a camera job."""

import argparse
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from sapnet_stream.engine import DerainEngine
from sapnet_stream.errors import SapnetError, UsageError
from sapnet_stream.flow import Cancelled
from sapnet_stream.live.address import Address, parse_address, read_password
from sapnet_stream.live.camera import Camera, CameraSettings
from sapnet_stream.live.console import Console
from sapnet_stream.live.ladder import Derain, Way
from sapnet_stream.live.metrics import metrics_of
from sapnet_stream.live.options import parser
from sapnet_stream.live.output import Keep, Output, parse_keep
from sapnet_stream.live.page import FILES, preview_pages
from sapnet_stream.live.preview import Preview
from sapnet_stream.live.redact import Redactor
from sapnet_stream.live.server import Answer, Page, parse_listen, serving
from sapnet_stream.live.service import Service
from sapnet_stream.live.smaller import at_half_size
from sapnet_stream.live.source_settings import SourceSettings
from sapnet_stream.live.status import Status
from sapnet_stream.live.tls import ANYBODY
from sapnet_stream.parser import encoder_settings
from sapnet_stream.video.hardware import HardwareDecoder

STOPPED = 130
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# A frame that is being derained cannot be interrupted, and would hold up the end.
MOST_STOPPING_SECONDS = 4.5
FEWER_STAGES = (3, 2, 1)
# Decoding, encoding and the wait for the frame before, of a camera of 25 frames/s.
LEAST_LATENCY_SECONDS = 0.1

EngineOf = Callable[[argparse.Namespace], DerainEngine]


def live(arguments: list[str], engine_of: EngineOf) -> int:
    """Run the camera job that was asked for; returns the exit status.

    Args:
        arguments: of the command line.
        engine_of: makes an engine of the options model, weights, device, dtype, stages,
            strength and memory.
    """
    typed = [each for each in arguments if "://" in each]
    console = Console(Redactor(typed=typed), "text")
    try:
        options = parser().parse_args(arguments)
        settings = camera_settings(options)
        ends = [settings.source.address, *(output.address for output in settings.outputs)]
        console = Console(Redactor(ends, typed), options.log, quiet=options.quiet)
        token = read_password(options.token_env, options.token_file, "--token")
        listens = _listens(options, token)
        service, preview = Service(), Preview()

        def tick(status: Status) -> None:
            console.status(status)
            service.tick(status)

        camera = Camera(settings, ways(options, engine_of), console.event, tick, preview.show)
        pages = {
            "--metrics": _pages_for_machines(camera),
            "--preview": preview_pages(preview, lambda: camera.status, console),
        }
        with _serving(listens, pages, token, console), _stopping(camera):
            camera.run()
    except SapnetError as error:
        console.end("error", str(error), error.exit_code)
        return error.exit_code
    except Cancelled:
        console.end("stopped", f"stopped; {camera.status}", STOPPED)
        return STOPPED
    except KeyboardInterrupt:
        # While the network was loaded.
        console.end("stopped", "stopped before it began", STOPPED)
        return STOPPED
    console.event(str(camera.status))
    return 0


def camera_settings(options: argparse.Namespace) -> CameraSettings:
    """What the options ask for.

    Raises:
        SapnetError: a mistake among them, in one sentence.
    """
    password = read_password(options.password_env, options.password_file)
    address = parse_address(options.input, "input").with_credentials(options.user, password)
    if address.scheme in ("http", "https") and not options.http:
        raise UsageError("an input by http opens what its playlist names: add --http to allow it")
    if address.scheme == "file" and not options.realtime:
        raise UsageError(f"{address.shown} is a file: add --realtime to treat it as a camera")
    _check_numbers(options)
    if options.tls_ca not in (None, ANYBODY) and not os.path.isfile(options.tls_ca):
        raise UsageError(f"--tls-ca {options.tls_ca} is not a file: name one of certificates")
    return CameraSettings(
        source=SourceSettings(
            address,
            transport=options.rtsp_transport,
            trusted=options.tls_ca,
            realtime=options.realtime,
            retries=options.retries,
            persist=options.persist,
            cap_seconds=options.retry_cap,
            hardware=options.hwaccel and HardwareDecoder(options.hwaccel),
        ),
        outputs=tuple(_outputs(options)),
        encoder=encoder_settings(options),
        max_latency_seconds=options.max_latency,
        rescale=options.when_changed == "rescale",
    )


def _check_numbers(options: argparse.Namespace) -> None:
    if options.max_latency < LEAST_LATENCY_SECONDS:
        raise UsageError(
            f"--max-latency must be at least {LEAST_LATENCY_SECONDS:g}, got "
            f"{options.max_latency:g}: a frame that waits for the one before it is older"
        )
    if options.retries is not None and options.retries < 0:
        raise UsageError(f"--retries must not be negative, got {options.retries}")
    for name in ("retry_cap", "segment"):
        if (value := getattr(options, name)) is not None and value <= 0:
            raise UsageError(f"--{name.replace('_', '-')} must be more than 0, got {value:g}")


def ways(options: argparse.Namespace, engine_of: EngineOf) -> list[Way]:
    """How to derain, from the best way to the fastest that `--when-slow` allows.

    A stream that stutters is seen at once, and what is dropped is gone; a little more rain is
    neither. So by default frames are derained faster before any are dropped.

    Raises:
        UsageError: the network has no faster way of that kind.
    """
    engine = engine_of(options)
    made = [Way(engine.description, _begins(engine))]
    # What remembers looks once at each frame.
    looks_once = engine.past_frames > 0
    when_slow = options.when_slow or ("smaller" if looks_once else "fewer-stages")
    if when_slow == "smaller":
        made.append(
            Way(
                f"{engine.description}, at half the size",
                lambda: partial(at_half_size, derain=engine.stream().frame),
            )
        )
    if when_slow == "fewer-stages":
        if looks_once:
            raise UsageError("--when-slow fewer-stages is for --model sapnet: choose smaller")
        for stages in FEWER_STAGES:
            if options.stages is None or stages < options.stages:
                fewer = engine_of(argparse.Namespace(**{**vars(options), "stages": stages}))
                made.append(Way(fewer.description, _begins(fewer)))
    return made


def _begins(engine: DerainEngine) -> Callable[[], Derain]:
    # One frame at a time: to begin the next before this one is done would only make both older.
    return lambda: engine.stream().frame


def _outputs(options: argparse.Namespace) -> Iterator[Output]:
    keep = Keep() if options.keep is None else parse_keep(options.keep)
    if options.keep is not None and options.segment is None:
        raise UsageError("--keep is for --segment: say how long each file is")
    password = read_password(
        options.output_password_env, options.output_password_file, "--output-password"
    )
    first = parse_address(options.output, "output")
    others = [parse_address(text, "output") for text in options.also]
    pipes = [each for each in (first, *others) if each.scheme == "pipe"]
    if len(pipes) > 1:
        raise UsageError("- is standard output, and can be given once")
    for address in (first.with_credentials(options.output_user, password), *others):
        if address.scheme != "none":
            yield _output(address, options, keep)


def _output(address: Address, options: argparse.Namespace, keep: Keep) -> Output:
    # --segment rolls the files among several outputs.
    segment = options.segment if address.scheme == "file" else None
    return Output(address, segment, keep, options.rtsp_transport, options.tls_ca)


def _listens(options: argparse.Namespace, token: str | None) -> dict[str, tuple[str, int]]:
    """Where to listen for what was asked for, by option."""
    typed = {"--metrics": options.metrics, "--preview": options.preview}
    return {
        option: parse_listen(option, text, token)
        for option, text in typed.items()
        if text is not None
    }


def _pages_for_machines(camera: Camera) -> dict[str, Page]:
    metrics = metrics_of(lambda: camera.status)

    def ready(_: str) -> Answer:
        status = camera.status
        return Answer(f"{status}\n".encode(), 200 if status.ready else 503)

    return {
        "/healthz": lambda _: Answer(b"alive\n"),
        "/readyz": ready,
        "/metrics": lambda _: Answer(metrics()),
    }


@contextmanager
def _serving(
    listens: dict[str, tuple[str, int]],
    pages: dict[str, dict[str, Page]],
    token: str | None,
    console: Console,
) -> Iterator[None]:
    """Within, what was asked for can be read."""
    with ExitStack() as stack:
        for option, (host, port) in listens.items():
            public = FILES if option == "--preview" else ()
            server = serving(option, (host, port), pages[option], token, public)
            port = stack.enter_context(server)
            if option == "--preview":
                shown = f"[{host}]" if ":" in host else host
                console.event(f"the preview is at http://{shown}:{port}/")
        yield


@contextmanager
def _stopping(camera: Camera) -> Iterator[None]:
    """Within, a signal ends the job, and a second one the program."""

    def stop(number: int, _: object) -> None:
        camera.cancel()
        signal.signal(number, signal.SIG_DFL)
        # Ends the program by itself where what is being done does not end.
        signal.setitimer(signal.ITIMER_REAL, MOST_STOPPING_SECONDS)

    handlers = {number: signal.getsignal(number) for number in STOPS}
    for number, handler in handlers.items():
        # What started this program may have asked it to ignore one, as nohup does.
        if handler != signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in handlers.items():
            signal.signal(number, handler)
