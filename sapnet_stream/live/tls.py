"""Whom to trust where a stream is encrypted; FFmpeg 8 trusts everybody unless told."""

import ssl

SCHEMES = ("rtsps", "rtmps", "https")
ANYBODY = "none"


def tls_options(scheme: str, trusted: str | None) -> dict[str, str]:
    """FFmpeg's options for an address, none where its scheme is not encrypted.

    Args:
        scheme: of the address.
        trusted: a file of certificates; None takes the system's, "none" checks nothing.
    """
    if scheme not in SCHEMES:
        return {}
    if trusted == ANYBODY:
        return {"tls_verify": "0"}
    file = trusted or ssl.get_default_verify_paths().cafile
    return {"tls_verify": "1", **({"ca_file": file} if file else {})}
