"""The command for live streams: what was typed, turned into a camera job."""

import argparse
from collections.abc import Callable

from sapnet_stream.engine import DerainEngine
from sapnet_stream.errors import SapnetError
from sapnet_stream.flow import Cancelled
from sapnet_stream.live.camera import Camera
from sapnet_stream.live.console import Console
from sapnet_stream.live.options import parser
from sapnet_stream.live.page import View
from sapnet_stream.live.preview import Preview
from sapnet_stream.live.redact import Redactor
from sapnet_stream.live.service import Service
from sapnet_stream.live.settings import camera_settings
from sapnet_stream.live.status import Status
from sapnet_stream.live.surface import Surface
from sapnet_stream.live.ways import ways
from sapnet_stream.signals import STOPPED, stopping

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
        surface = Surface(options)
        service, preview = Service(), Preview()

        def tick(status: Status) -> None:
            console.status(status)
            service.tick([status])

        camera = Camera(settings, ways(options, engine_of), console.event, tick, preview.show)
        views = {"": View(preview, lambda: camera.status)}
        with surface.serving(lambda: views, console), stopping(camera.cancel):
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
