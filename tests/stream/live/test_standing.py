"""A camera whose times stand still, from end to end."""

import socket
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from tests.stream.live.loopback import free_port
from tests.stream.live.reader import Reader

Eventually = Callable[..., None]


def without_times(ts: bytes) -> list[bytes]:
    """The MPEG-TS packets of pictures, one list entry each, every one with the same time."""
    pictures: list[bytes] = []
    for at in range(0, len(ts), 188):
        packet = bytearray(ts[at : at + 188])
        begin = packet.find(b"\0\0\1\xe0") if packet[1] & 0x40 else -1
        if begin > 0:
            # The header of a picture; its times are nine bytes on.
            length = packet[begin + 8]
            packet[begin + 9 : begin + 9 + length] = (b"\x31\0\1\0\1\x11\0\1\0\1")[:length]
            pictures.append(b"")
        if pictures:
            pictures[-1] += bytes(packet)
    return pictures


def test_a_camera_whose_times_stand_still_is_told_and_timed_by_its_arrivals(
    make_clip: Callable[..., Path], read: Callable[..., Reader], eventually: Eventually
) -> None:
    options = {"bf": "0", "g": "10", "preset": "ultrafast"}
    clip = make_clip("in.ts", "libx264", ticks=range(100), noise=False, options=options)
    pictures = without_times(clip.read_bytes())
    over = threading.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        port = free_port()

        def send() -> None:
            number = 0
            while not over.wait(0.04):
                picture = pictures[number % len(pictures)]
                for at in range(0, len(picture), 1316):
                    sender.sendto(picture[at : at + 1316], ("127.0.0.1", port))
                number += 1

        thread = threading.Thread(target=send)
        thread.start()
        try:
            reader = read(f"udp://127.0.0.1:{port}")
            eventually(lambda: any("times stand still" in event for event in reader.events))
            count = len(reader.video)
            eventually(lambda: len(reader.video) > count + 25)
        finally:
            over.set()
            thread.join()
    assert reader.video[count + 25] - reader.video[count] > 0.9
    assert all(a < b for a, b in pairwise(reader.video))
