"""What can be wrong with the other end, in words; none of them come from a library."""

import errno
import socket
import traceback
from enum import StrEnum
from pathlib import Path

import av

HTTP_DENIED = (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)


class Fault(StrEnum):
    """Why a connection did not come about, or ended."""

    PASSWORD = "the user or the password is wrong"
    HOST = "there is no host of that name"
    LOOKUP = "the name of the host cannot be looked up now"
    MISSING = "there is no stream of that name"
    VIDEO = "there is no video in it that can be decoded"
    REFUSED = "nothing listens there"
    SILENT = "it does not answer"
    UNREADABLE = "what it sends is not understood"
    EMPTY = "no whole picture came in time"
    FROZEN = "no more pictures come"
    LOST = "the connection was lost"
    ENDED = "the stream has ended"
    DIED = "the process that reads or writes it died"
    FULL = "the disk is full, or the file cannot be written"
    GONE = "its file was removed or renamed"
    CERTIFICATE = "its certificate is not trusted (see --tls-ca), or the connection was lost"
    PROTOCOL = "the FFmpeg inside this PyAV was built without its protocol"


# At the first connection these are a person's mistakes, and waiting mends none of them.
HOPELESS = (Fault.PASSWORD, Fault.HOST, Fault.MISSING, Fault.VIDEO, Fault.PROTOCOL)


def mistake(error: Exception) -> str:
    """An exception that nothing was prepared for: not its text, which may hold an address."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"


def fault_of(error: Exception, options: dict[str, str]) -> Fault:
    """The fault behind an exception of PyAV or of a look-up, whose text may hold a password.

    Args:
        error: what was raised.
        options: that the connection was opened with.
    """
    if options.get("tls_verify") == "1" and getattr(error, "errno", None) == errno.EIO:
        # FFmpeg says no more of it.
        return Fault.CERTIFICATE
    if isinstance(error, socket.gaierror):
        return Fault.LOOKUP if error.errno == socket.EAI_AGAIN else Fault.HOST
    kinds: tuple[tuple[type[Exception] | tuple[type[Exception], ...], Fault], ...] = (
        (HTTP_DENIED, Fault.PASSWORD),
        (av.error.HTTPNotFoundError, Fault.MISSING),
        (av.error.FileNotFoundError, Fault.MISSING),
        (av.error.ConnectionRefusedError, Fault.REFUSED),
        (av.error.ProtocolNotFoundError, Fault.PROTOCOL),
        # A read that is interrupted at its time limit.
        ((av.error.ExitError, av.error.TimeoutError), Fault.SILENT),
        (av.error.InvalidDataError, Fault.UNREADABLE),
    )
    return next((fault for kind, fault in kinds if isinstance(error, kind)), Fault.LOST)
