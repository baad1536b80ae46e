"""Where a live stream comes from or goes to, its password held apart from what may be shown."""

import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote

from sapnet_stream.errors import UsageError

Direction = Literal["input", "output"]

# What each scheme may open below itself. FFmpeg's own list is far longer: an address, or a
# server's answer, could name local files and other machines.
INPUT_PROTOCOLS = {
    "rtsp": "rtsp,rtp,tcp,udp",
    "rtsps": "rtsps,rtsp,rtp,tls,tcp,udp",
    "rtp": "rtp,udp",
    "udp": "udp",
    "srt": "srt",
    "rtmp": "rtmp,tcp",
    "rtmps": "rtmps,tls,tcp",
    "http": "http,tcp",
    "https": "https,tls,tcp",
    "sdp": "file,rtp,udp",
    "v4l2": "file",
    "file": "file",
    "pipe": "pipe",
}
# Schemes of addresses, as typed; the others are names of files or words.
TYPED = {
    "input": ("rtsp", "rtsps", "rtp", "udp", "srt", "rtmp", "rtmps", "http", "https"),
    "output": ("rtsp", "rtsps", "rtmp", "rtmps", "srt", "udp"),
}
# The last part of their paths is a key that lets anyone send.
KEYED = ("rtmp", "rtmps")
HIDDEN = "***"

# Some cameras take the password as a pair in the path.
_VALUE = re.compile(r"(?<==)[^&;/]+")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%a-z]+\]|[^\s:/?#@\[\]]*)(?::(\d{1,5}))?")


@dataclass(frozen=True)
class Address:
    """One end of a live stream.

    Attributes:
        scheme: a key of `INPUT_PROTOCOLS`, or for outputs also "hls" and "none".
        host: with its port, "" where there is none.
        path: what follows: a path with its query, or the name of a file.
        user, password: as they are, not quoted; "" for none.
    """

    scheme: str
    host: str = field(default="", repr=False)
    path: str = field(default="", repr=False)
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def url(self) -> str:
        """For FFmpeg alone: it holds the password."""
        if not self.host:
            # A device's name is no address. Pieces of a playlist called "file:" are called so too,
            # and are never deleted; what begins with a slash is taken for a file all the same.
            playlist = str(Path(self.path).absolute())
            special = {"pipe": "pipe:", "v4l2": self.path, "hls": playlist}
            return special.get(self.scheme, f"file:{self.path}")
        return f"{self.scheme}://{self._userinfo}{self.host}{self.path}"

    @property
    def bare_host(self) -> str:
        """To look up: no port, no brackets."""
        match = _HOST.fullmatch(self.host)
        return match[1].strip("[]") if match else self.host

    @property
    def shown(self) -> str:
        """For people, logs and metrics: no user, no password, no query, no stream key."""
        if not self.host:
            return {"pipe": "-", "none": "none"}.get(self.scheme, self.path)
        path, query = self._split
        place, _, key = path.rpartition("/")
        if key and self.scheme in KEYED:
            path = f"{place}/{HIDDEN}"
        path = _VALUE.sub(HIDDEN, path)
        return f"{self.scheme}://{self.host}{path}{query and '?' + HIDDEN}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown, beside the address as a whole."""
        path, query = self._split if self.host else ("", "")
        # A part of a query without "=" is a value.
        values = [part.partition("=")[2] or part for part in re.split("[&;?#]", query)]
        key = path.rpartition("/")[2] if self.scheme in KEYED else ""
        written = [key, *values, *_VALUE.findall(path)]
        secrets = [self.password, *written, *map(unquote, written)]
        return tuple(dict.fromkeys(each for each in secrets if each))

    @property
    def _split(self) -> tuple[str, str]:
        """Path and query, the path without a slash at its end."""
        end = min((self.path.index(mark) for mark in "?#" if mark in self.path), default=None)
        query = "" if end is None else self.path[end + 1 :]
        return self.path[:end].rstrip("/"), query

    @property
    def _userinfo(self) -> str:
        if not (self.user or self.password) or self.scheme == "srt":
            return ""
        password = f":{quote(self.password, safe='')}" if self.password else ""
        return f"{quote(self.user, safe='')}{password}@"

    def with_credentials(self, user: str | None, password: str | None) -> "Address":
        """The same place with another user or password, of any characters; None keeps its own.

        Raises:
            UsageError: this is no place that one logs in to.
        """
        if user is None and password is None:
            return self
        if not self.host:
            raise UsageError(f"{self.shown} takes no user and no password: leave them out")
        return replace(
            self,
            user=self.user if user is None else user,
            password=self.password if password is None else password,
        )


def parse_address(text: str, direction: Direction) -> Address:
    """The address that a person typed; the sentences of errors do not repeat it.

    Raises:
        UsageError: it is malformed, or its protocol is not allowed in this direction.
    """
    if text == "-":
        return Address("pipe")
    scheme, colon, rest = text.partition("://")
    if not colon:
        return _local(text, direction)
    scheme = scheme.lower()
    if scheme not in TYPED[direction]:
        named = f"{scheme}://" if re.fullmatch(r"[a-z][a-z0-9+.-]{0,15}", scheme) else "this"
        raise UsageError(
            f"{named} is no {direction} that is opened: use {', '.join(TYPED[direction])}, "
            "the name of a file, or -"
        )
    end = min((rest.index(mark) for mark in "/?#" if mark in rest), default=len(rest))
    userinfo, _, host = rest[:end].rpartition("@")
    match = _HOST.fullmatch(host)
    if not match or not (match[1] or scheme == "udp") or int(match[2] or 1) not in range(1, 65536):
        raise UsageError(
            f"the {direction} address is malformed: write {scheme}://host:port/path, and give user "
            "and password by --user and --password-env"
        )
    user, _, password = userinfo.partition(":")
    return Address(scheme, host, rest[end:], unquote(user), unquote(password))


def read_password(variable: str | None, file: str | None, option: str = "--password") -> str | None:
    """The password from an environment variable or a file, None without either.

    Args:
        variable: name of an environment variable.
        file: name of a file that holds nothing else; a line end behind it does not count.
        option: what was typed for it, without its "-env" or "-file".

    Raises:
        UsageError: both are given, or it is not there.
    """
    if variable is not None and file is not None:
        raise UsageError(f"give one of {option}-env and {option}-file")
    if variable is not None:
        if variable not in os.environ:
            raise UsageError(f"the environment variable {variable} of {option}-env is not set")
        return os.environ[variable]
    if file is None:
        return None
    try:
        return Path(file).read_text("utf-8").removesuffix("\n").removesuffix("\r")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"{option}-file {file} cannot be read: {reason}") from error


def _local(text: str, direction: Direction) -> Address:
    """Names without a scheme: files, devices, words."""
    ending = Path(text).suffix.lower()
    if direction == "output":
        if text == "none":
            return Address("none")
        return Address("hls" if ending == ".m3u8" else "file", path=text)
    if re.fullmatch(r"/dev/video\d+", text):
        return Address("v4l2", path=text)
    return Address("sdp" if ending == ".sdp" else "file", path=text)
