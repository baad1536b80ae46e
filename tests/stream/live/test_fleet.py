"""Several cameras in one process: what becomes of one is nothing to the others."""

import io
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import av
import pytest

from sapnet_stream.engine import DerainEngine
from sapnet_stream.live.cameras_file import Entry, read_cameras
from sapnet_stream.live.console import Console
from sapnet_stream.live.decode import LiveFrame
from sapnet_stream.live.fleet import Fleet
from sapnet_stream.live.ladder import Way
from sapnet_stream.live.metrics import metrics_of
from sapnet_stream.live.program import Program
from sapnet_stream.live.redact import Redactor
from sapnet_stream.networks.sapnet_video import SAPNetVideo
from sapnet_stream.video.frame import Frame
from tests.stream.live.job import Nothing
from tests.stream.live.loopback import Camera, Refuser

Eventually = Callable[..., None]
Entries = Callable[[str], dict[str, Entry]]
ENGINE = DerainEngine(executor=Nothing())
TIGHT = DerainEngine(SAPNetVideo(), memory_bytes=2**20)


@pytest.fixture
def said() -> io.StringIO:
    """What the console says."""
    return io.StringIO()


@pytest.fixture
def fleet(said: io.StringIO) -> Iterator[Fleet]:
    """Cameras derained by a network that changes nothing; of "large" and "broken" by none."""

    def stumble(_: Frame) -> Frame:
        raise RuntimeError("rtsp://joe:pass-word@cam/x")

    def ways_of(entry: Entry) -> list[Way]:
        special = {"broken": stumble, "large": TIGHT.frame}
        return [Way("nothing", lambda: special.get(entry.settings.name, ENGINE.frame))]

    made = Fleet(ways_of, Console(Redactor(), "text", file=said))
    with closing(made):
        yield made
    assert not [t for t in threading.enumerate() if t.name.startswith("sapnet-")]


@pytest.fixture
def entries(tmp_path: Path) -> Entries:
    """A function that reads the lines of a file below cameras."""

    def read(lines: str) -> dict[str, Entry]:
        path = tmp_path / "cameras.yaml"
        defaults = "defaults: {retry-cap: 0.5, preset: ultrafast}"
        path.write_text(f"{defaults}\ncameras:\n{lines}")
        return read_cameras(path, Redactor()).cameras

    return read


def line(name: str, url: str, output: Path | str = "none", **more: str) -> str:
    options = {"input": url, "output": str(output), **more}
    return f"  {name}: {{{', '.join(f'{k}: {v}' for k, v in options.items())}}}\n"


def times(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [float(frame.time or 0) for frame in container.decode(video=0)]


def test_one_of_four_comes_and_goes_and_the_others_notice_nothing(
    camera: Camera, fleet: Fleet, entries: Entries, eventually: Eventually, tmp_path: Path
) -> None:
    flapping = Camera(camera.folder)
    steady = {name: tmp_path / f"{name}.mkv" for name in ("a", "b", "c")}
    lines = [line(name, camera.url("camera.mp4"), path) for name, path in steady.items()]
    lines.append(line("d", flapping.url("camera.mp4"), tmp_path / "d.mkv"))
    fleet.want(entries("".join(lines)))
    try:
        eventually(lambda: fleet.step() and all(s.frames_out > 20 for s in fleet.statuses))
        before = fleet.statuses
        for cycle in range(1, 4):
            flapping.stop()
            eventually(lambda: fleet.step() and fleet.statuses[3].state == "backing-off")
            flapping.start()
            eventually(lambda cycle=cycle: fleet.step() and fleet.statuses[3].reconnects >= cycle)
            frames = fleet.statuses[3].frames_out
            eventually(lambda f=frames: fleet.step() and fleet.statuses[3].frames_out > f + 10)
        after = fleet.statuses
        fleet.close()
    finally:
        flapping.close()
    for was, now in zip(before[:3], after[:3], strict=True):
        assert (now.reconnects, now.corrupt, now.outputs[0].connections) == (0, 0, 1)
        assert now.frames_in > was.frames_in + 40 and now.frames_out > was.frames_out + 20
        # Every packet was decoded; how many frames a loaded machine derains is no matter here.
        assert now.drops["decoder_busy"] == now.drops["no_keyframe"] == 0
    for path in steady.values():
        assert max(b - a for a, b in itertools.pairwise(times(path))) < 2
    assert len(times(tmp_path / "d.mkv")) > 40


def test_cameras_that_fail_are_told_by_name_and_the_others_go_on(
    camera: Camera,
    refuser: Refuser,
    fleet: Fleet,
    entries: Entries,
    eventually: Eventually,
    said: io.StringIO,
) -> None:
    refused = f"rtsp://127.0.0.1:{refuser.port}/x"
    lines = [
        line("well", camera.url("camera.mp4")),
        line("patient", refused),
        line("refused", refused, persist="false"),
        line("broken", camera.url("camera.mp4")),
        line("large", camera.url("camera.mp4")),
    ]
    fleet.want(entries("".join(lines)))
    eventually(lambda: fleet.step() and [s.state for s in fleet.statuses].count("ended") == 3)
    text = said.getvalue()
    assert "sapnet-stream: refused: rtsp://127.0.0.1" in text and "password is wrong" in text
    assert "sapnet-stream: broken: RuntimeError at test_fleet.py:" in text
    assert "sapnet-stream: large: a 64x48 frame needs" in text and "Traceback" not in text
    assert "pass-word" not in text
    states = dict(zip(fleet.views, (s.state for s in fleet.statuses), strict=True))
    assert (states["refused"], states["broken"]) == ("ended", "ended")
    eventually(lambda: fleet.statuses[1].state == "backing-off")
    frames = fleet.statuses[0].frames_out
    eventually(lambda: fleet.step() and fleet.statuses[0].frames_out > frames + 10)
    assert fleet.exit_status == 6
    # They begin again when the file is read again.
    fleet.want(entries("".join(lines)))
    eventually(lambda: fleet.step() and said.getvalue().count("refused: rtsp://") == 2)


def test_only_what_changed_is_touched(
    camera: Camera, fleet: Fleet, entries: Entries, eventually: Eventually, tmp_path: Path
) -> None:
    url = camera.url("camera.mp4")
    kept, changed = line("kept", url, tmp_path / "kept.mkv"), line("changed", url)
    fleet.want(entries(kept + changed + line("removed", url, tmp_path / "removed.mkv")))
    eventually(lambda: fleet.step() and all(s.frames_out > 10 for s in fleet.statuses))
    views, frames = fleet.views, fleet.statuses[0].frames_out
    changed = line("changed", url, tmp_path / "changed.mkv")
    fleet.want(entries(line("new", url) + changed + kept))
    eventually(lambda: fleet.step() and list(fleet.views) == ["new", "changed", "kept"])
    eventually(lambda: fleet.step() and all(s.frames_out > 10 for s in fleet.statuses))
    assert fleet.views["kept"] is views["kept"] and fleet.views["changed"] is not views["changed"]
    status = fleet.views["kept"].status()
    assert (status.reconnects, status.outputs[0].connections) == (0, 1)
    assert status.frames_out > frames
    # Completed, and nobody writes it any more.
    assert len(times(tmp_path / "removed.mkv")) > 10
    fleet.close()
    for name in ("kept", "changed"):
        assert len(times(tmp_path / f"{name}.mkv")) > 10


def test_what_failed_begins_again_after_a_while(
    camera: Camera,
    fleet: Fleet,
    entries: Entries,
    eventually: Eventually,
    said: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sapnet_stream.live.fleet.AGAIN_SECONDS", 0.2)
    url = camera.url("camera.mp4")
    fleet.want(entries(line("broken", url)))
    eventually(lambda: fleet.step() and said.getvalue().count("RuntimeError at") >= 2)
    fleet.want(entries(line("broken", url, persist="false")))
    eventually(lambda: not fleet.step())
    assert fleet.exit_status == 1


def test_what_goes_wrong_with_the_status_ends_its_camera_with_a_message(
    camera: Camera,
    fleet: Fleet,
    entries: Entries,
    eventually: Eventually,
    said: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stumble(*_: object) -> None:
        raise KeyError("pass-word")

    monkeypatch.setattr(Console, "status", stumble)
    fleet.want(entries(line("yard", camera.url("camera.mp4"), persist="false")))
    eventually(lambda: not fleet.step())
    assert "yard: KeyError at test_fleet.py:" in said.getvalue() and fleet.exit_status == 1


def test_who_takes_an_end_over_waits_until_it_is_free(
    camera: Camera, fleet: Fleet, entries: Entries, eventually: Eventually, tmp_path: Path
) -> None:
    url, path = camera.url("camera.mp4"), tmp_path / "out.mkv"
    fleet.want(entries(line("yard", url, path)))
    eventually(lambda: fleet.step() and fleet.statuses[0].frames_out > 10)
    fleet.want(entries(line("garden", url, path)))
    seen: list[list[str]] = []

    def taken_over() -> bool:
        fleet.step()
        seen.append(list(fleet.views))
        return seen[-1] == ["garden"]

    eventually(taken_over)
    assert ["garden", "yard"] not in seen and len(times(path)) > 10


def test_a_mistake_among_the_wanted_changes_nothing(
    camera: Camera, entries: Entries, eventually: Eventually, said: io.StringIO
) -> None:
    def ways_of(entry: Entry) -> list[Way]:
        if entry.settings.name == "bad":
            raise KeyError
        return [Way("nothing", lambda: ENGINE.frame)]

    url = camera.url("camera.mp4")
    with closing(Fleet(ways_of, Console(Redactor(), "text", file=said))) as fleet:
        fleet.want(entries(line("good", url)))
        eventually(lambda: fleet.step() and fleet.statuses[0].frames_out > 3)
        with pytest.raises(KeyError):
            fleet.want(entries(line("bad", url)))
        frames = fleet.statuses[0].frames_out
        eventually(lambda: fleet.step() and fleet.statuses[0].frames_out > frames + 3)
        assert list(fleet.views) == ["good"]


def test_all_end_soon_though_each_waits_for_the_device(
    camera: Camera, entries: Entries, eventually: Eventually, said: io.StringIO
) -> None:
    def slow(frame: Frame) -> Frame:
        time.sleep(1.0)
        return frame

    names = [f"c{number}" for number in range(6)]
    fleet = Fleet(lambda _: [Way("slow", lambda: slow)], Console(Redactor(), "text", file=said))
    fleet.want(entries("".join(line(name, camera.url("camera.mp4")) for name in names)))
    eventually(lambda: fleet.step() and all(s.frames_in > 5 for s in fleet.statuses))
    began = time.monotonic()
    fleet.close()
    # Not a frame of each, which would be six seconds.
    assert time.monotonic() - began < 4
    assert said.getvalue().count("stopped; ") == 6


def test_one_that_hangs_is_named_while_the_others_go_on_and_new_ones_come(
    camera: Camera,
    fleet: Fleet,
    entries: Entries,
    eventually: Eventually,
    said: io.StringIO,
    make_clip: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    released, show = threading.Event(), Program.show

    def hang(program: Program, live: LiveFrame) -> None:
        if live.info.width == 96:
            released.wait(60)
        show(program, live)

    monkeypatch.setattr(Program, "show", hang)
    monkeypatch.setattr("sapnet_stream.live.camera.STUCK_SECONDS", 0.5)
    monkeypatch.setattr("sapnet_stream.live.fleet.MOST_LEAVING_SECONDS", 0.5)
    make_clip("camera/wide.mp4", "libx264", ticks=range(100), noise=False, size=(96, 48))
    well = line("well", camera.url("camera.mp4"))
    hung = line("hung", camera.url("wide.mp4"), tmp_path / "hung.mkv")
    fleet.want(entries(well + hung))
    eventually(lambda: fleet.step() and fleet.statuses[1].state == "stuck")
    eventually(lambda: "hung: stuck: encode did not come back" in said.getvalue())
    metrics = metrics_of(lambda: fleet.statuses)().decode()
    assert 'sapnet_state{camera="hung",state="stuck"} 1.0' in metrics
    frames = fleet.statuses[0].frames_out
    eventually(lambda: fleet.step() and fleet.statuses[0].frames_out > frames + 10)

    fleet.want(entries(well + line("new", camera.url("camera.mp4"))))
    eventually(lambda: fleet.step() and list(fleet.views) == ["well", "new", "hung"])
    eventually(lambda: fleet.statuses[1].frames_out > 3)
    released.set()
    eventually(lambda: fleet.step() and list(fleet.views) == ["well", "new"])
