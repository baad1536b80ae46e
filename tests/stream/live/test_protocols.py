"""Protocols other than RTSP, each with the ffmpeg program at the other end."""

import contextlib
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import pytest

from sapnet_stream.errors import OutputError
from sapnet_stream.live.address import parse_address
from sapnet_stream.live.fault import Fault
from sapnet_stream.live.options import parser
from sapnet_stream.live.output import Output
from sapnet_stream.live.settings import camera_settings
from tests.stream.live.clip import write_clip
from tests.stream.live.loopback import Proxy, free_port

Eventually = Callable[..., None]
Ffmpeg = Callable[..., subprocess.Popen[bytes]]
Tls = Callable[[int], tuple[int, str]]


@pytest.fixture
def ffmpeg() -> Iterator[Ffmpeg]:
    """A function that starts the program."""
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("needs the ffmpeg program")
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        command = [program, "-nostdin", *arguments]
        started.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.wait()


@pytest.fixture
def clip(tmp_path: Path) -> str:
    """Ten seconds of MPEG-TS, whose pictures say their size themselves."""
    write_clip(tmp_path / "clip.ts")
    return str(tmp_path / "clip.ts")


class TlsProxy(Proxy):
    """Forwards what comes encrypted, in the clear."""

    def __init__(self, port: int, folder: Path) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        key, certificate = str(folder / "key.pem"), str(folder / "certificate.pem")
        made = ["-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-days", "2"]
        made += ["-addext", "subjectAltName=IP:127.0.0.1"]
        command = ["openssl", "req", "-x509", *made, "-keyout", key, "-out", certificate]
        subprocess.run(command, check=True, capture_output=True)
        self._context.load_cert_chain(certificate, key)
        super().__init__(port)

    def accept(self) -> socket.socket:
        """The next connection that speaks TLS."""
        while True:
            client = super().accept()
            with contextlib.suppress(ssl.SSLError):
                return self._context.wrap_socket(client, server_side=True)


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[Tls]:
    """A function that gives a port that speaks TLS before one that does not, and whom to trust."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl program")
    proxies: list[TlsProxy] = []

    def before(port: int) -> tuple[int, str]:
        proxies.append(TlsProxy(port, tmp_path))
        return proxies[-1].port, str(tmp_path / "certificate.pem")

    yield before
    for proxy in proxies:
        proxy.close()


def built_in(protocol: str) -> bool:
    """Whether PyAV's FFmpeg has a protocol."""
    try:
        av.open(f"{protocol}://127.0.0.1:1", timeout=0.2).close()
    except av.error.ProtocolNotFoundError:
        return False
    except av.error.FFmpegError:
        return True
    return True


SENDERS = {
    "udp": ("mpegts", "udp://127.0.0.1:{port}?pkt_size=1316", "udp://127.0.0.1:{port}"),
    "rtp": ("rtp_mpegts", "rtp://127.0.0.1:{port}", "rtp://127.0.0.1:{port}"),
    "srt": ("mpegts", "srt://127.0.0.1:{port}?mode=listener", "srt://127.0.0.1:{port}"),
}


@pytest.mark.parametrize("protocol", SENDERS)
def test_packets_that_are_sent_to_us(
    protocol: str, clip: str, ffmpeg: Ffmpeg, read: Callable[..., Any], eventually: Eventually
) -> None:
    if not built_in(protocol):
        pytest.skip(f"this PyAV was built without {protocol}")
    form, target, source = SENDERS[protocol]
    port = free_port()
    ffmpeg("-re", "-i", clip, "-c", "copy", "-f", form, target.format(port=port))
    reader = read(source.format(port=port))
    eventually(lambda: len(reader.video) > 20 and len(reader.audio) > 20, reader.events)
    assert "connected: h264 64x48" in reader.events


def test_a_session_that_a_file_describes(
    clip: str,
    ffmpeg: Ffmpeg,
    read: Callable[..., Any],
    eventually: Eventually,
    tmp_path: Path,
) -> None:
    # RTP takes an even port, and the next one.
    port = free_port() // 2 * 2
    target = f"rtp://127.0.0.1:{port}"
    described = tmp_path / "session.sdp"
    wishes = ("-an", "-c", "copy", "-f", "rtp", "-sdp_file", str(described))
    ffmpeg("-re", "-i", clip, *wishes, target)
    eventually(lambda: described.exists() and "m=video" in described.read_text())
    reader = read(str(described))
    eventually(lambda: len(reader.video) > 20, reader.events)


def test_pictures_that_do_not_say_their_size_are_waited_for(
    ffmpeg: Ffmpeg, read: Callable[..., Any], eventually: Eventually, tmp_path: Path
) -> None:
    write_clip(tmp_path / "clip.mp4")
    port = free_port() // 2 * 2
    described = tmp_path / "session.sdp"
    described.write_text(
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"m=video {port} RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
    )
    source = ("-re", "-i", str(tmp_path / "clip.mp4"), "-an", "-c", "copy")
    ffmpeg(*source, "-f", "rtp", f"rtp://127.0.0.1:{port}")
    reader = read(str(described))
    eventually(lambda: reader.stats.attempts > 1, reader.events)
    assert Fault.EMPTY in reader.events[0] and reader.error is None


@pytest.mark.parametrize("encrypted", [False, True])
def test_rtmp_is_read(
    clip: str,
    ffmpeg: Ffmpeg,
    tls: Tls,
    read: Callable[..., Any],
    eventually: Eventually,
    encrypted: bool,
) -> None:
    port = free_port()
    server = f"rtmp://127.0.0.1:{port}/app/key"
    ffmpeg("-re", "-i", clip, "-c", "copy", "-f", "flv", "-listen", "1", server)
    if encrypted:
        port, trusted = tls(port)
        reader = read(f"rtmps://127.0.0.1:{port}/app/key", trusted=trusted)
    else:
        reader = read(server)
    eventually(lambda: len(reader.video) > 20 and len(reader.audio) > 20, reader.events)


@pytest.mark.parametrize("encrypted", [False, True])
def test_rtmp_is_sent(
    camera: Any,
    ffmpeg: Ffmpeg,
    tls: Tls,
    run: Callable[..., Any],
    eventually: Eventually,
    tmp_path: Path,
    encrypted: bool,
) -> None:
    port = free_port()
    server = f"rtmp://127.0.0.1:{port}/app/key"
    received = tmp_path / "received.mkv"
    ended = ffmpeg("-listen", "1", "-i", server, "-c", "copy", str(received))
    target = Output(parse_address(server, "output"))
    if encrypted:
        port, trusted = tls(port)
        address = parse_address(f"rtmps://127.0.0.1:{port}/app/key", "output")
        target = Output(address, trusted=trusted)
    job = run(camera.url("camera.mp4"), target)
    eventually(lambda: job.status.outputs[0].sent > 120, job.events)
    job.stop()
    ended.wait(20)
    with av.open(str(received)) as container:
        kinds = {stream.type for stream in container.streams}
        assert kinds == {"video", "audio"}
        assert sum(1 for _ in container.decode(video=0)) > 25


def test_rtsp_by_tls_from_whom_is_trusted(
    camera: Any, tls: Tls, read: Callable[..., Any], eventually: Eventually
) -> None:
    port, certificate = tls(camera.port)
    source = camera.url("camera.mp4", port).replace("rtsp://", "rtsps://")
    for trusted in (certificate, "none"):
        reader = read(source, trusted=trusted)
        eventually(lambda r=reader: len(r.video) > 20 and len(r.audio) > 20, reader.events)
    stranger = read(source)
    eventually(lambda: len(stranger.events) > 1)
    assert all(Fault.CERTIFICATE in event for event in stranger.events)


def test_a_protocol_that_is_not_built_in_is_said_at_once(
    camera: Any, read: Callable[..., Any], run: Callable[..., Any]
) -> None:
    if built_in("srt"):
        pytest.skip("this PyAV has them all")
    reader = read("srt://127.0.0.1:1")
    reader.thread.join(30)
    assert f"srt://127.0.0.1:1: {Fault.PROTOCOL}" in str(reader.error)
    job = run(camera.url("camera.mp4"), Output(parse_address("srt://127.0.0.1:1", "output")))
    job.thread.join(30)
    assert Fault.PROTOCOL in str(job.error)
    # Among several outputs, before another begins.
    options = parser().parse_args(["rtsp://cam/x", "none", "--also", "srt://relay:9"])
    with pytest.raises(OutputError, match=Fault.PROTOCOL):
        camera_settings(options)
