"""The pages for machines: what they say, to whom, and that nothing else answers."""

import contextlib
import http.client
import math
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sapnet_stream.errors import UsageError
from sapnet_stream.live.metrics import metrics_of
from sapnet_stream.live.server import MOST_READERS, Answer, parse_listen, serving
from sapnet_stream.live.status import Ages

LOOPBACK = ("127.0.0.1", 0)


def get(
    port: int, path: str, token: str | None = None, method: str = "GET", host: str | None = None
) -> tuple[int, str]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    headers |= {} if host is None else {"Host": host}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", headers=headers, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_pages_and_nothing_else() -> None:
    pages = {
        "/a": lambda query: Answer(f"fine{query}".encode()),
        "/b": lambda _: Answer(b"not yet", 503),
    }
    with serving("--metrics", LOOPBACK, pages) as port:
        assert get(port, "/a?x=1") == (200, "finex=1")
        assert get(port, "/b") == (503, "not yet")
        assert get(port, "/")[0] == 404
        for method in ("POST", "PUT", "DELETE", "HEAD"):
            assert get(port, "/a", method=method)[0] == 501
        with (
            pytest.raises(UsageError, match="cannot listen on"),
            serving("--a", ("127.0.0.1", port), {}),
        ):
            pass
        reader = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        for _ in range(2):
            reader.request("GET", "/a")
            answer = reader.getresponse()
            assert answer.read() == b"fine"
        assert answer.getheader("Connection") is None
        reader.request("GET", "/a", body=b"GET /b HTTP/1.1\r\n\r\n")
        assert reader.getresponse().getheader("Connection") == "close"
        assert answer.getheader("Cache-Control") == "no-store"
        assert "default-src 'none'" in answer.getheader("Content-Security-Policy", "")
    with pytest.raises(urllib.error.URLError):
        get(port, "/a")
    reader.close()


def test_a_browser_that_was_led_here_by_a_name_is_told_nothing() -> None:
    with serving("--metrics", LOOPBACK, {"/a": lambda _: Answer(b"fine")}) as port:
        for host in (f"localhost:{port}", f"127.0.0.1:{port}", "[::1]"):
            assert get(port, "/a", host=host) == (200, "fine")
        for host in ("evil.example", f"evil.example:{port}", "[", "localhost.evil.example"):
            assert get(port, "/a", host=host)[0] == 421
    with serving("--metrics", LOOPBACK, {"/a": lambda _: Answer(b"fine")}, "t") as port:
        assert get(port, "/a", "t", host="cameras.example") == (200, "fine")


def test_a_page_that_fails_says_nothing_on_standard_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fails(_: str) -> Answer:
        raise KeyError

    with (
        serving("--metrics", LOOPBACK, {"/a": fails}) as port,
        pytest.raises(OSError, match="closed"),
    ):
        get(port, "/a")
    assert capfd.readouterr().err == ""


def test_only_so_many_readers_are_let_in_at_once(eventually: Callable[..., None]) -> None:
    def served() -> bool:
        try:
            return get(port, "/a") == (200, "fine")
        except OSError:
            return False

    with serving("--metrics", LOOPBACK, {"/a": lambda _: Answer(b"fine")}) as port:
        with contextlib.ExitStack() as readers:
            for _ in range(MOST_READERS):
                readers.enter_context(socket.create_connection(("127.0.0.1", port)))
            assert not served()
        eventually(served)


def test_a_machine_without_threads_serves_again_when_it_has_some(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with serving("--metrics", LOOPBACK, {"/a": lambda _: Answer(b"fine")}) as port:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            for _ in range(MOST_READERS + 1):
                with pytest.raises(OSError, match=r"closed|reset"):
                    get(port, "/a")
        assert get(port, "/a") == (200, "fine")
    assert capfd.readouterr().err == ""


def test_a_token_is_asked_for() -> None:
    pages = {"/a": lambda _: Answer(b"fine"), "/open": lambda _: Answer(b"door")}
    with serving("--metrics", LOOPBACK, pages, "t0ken", ["/open"]) as port:
        assert get(port, "/a", "t0ken") == (200, "fine")
        assert get(port, "/open") == (200, "door")
        for wrong in (None, "", "t0ke", "t0kenn", "ü"):
            assert get(port, "/a", wrong and wrong.encode().decode("latin-1"))[0] == 401
        assert get(port, "/none")[0] == 401


def test_beyond_this_machine_a_token_is_needed() -> None:
    assert parse_listen("--a", "9100", None) == ("127.0.0.1", 9100)
    assert parse_listen("--a", "[::1]:9100", None) == ("::1", 9100)
    assert parse_listen("--a", "0.0.0.0:9100", "t") == ("0.0.0.0", 9100)
    for text, token in [("0.0.0.0:9100", None), ("10.0.0.1:9100", ""), ("x", "t"), ("99999", "t")]:
        with pytest.raises(UsageError, match="--metrics"):
            parse_listen("--metrics", text, token)


def test_ages_are_counted_in_buckets() -> None:
    ages = Ages()
    for seconds in (0.01, 0.02, 0.3, 99.0):
        ages.add(seconds, 1.0)
    buckets = dict(ages.buckets)
    assert (buckets[0.02], buckets[0.2], buckets[0.5], buckets[math.inf]) == (2, 2, 3, 4)
    assert ages.sum_seconds == pytest.approx(99.33)


def test_metrics_of_a_running_camera(
    camera: Any, run: Callable[..., Any], eventually: Callable[..., None]
) -> None:
    job = run(camera.url("camera.mp4"))
    eventually(lambda: job.status.frames_out > 20)
    families = text_string_to_metric_families(metrics_of(lambda: [job.status])().decode())
    samples = {
        (
            sample.name,
            next(filter(None, map(sample.labels.get, ("state", "cause", "stage", "le"))), None),
        ): sample.value
        for family in families
        for sample in family.samples
    }
    assert samples["sapnet_frames_out_total", None] > 20
    assert ("sapnet_drops_total", "too_old") in samples
    assert samples["sapnet_state", "running"] == 1 and samples["sapnet_state", "stalled"] == 0
    assert samples["sapnet_age_seconds_bucket", "+Inf"] == samples["sapnet_age_seconds_count", None]
    assert samples["sapnet_camera_rate", None] > 1
    assert samples["sapnet_stage_wait_seconds_total", "decode"] > 0.1
    assert samples["process_resident_memory_bytes", None] > 1e6
    assert job.status.ready
