"""Sources that cannot be opened: what is told, and whether it is tried again."""

import socket
import sys
import wave
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sapnet_stream.errors import InputError
from sapnet_stream.live import source
from sapnet_stream.live.fault import Fault
from tests.stream.live.loopback import WELL, Refuser
from tests.stream.live.reader import Reader

Eventually = Callable[..., None]


def test_mistakes_are_told_apart_and_end_the_job(
    camera: Any, refuser: Any, read: Callable[..., Reader]
) -> None:
    _write_sound(camera.folder / "sound.wav")
    address = f"127.0.0.1:{refuser.port}"
    mistakes = {
        f"rtsp://joe:secret-word@{address}/x": Fault.PASSWORD,
        "rtsp://camera.invalid/x": Fault.HOST,
        camera.url("nothing.mp4"): Fault.MISSING,
        camera.url("sound.wav"): Fault.VIDEO,
    }
    readers = {fault: read(url) for url, fault in mistakes.items()}
    for fault, reader in readers.items():
        reader.thread.join(30)
        if fault == Fault.HOST and Fault.LOOKUP in str(reader.events):
            # No resolver here: it cannot say so for certain, and waits.
            continue
        assert isinstance(reader.error, InputError), (fault, reader.events)
        assert f": {fault}: correct it" in str(reader.error)
        assert "secret-word" not in str(reader.error) and "joe" not in str(reader.error)


def test_persist_goes_on_where_the_password_is_wrong(
    refuser: Any, read: Callable[..., Reader], eventually: Eventually
) -> None:
    reader = read(f"rtsp://joe:pw@127.0.0.1:{refuser.port}/x", persist=True)
    eventually(lambda: reader.stats.attempts > 1)
    assert reader.error is None


def test_retries_end_it(read: Callable[..., Reader]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    reader = read(f"rtsp://127.0.0.1:{port}/x", retries=1)
    reader.thread.join(30)
    assert str(reader.error).endswith("nothing listens there: given up after 2 failures in a row")


def test_a_process_that_cannot_be_started_is_a_failure_like_others(
    read: Callable[..., Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere")
    reader = read("rtsp://127.0.0.1:1/x", retries=0)
    reader.thread.join(30)
    assert f": {Fault.DIED}: given up after 1 failures in a row" in str(reader.error)


def test_a_server_that_accepts_and_says_nothing(
    read: Callable[..., Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "OPEN_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        reader = read(f"rtsp://127.0.0.1:{mute.getsockname()[1]}/x", retries=0)
        reader.thread.join(30)
    assert "it does not answer" in str(reader.error)


def test_a_server_that_agrees_to_all_and_sends_nothing(
    read: Callable[..., Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "OPEN_SECONDS", 1.0)
    with closing(Refuser(answer=WELL)) as server:
        reader = read(f"rtsp://127.0.0.1:{server.port}/x", retries=0)
        reader.thread.join(30)
    assert "no whole picture came in time" in str(reader.error)


def test_a_file_that_is_none_is_one_sentence(read: Callable[..., Reader], tmp_path: Path) -> None:
    reader = read(str(tmp_path / "none.mkv"))
    reader.thread.join(30)
    assert str(reader.error).endswith(
        "none.mkv: there is no stream of that name: correct it, or add --persist to go on trying"
    )


def _write_sound(path: Path) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16000))
