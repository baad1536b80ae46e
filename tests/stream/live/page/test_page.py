"""What the page of `--preview` asks for: pictures before and after, and how it is going."""

import io
import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sapnet_stream.live.address import parse_address
from sapnet_stream.live.decode import LiveFrame
from sapnet_stream.live.ladder import Way
from sapnet_stream.live.output import Output
from sapnet_stream.live.page import FILES
from sapnet_stream.live.preview import MOST_HEIGHT, MOST_WIDTH, Pair, Preview
from sapnet_stream.video.decode import VideoDecoder
from sapnet_stream.video.frame import Frame

Page = Callable[..., AbstractContextManager[str]]
DARKER = 30


def darker(frame: Frame) -> Frame:
    """Stands in for a network."""
    luma, *chroma = frame.planes
    return frame.with_planes(((luma.int() - DARKER).clamp(0, 255).byte(), *chroma))


def get(url: str, token: str = "") -> tuple[bytes, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
        return answer.read(), answer.headers


def pictures(url: str, seen: int) -> tuple[int, list[Image.Image]]:
    """The number of the next pair, and both; 0 and none where nothing came."""
    body, headers = get(f"{url}picture?seen={seen}")
    if not body:
        return 0, []
    cut = int(headers["Before-Bytes"])
    both = [Image.open(io.BytesIO(part)).convert("L") for part in (body[:cut], body[cut:])]
    return int(headers["Picture-Number"]), both


def test_both_pictures_are_of_one_moment_and_the_first_is_as_it_came(
    camera: Any,
    run: Callable[..., Any],
    eventually: Callable[..., None],
    page: Page,
    tmp_path: Path,
) -> None:
    # The encoder paints over what was decoded.
    output = Output(parse_address(str(tmp_path / "a.mkv"), "output"))
    job = run(camera.url("camera.mp4"), output, ways=[Way("darker", lambda: darker)])
    eventually(lambda: job.status.frames_out > 20)
    with page(job) as url:
        seen = 0
        for expected in range(1, 9):
            # Nothing was counted while nobody looked.
            seen, (before, after) = pictures(url, seen)
            assert seen == expected
            assert before.size == after.size == (64, 48)
            first, second = (np.asarray(each).astype(float) for each in (before, after))
            bright = first > 60
            # Of 219 codes of luma.
            fall = (first - second)[bright].mean()
            assert fall == pytest.approx(DARKER * 255 / 219, abs=4)
        camera.stop()
        eventually(lambda: pictures(url, pictures(url, 0)[0]) == (0, []), "no newer picture")


def test_what_is_kept_is_a_copy_of_what_the_encoder_paints_over(
    make_clip: Callable[..., Path], eventually: Callable[..., None]
) -> None:
    with VideoDecoder(make_clip()) as decoder:
        frame = next(iter(decoder)).detached()
    live = LiveFrame(frame.detached(), decoder.info, 0, 0.0)
    preview = Preview()
    with ThreadPoolExecutor() as pool:
        pair = pool.submit(preview.newer, 0)

        def taken() -> bool:
            preview.show(live, frame)
            return pair.done()

        eventually(taken)
    for plane in live.frame.planes:
        plane.zero_()
    found = pair.result()
    assert found is not None
    before, after = found.pictures
    assert before == after
    preview.show(live, frame)
    assert preview.newer(0) is None, "nothing is kept while nobody waits"


def test_who_takes_nothing_holds_nobody_up(
    camera: Any, run: Callable[..., Any], eventually: Callable[..., None], page: Page
) -> None:
    job = run(camera.url("camera.mp4"))
    eventually(lambda: job.status.frames_out > 5)
    with page(job) as url:
        port = int(url.rpartition(":")[2].strip("/"))
        with socket.create_connection(("127.0.0.1", port)) as deaf:
            deaf.sendall(b"GET /picture?seen=0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 500)
            before, began = job.status.frames_out, time.monotonic()
            seen = 0
            for _ in range(10):
                seen = pictures(url, seen)[0] or seen
            assert seen > 5
            eventually(lambda: job.status.frames_out > before + 25)
            # 25 frames/s come.
            assert time.monotonic() - began < 10
            assert job.status.state == "running"


def test_the_status_keeps_secrets_and_tells_waits(
    camera: Any, run: Callable[..., Any], eventually: Callable[..., None], page: Page
) -> None:
    job = run(camera.url("camera.mp4"))
    eventually(lambda: job.status.frames_out > 5)
    with page(job) as url:
        body, headers = get(f"{url}status")
        status = json.loads(body)
        assert headers["Content-Type"] == "application/json" and b"pass-word" not in body
        assert (status["state"], status["said"]) == ("running", "lost rtsp://cam/x")
        assert [wait["stage"] for wait in status["waits"]] == ["decode", "derain", "encode"]
        camera.stop()
        eventually(lambda: job.status.state != "running")
        before = [wait.seconds for wait in job.status.waits]
        time.sleep(0.5)
        # A wait that has not ended counts too.
        grown = [wait.seconds - was for wait, was in zip(job.status.waits, before, strict=True)]
        assert min(grown) > 0.3


def test_without_the_token_only_the_empty_page_is_given(
    run: Callable[..., Any], page: Page
) -> None:
    job = run("rtsp://127.0.0.1:1/x")
    with page(job, token="t0ken") as url:
        for path, (_, kind) in FILES.items():
            body, headers = get(url + path[1:])
            assert headers["Content-Type"].startswith(kind) and b"t0ken" not in body
            policy = headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy and "unsafe" not in policy
        for path in ("status", "picture?seen=0", "status?token=t0ken"):
            with pytest.raises(urllib.error.HTTPError, match="401"):
                get(url + path)
        assert b"state" in get(f"{url}status", "t0ken")[0]


def test_large_and_stretched_pictures_fit_the_page(make_clip: Callable[..., Path]) -> None:
    stretched = make_clip(
        "a.mp4", "libx264", size=(1600, 400), noise=False, sample_aspect_ratio=Fraction(3, 2)
    )
    turned = make_clip(
        "b.mov",
        "libx264",
        size=(1600, 400),
        noise=False,
        display_matrix=(0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30),
    )
    sizes = []
    for path in (stretched, turned):
        with VideoDecoder(path) as decoder:
            frame = next(iter(decoder))
        pair = Pair(1, (frame, frame), decoder.info)
        (first, second) = (Image.open(io.BytesIO(each)) for each in pair.pictures)
        assert first.size == second.size
        sizes.append(first.size)
    assert sizes == [(MOST_WIDTH * 3 // 2, MOST_WIDTH // 4), (MOST_HEIGHT // 4, MOST_HEIGHT)]
