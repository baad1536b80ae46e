"""The page of `--preview` in a real browser: headless Chromium."""

import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch

from sapnet_stream.live.ladder import Way
from sapnet_stream.video.frame import Frame

Page = Callable[..., AbstractContextManager[str]]


def dark(frame: Frame) -> Frame:
    """Stands in for a network: what it derained is black."""
    luma, *chroma = frame.planes
    grey = (torch.full_like(plane, 128) for plane in chroma)
    return frame.with_planes((torch.zeros_like(luma), *grey))


def brightness(tab: Any, percent: int) -> int:
    """Of the middle of the picture, so many per cent from the left."""
    spot = f"canvas.width * {percent} / 100, canvas.height / 2, 1, 1"
    red, green, blue, _ = tab.look(f"Object.values(brush.getImageData({spot}).data)")
    return int(red + green + blue)


def divided_at(tab: Any, percent: int) -> bool:
    """Whether the line is there, what is left of it as it came, and what is right derained."""
    says = tab.look("Number(divider.getAttribute('aria-valuenow'))")
    left = [brightness(tab, each) for each in range(5, percent - 4, 10)]
    right = [brightness(tab, each) for each in range(percent + 5, 100, 10)]
    return bool(says == percent and min(left, default=99) > 60 and max(right, default=0) < 60)


def test_the_line_follows_mouse_finger_and_keys_and_the_picture_moves(
    tab: Any, camera: Any, run: Callable[..., Any], eventually: Callable[..., None], page: Page
) -> None:
    job = run(camera.url("camera.mp4"), ways=[Way("dark", lambda: dark)])
    with page(job) as url:
        tab.open(url, 1280, 800)
        eventually(lambda: tab.text("state") == "Live" and divided_at(tab, 50), "a picture")
        assert tab.text("note") == ""
        eventually(lambda: float(tab.text("in").replace("–", "0")) > 15, "frames/s")
        assert "decode" in tab.text("stages") and "waits" in tab.text("stages")
        shown = set()
        for _ in range(5):
            time.sleep(0.2)
            shown.add(tab.look("canvas.toDataURL()"))
        assert len(shown) > 2

        box = tab.look("JSON.parse(JSON.stringify(stage.getBoundingClientRect()))")
        at = {n: (box["x"] + box["width"] * n / 100, box["y"] + 20) for n in (20, 50, 80)}
        tab.mouse("mousePressed", *at[50])
        tab.mouse("mouseMoved", *at[80])
        tab.mouse("mouseReleased", *at[80])
        tab.mouse("mouseMoved", *at[20])
        assert divided_at(tab, 80)
        tab.look("divider.focus()")
        for key, percent in {"ArrowLeft": 78, "PageDown": 68, "Home": 0, "End": 100}.items():
            tab.press(key)
            assert divided_at(tab, percent), key

        tab.open(url, 360, 740, phone=True)
        eventually(lambda: tab.text("state") == "Live" and divided_at(tab, 50), "on a phone")
        assert tab.look("document.documentElement.scrollWidth") == 360
        tab.touch("touchStart", (180, 150))
        tab.touch("touchMove", (250, 150))
        tab.touch("touchMove", (288, 150))
        tab.touch("touchEnd")
        assert divided_at(tab, 80)
    assert not tab.complaints


def test_it_survives_outages_of_the_camera_and_of_the_program(
    tab: Any, camera: Any, run: Callable[..., Any], eventually: Callable[..., None], page: Page
) -> None:
    job = run(camera.url("camera.mp4"), ways=[Way("dark", lambda: dark)])
    with page(job) as url:
        tab.open(url, 800, 600)
        eventually(lambda: tab.text("state") == "Live" and tab.text("note") == "", "a picture")
        camera.stop()
        eventually(lambda: "The camera is not there" in tab.text("note"), "the outage")
        eventually(lambda: float(tab.look("getComputedStyle(canvas).opacity")) < 1, "it dims")
        camera.start()
        eventually(lambda: tab.text("state") == "Live" and tab.text("note") == "", "it is back")
    eventually(lambda: "does not answer" in tab.text("note"), "the program's end")
    again = run(camera.url("camera.mp4"), ways=[Way("dark", lambda: dark)])
    with page(again, port=int(url.split(":")[2].strip("/"))):
        eventually(lambda: tab.text("state") == "Live" and tab.text("note") == "", "it is back")
        shown = tab.look("canvas.toDataURL()")
        eventually(lambda: tab.look("canvas.toDataURL()") != shown, "another picture")
    tab.complaints.clear()


def test_the_token_is_typed_or_follows_the_address_and_is_not_left_there(
    tab: Any, camera: Any, run: Callable[..., Any], eventually: Callable[..., None], page: Page
) -> None:
    job = run(camera.url("camera.mp4"))
    with page(job, token="t0ken %") as url:
        tab.open(url, 360, 740, phone=True)
        eventually(lambda: "needs the token" in tab.text("note"))
        for typed, state in (("wrong", "Locked"), ("t0ken %", "Live")):
            tab.look(f"at('token').value = '{typed}'; at('door').requestSubmit()")
            eventually(lambda: not tab.look("locked") or "was not" in tab.text("note"), typed)
            eventually(lambda state=state: tab.text("state") == state, typed)
        tab.look("sessionStorage.clear()")
        tab.open("about:blank", 360, 740)
        tab.open(f"{url}#t0ken%20%25", 360, 740)
        eventually(lambda: tab.text("state") == "Live", "by the address")
        assert tab.look("location.href") == url
    tab.complaints.clear()


def test_of_several_cameras_each_has_its_page_and_links_lead_to_the_others(
    tab: Any, camera: Any, run: Callable[..., Any], eventually: Callable[..., None], page: Page
) -> None:
    yard = run(camera.url("camera.mp4"), ways=[Way("dark", lambda: dark)], name="yard")
    gate = run("rtsp://127.0.0.1:1/x", name="Tür.2")
    with page(yard, gate, token="t0ken") as url:
        tab.open(f"{url}#t0ken", 360, 740, phone=True)
        eventually(lambda: tab.text("state") == "Live" and divided_at(tab, 50), "a picture")
        assert tab.text("camera") == "yard" and "yard" in tab.text("cameras")
        links = "[...document.querySelectorAll('nav a')].map((a) => [a.textContent, a.ariaCurrent])"
        lost = "Tür.2: Camera lost"
        eventually(lambda: tab.look(links) == [["yard", "page"], [lost, None]], "the states")
        assert tab.look("document.documentElement.scrollWidth") == 360
        # By the keyboard, and it keeps its place while states are written.
        tab.look("at('cameras').lastChild.firstChild.focus()")
        time.sleep(1.5)
        tab.press("Enter")
        eventually(lambda: tab.look("location.search") == "?camera=T%C3%BCr.2")
        eventually(lambda: tab.look("typeof at") == "function" and tab.text("camera") == "Tür.2")
        eventually(lambda: "The camera is not there" in tab.text("note"), "the other's state")
        eventually(lambda: tab.look(links) == [["yard", None], [lost, "page"]], "the states")
        tab.open(f"{url}?camera=yard", 800, 600)
        eventually(lambda: tab.text("state") == "Live" and divided_at(tab, 50), "a picture")
    tab.complaints.clear()


def test_from_the_camera_to_the_page_takes_less_than_a_second(
    tab: Any, clock: Any, run: Callable[..., Any], eventually: Callable[..., None], page: Page
) -> None:
    job = run(clock.url)
    read = f"""[...Array({clock.BITS}).keys()].map((bit) =>
        brush.getImageData((bit + .5) * {clock.SIZE[0] / clock.BITS}, 32, 1, 1).data[0] > 127)"""
    ages = []
    with page(job) as url:
        tab.open(url, 800, 600)
        eventually(lambda: tab.text("state") == "Live" and tab.text("note") == "", "a picture")
        for _ in range(40):
            time.sleep(0.05)
            shown = sum(bit << place for place, bit in enumerate(reversed(tab.look(read))))
            ages.append((clock.now() - shown) % 2**clock.BITS)
    print(f"from camera to page: median {statistics.median(ages)} ms, most {max(ages)} ms")
    assert statistics.median(ages) < 1000
