"""GStreamer's RTSP server as a process, for tests."""

import subprocess
from pathlib import Path

from sapnet_stream.live.address import Address, parse_address
from tests.stream.live.loopback import free_port

PYTHON = Path("/usr/bin/python3")
NEEDS = (
    "import gi; gi.require_version('GstRtspServer', '1.0');"
    "from gi.repository import Gst, GstRtspServer; Gst.init(None);"
    "assert all(map(Gst.ElementFactory.find, ('jpegenc', 'rtpjpegpay', 'rtph264depay')))"
)
USER, PASSWORD = "jo e", "p@ss:w/ö rd%41#?"


def available() -> bool:
    """Whether it is installed: Debian's gir1.2-gst-rtsp-server-1.0, python3-gi and plugins."""
    command = [str(PYTHON), "-c", NEEDS]
    return PYTHON.exists() and not subprocess.run(command, capture_output=True).returncode


class Server:
    """A camera that wants a password, and a place to push to.

    Args:
        file: where what is pushed goes.
    """

    def __init__(self, file: Path) -> None:
        self.port = free_port()
        self.file = file
        self.start()

    def start(self) -> None:
        """Serve, on the same port as before."""
        script = Path(__file__).with_name("gstreamer_server.py")
        command = [str(PYTHON), str(script), str(self.port), USER, PASSWORD, str(self.file)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def stop(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()

    @property
    def camera(self) -> Address:
        """With its password."""
        return self.address("mjpeg").with_credentials(USER, PASSWORD)

    def address(self, name: str) -> Address:
        """Without one."""
        return parse_address(f"rtsp://127.0.0.1:{self.port}/{name}", "input")
