"""Cameras for tests, and jobs that read them."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sapnet_stream.engine import DerainEngine
from sapnet_stream.live.address import Address
from sapnet_stream.live.ladder import Way
from sapnet_stream.live.output import Output
from tests.stream.live.job import Nothing, Run
from tests.stream.live.loopback import Camera, Proxy, Refuser, wait_until
from tests.stream.live.program import Program
from tests.stream.live.reader import Reader


@pytest.fixture(scope="session")
def camera_clip() -> list[bytes]:
    """What the camera shows, once it was made."""
    return []


@pytest.fixture
def camera(
    make_clip: Callable[..., Path],
    sound: Callable[[str], Any],
    tmp_path: Path,
    camera_clip: list[bytes],
) -> Iterator[Camera]:
    """A camera with `camera.mp4`: 64x48 at 25 frames/s with sound, ten seconds."""
    if not camera_clip:
        options = {"preset": "ultrafast", "bf": "0", "g": "10"}
        sounds = [sound("aac")]
        clip = make_clip(
            "made.mp4", "libx264", ticks=range(250), noise=False, sounds=sounds, options=options
        )
        camera_clip.append(clip.read_bytes())
    folder = tmp_path / "camera"
    folder.mkdir()
    (folder / "camera.mp4").write_bytes(camera_clip[0])
    server = Camera(folder)
    yield server
    server.close()


@pytest.fixture
def proxy(camera: Camera) -> Iterator[Proxy]:
    """A proxy before the camera."""
    between = Proxy(camera.port)
    yield between
    between.close()


@pytest.fixture
def refuser() -> Iterator[Refuser]:
    """A camera that answers 401 to everybody."""
    server = Refuser()
    yield server
    server.close()


@pytest.fixture
def eventually() -> Callable[..., None]:
    """The function that waits for a condition."""
    return wait_until


@pytest.fixture
def run() -> Iterator[Callable[..., Run]]:
    """A function that begins a camera job."""
    runs: list[Run] = []
    engine = DerainEngine(executor=Nothing())

    def begin(
        source: str | Address,
        *outputs: Output,
        ways: list[Way] | None = None,
        rescale: bool = False,
        **wishes: Any,
    ) -> Run:
        ways = ways or [Way("nothing", lambda: engine.frame)]
        runs.append(Run(source, list(outputs), ways, rescale, **wishes))
        return runs[-1]

    yield begin
    for each in runs:
        each.stop()
    assert not [t for t in threading.enumerate() if t.name.startswith("sapnet-")]


@pytest.fixture
def read() -> Iterator[Callable[..., Reader]]:
    """A function that begins to read an address."""
    readers: list[Reader] = []

    def begin(url: str, **settings: Any) -> Reader:
        readers.append(Reader(url, **settings))
        return readers[-1]

    yield begin
    for reader in readers:
        reader.stop()


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """A function that starts the command."""
    programs: list[Program] = []

    def start(*arguments: Any, stdin: Path | None = None, **environment: str) -> Program:
        number = len(programs)
        files = [stdin or Path("/dev/null"), *(tmp_path / f"{n}-{number}" for n in ("out", "log"))]
        programs.append(Program(files, [str(each) for each in arguments], environment))
        return programs[-1]

    yield start
    for each in programs:
        each.process.kill()
        each.process.join()
