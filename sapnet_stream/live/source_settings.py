"""Where a live stream comes from, and how patient to be with it."""

import math
from dataclasses import dataclass

from sapnet_stream.live.address import INPUT_PROTOCOLS, Address
from sapnet_stream.live.tls import tls_options
from sapnet_stream.video.container import READABLE
from sapnet_stream.video.hardware import HardwareDecoder

# HLS comes in pieces of several seconds.
PIECE_SECONDS = 30.0
FORMATS = {
    "udp": "mpegts",
    "srt": "mpegts",
    "rtmp": "flv",
    "rtmps": "flv",
    "http": "hls",
    "https": "hls",
    "sdp": "sdp",
    "v4l2": "v4l2",
}
# They end by themselves, and are not opened again.
FINITE = ("file", "pipe")


@dataclass(frozen=True)
class SourceSettings:
    """Where a stream comes from, and how patient to be with it.

    Attributes:
        address: of the stream.
        transport: of RTSP: "tcp" or "udp".
        trusted: certificates of its server, see `tls_options`.
        realtime: read a file at its own pace.
        retries: attempts after a failure, in a row, before giving up; None never does.
        persist: go on also where the first attempt finds a mistake that waiting does not mend.
        stall_seconds: without a packet, until the stream counts as stalled.
        silence_seconds: without a packet, until the connection is given up.
        cap_seconds: the longest wait between two attempts.
        hardware: decodes the pictures; None leaves that to the CPU.
    """

    address: Address
    transport: str = "tcp"
    trusted: str | None = None
    realtime: bool = False
    retries: int | None = None
    persist: bool = False
    stall_seconds: float = 1.5
    silence_seconds: float = 4.0
    cap_seconds: float = 30.0
    hardware: HardwareDecoder | None = None

    @property
    def patience_seconds(self) -> float:
        """`silence_seconds`, or more where silence is usual."""
        if self.address.scheme == "pipe":
            return math.inf
        http = self.address.scheme in ("http", "https")
        return max(self.silence_seconds, PIECE_SECONDS) if http else self.silence_seconds

    @property
    def format(self) -> str | None:
        """FFmpeg's name of the format, None where the stream itself says."""
        return FORMATS.get(self.address.scheme)

    @property
    def finite(self) -> bool:
        """Whether it ends by itself, and is not opened again."""
        return self.address.scheme in FINITE

    @property
    def options(self) -> dict[str, str]:
        """FFmpeg's, for this kind of address."""
        address = self.address
        options = {"protocol_whitelist": INPUT_PROTOCOLS[address.scheme]}
        options |= tls_options(address.scheme, self.trusted)
        if address.scheme in ("rtsp", "rtsps"):
            options |= {"rtsp_transport": self.transport, "allowed_media_types": "video+audio"}
        if address.scheme in ("file", "pipe"):
            options |= {"format_whitelist": READABLE}
        if address.scheme in ("http", "https"):
            options |= {"format_whitelist": "hls,mpegts,mov,aac"}
        if address.scheme == "srt" and address.password:
            options |= {"passphrase": address.password}
        return options
