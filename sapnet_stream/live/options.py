"""The options of the camera job."""

import argparse
import re

from sapnet_stream.live.program import CODECS
from sapnet_stream.parser import Parser, add_encoder_options, add_engine_options, number

SLOW = ("drop", "fewer-stages", "smaller")
CHANGED = ("new-part", "rescale")


def is_live(arguments: list[str]) -> bool:
    """Whether a command line is for the camera job: by an address, a pipe or a device.

    What follows "--" is names of files.
    """
    if "--" in arguments:
        arguments = arguments[: arguments.index("--")]
    return any(
        "://" in each or each in ("-", "--realtime") or re.fullmatch(r"/dev/video\d+", each)
        for each in arguments
    )


def parser() -> argparse.ArgumentParser:
    """The parser; the defaults are those of the help."""
    made = Parser(
        # Errors point at the help by it.
        prog="sapnet-stream rtsp://",
        usage="sapnet-stream [options] rtsp://camera/stream OUTPUT",
        description="Remove rain from a live stream, unattended. OUTPUT is a file (.mkv .mp4 "
        ".mov .ts), a playlist (.m3u8), rtsp:// rtmp:// srt:// udp://, - or none.",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=24, width=80),
        allow_abbrev=False,
    )
    add = made.add_argument
    add("input", metavar="INPUT", help=argparse.SUPPRESS)
    add("output", metavar="OUTPUT", help=argparse.SUPPRESS)
    add("--also", action="append", default=[], metavar="OUTPUT", help="another one, repeatable")
    add("--segment", type=number, metavar="SECONDS", help="a new file after so long, named by time")
    add("--keep", metavar="N|12h|7d|20GB", help="of such files; older ones are deleted")
    add("--user", metavar="NAME", help="of the camera")
    add("--password-env", metavar="VARIABLE", help="where its password is")
    add("--password-file", metavar="FILE", help="or there")
    add("--output-user", metavar="NAME", help="of OUTPUT")
    add("--output-password-env", metavar="VARIABLE", help="where its password is")
    add("--output-password-file", metavar="FILE", help="or there")
    add("--rtsp-transport", choices=["tcp", "udp"], default="tcp", help="(tcp)")
    tls = "certificates to trust; none trusts everybody (the system's)"
    add("--tls-ca", metavar="FILE|none", help=tls)
    add("--http", action="store_true", help="allow HLS by http:// and https:// as INPUT")
    add("--realtime", action="store_true", help="read a file or - at its own pace")
    add("--retries", type=int, metavar="N", help="attempts after a failure, in a row (no limit)")
    add("--retry-cap", type=number, default=30.0, metavar="SECONDS", help="longest wait (30)")
    add("--persist", action="store_true", help="go on where the first connection is refused")
    add("--max-latency", type=number, default=0.5, metavar="SECONDS", help="age of frames (0.5)")
    slow = "if the device is too slow (video: smaller, sapnet: fewer-stages)"
    add("--when-slow", choices=SLOW, help=slow)
    add("--when-changed", choices=CHANGED, default=CHANGED[0], help="if the size does (new-part)")
    add_engine_options(made)
    add("--hwaccel", metavar="NAME", help="decode on cuda, vaapi, videotoolbox ... (cpu)")
    add_encoder_options(made, CODECS, "of the output (h264)", "23", "veryfast")
    add("--metrics", metavar="[HOST:]PORT", help="serve /metrics, /healthz and /readyz")
    add("--preview", metavar="[HOST:]PORT", help="serve a page: the picture before and after")
    add("--token-env", metavar="VARIABLE", help="where the token is that readers must send")
    add("--token-file", metavar="FILE", help="or there (none on loopback)")
    add("--log", choices=["text", "json"], default="text", help="on standard error (text)")
    add("--quiet", action="store_true", help="say nothing but errors")
    return made
