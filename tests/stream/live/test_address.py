"""Addresses: what is allowed in which direction, and no password where one could see it."""

from pathlib import Path

import pytest

from sapnet_stream.errors import UsageError
from sapnet_stream.live.address import parse_address, read_password


@pytest.mark.parametrize(
    ("text", "scheme", "host", "path"),
    [
        ("rtsp://camera/stream", "rtsp", "camera", "/stream"),
        ("RTSP://10.0.0.7:8554/a/b?channel=1", "rtsp", "10.0.0.7:8554", "/a/b?channel=1"),
        ("rtsps://[fe80::1]:322/x", "rtsps", "[fe80::1]:322", "/x"),
        ("udp://:5000", "udp", ":5000", ""),
        ("srt://relay:9000?mode=caller", "srt", "relay:9000", "?mode=caller"),
        ("-", "pipe", "", ""),
        ("/dev/video0", "v4l2", "", "/dev/video0"),
        ("camera.sdp", "sdp", "", "camera.sdp"),
        ("rainy.mkv", "file", "", "rainy.mkv"),
    ],
)
def test_inputs_are_understood(text: str, scheme: str, host: str, path: str) -> None:
    address = parse_address(text, "input")
    assert (address.scheme, address.host, address.path) == (scheme, host, path)


@pytest.mark.parametrize(
    ("text", "scheme"),
    [
        ("rtmp://live/app/key", "rtmp"),
        ("out.mkv", "file"),
        ("site/live.m3u8", "hls"),
        ("-", "pipe"),
        ("none", "none"),
    ],
)
def test_outputs_are_understood(text: str, scheme: str) -> None:
    assert parse_address(text, "output").scheme == scheme


@pytest.mark.parametrize("direction", ["input", "output"])
@pytest.mark.parametrize(
    "text",
    [
        "concat://a.mp4|b.mp4",
        "ftp://host/x",
        "subfile,,start,0,end,9,,://x",
        "rtsp://",
        "rtsp://host:99999/x",
        "rtsp://host name/x",
        "rtsp://user:se/cret@host/x",
        "rtsp://user:secret#@host/x",
        "rtsp://user:secret@/x",
        "secret-scheme-as-a-password://host",
    ],
)
def test_anything_else_is_one_sentence_without_what_was_typed(text: str, direction: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_address(text, direction)  # type: ignore[arg-type]
    said = str(caught.value)
    assert "secret" not in said and "cret" not in said and "\n" not in said
    assert ": use " in said or ": write " in said


@pytest.mark.parametrize("text", ["http://host/x.m3u8", "rtp://host:5004"])
def test_some_are_inputs_only(text: str) -> None:
    assert parse_address(text, "input").host
    with pytest.raises(UsageError, match="no output"):
        parse_address(text, "output")


def test_what_is_shown_has_no_user_password_query_or_key() -> None:
    shown = parse_address("rtsp://joe:pa@ss@cam:554/s?token=abc", "input").shown
    assert shown == "rtsp://cam:554/s?***"
    assert parse_address("rtmp://live/app/key", "output").shown == "rtmp://live/app/***"
    assert "pa@ss" not in repr(parse_address("rtsp://joe:pa@ss@cam/", "input"))


@pytest.mark.parametrize(
    ("text", "shown", "secret"),
    [
        ("rtmp://h/app/hidden-1/", "rtmp://h/app/***", "hidden-1"),
        ("rtmp://h/hidden-1", "rtmp://h/***", "hidden-1"),
        ("rtmp://h/a/hidden%201?x=1", "rtmp://h/a/***?***", "hidden 1"),
        ("rtmp://h", "rtmp://h", ""),
        (
            "rtsp://h/user=admin&password=hidden-1&channel=1",
            "rtsp://h/user=***&password=***&channel=***",
            "hidden-1",
        ),
        ("rtsp://h/x?hidden-1", "rtsp://h/x?***", "hidden-1"),
        ("rtsp://h/x?a=b&hidden-1", "rtsp://h/x?***", "hidden-1"),
        ("rtsp://h/x#hidden-1", "rtsp://h/x?***", "hidden-1"),
    ],
)
def test_keys_are_found_wherever_servers_take_them(text: str, shown: str, secret: str) -> None:
    address = parse_address(text, "output")
    assert address.shown == shown and (not secret or secret in address.secrets)


def test_credentials_are_quoted_and_an_at_sign_in_a_url_is_no_end() -> None:
    address = parse_address("rtsp://joe:pa@ss@cam/s", "input")
    assert (address.user, address.password) == ("joe", "pa@ss")
    assert address.url == "rtsp://joe:pa%40ss@cam/s"
    other = address.with_credentials(None, "ü/?#:%&\n")
    assert other.url == "rtsp://joe:%C3%BC%2F%3F%23%3A%25%26%0A@cam/s"
    with pytest.raises(UsageError, match="takes no user"):
        parse_address("rainy.mkv", "input").with_credentials("joe", None)


def test_files_are_never_taken_for_addresses() -> None:
    assert parse_address("concat:a|b", "input").url == "file:concat:a|b"
    # FFmpeg calls the pieces of a playlist after all that is behind the last slash.
    assert parse_address("concat:a.m3u8", "output").url == str(Path("concat:a.m3u8").absolute())
    assert parse_address("/dev/video0", "input").url == "/dev/video0"


def test_the_host_to_look_up_has_no_port() -> None:
    hosts = {
        "rtsp://cam:554/s": "cam",
        "rtsp://cam/s": "cam",
        "rtsp://[::1]:8554/s": "::1",
        "rtsp://[::1]/s": "::1",
    }
    for text, host in hosts.items():
        assert parse_address(text, "input").bare_host == host


def test_passwords_come_from_the_environment_or_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMERA", " with spaces \n")
    assert read_password("CAMERA", None) == " with spaces \n"
    file = tmp_path / "password"
    file.write_text(" p:@/ü \r\n")
    assert read_password(None, str(file)) == " p:@/ü "
    assert read_password(None, None) is None
    for wrong in [("NOT_SET", None), (None, str(tmp_path)), ("CAMERA", str(file))]:
        with pytest.raises(UsageError, match="--token-"):
            read_password(*wrong, "--token")
