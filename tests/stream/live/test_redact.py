"""No password in a text, whatever the password."""

import traceback

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sapnet_stream.errors import SapnetError
from sapnet_stream.live.address import Address, parse_address
from sapnet_stream.live.fault import Fault
from sapnet_stream.live.redact import Redactor

PASSWORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
LOG = "opening {} failed (Errno 5): {}"


def camera(password: str) -> Address:
    return Address("rtsp", "cam:554", "/stream", "joe", password)


@given(PASSWORDS)
def test_what_is_left_does_not_depend_on_the_password(password: str) -> None:
    address = camera(password)
    clean = Redactor([address]).clean(LOG.format(address.url, repr(address.url)))
    assert clean == LOG.format(address.shown, repr(address.shown))


@given(PASSWORDS.filter(lambda password: len(password) >= 4))
def test_a_password_by_itself_is_taken_out_however_it_is_written(password: str) -> None:
    redactor = Redactor([camera(password)])
    for text in (password, repr(password), ascii(password), str(SapnetError(password))):
        rest = redactor.clean(f"<{text}>")
        assert rest.strip("<>'\"") == "***"


@given(PASSWORDS)
def test_of_an_address_that_is_not_understood_the_scheme_is_left(password: str) -> None:
    typed = f"rtsp://joe:{password}@cam/stream"
    redactor = Redactor(typed=[typed, f"--also={typed}"])
    assert redactor.clean(f"error: {typed}!") == "error: rtsp://***!"
    assert redactor.clean(f"error: {typed!r}!") in ("error: 'rtsp://***'!", 'error: "rtsp://***"!')


def test_an_address_that_is_understood_is_shown_as_far_as_it_may_be() -> None:
    typed = ["rtsp://cam/x", "rtmp://h/live/key-123"]
    ends = [
        parse_address(typed[0], "input").with_credentials("joe", "pass-word"),
        parse_address(typed[1], "output"),
    ]
    redactor = Redactor(ends, typed)
    for text in (ends[0].url, ends[0].shown, typed[0]):
        assert redactor.clean(f"lost {text}") == "lost rtsp://cam/x"
    assert redactor.clean(f"lost {typed[1]}") == "lost rtmp://h/live/***"


@settings(max_examples=25, deadline=None)
@given(PASSWORDS)
def test_the_text_of_an_exception_of_pyav_is_cleaned(password: str) -> None:
    # Port 1 refuses at once.
    address = Address("rtsp", "127.0.0.1:1", "/stream", "joe", password)
    with pytest.raises(av.error.FFmpegError) as caught:
        av.open(address.url)
    told = "".join(traceback.format_exception_only(caught.value))
    assert address.url in told
    assert Redactor([address]).clean(told) == told.replace(address.url, address.shown)


@pytest.mark.parametrize("password", ["wrong", "password", "host", "stream", "the process"])
def test_a_password_is_not_told_by_what_is_missing_in_our_sentences(password: str) -> None:
    address = camera(password)
    for fault in Fault:
        said = Redactor([address]).clean(f"{address.url}: {fault}: {password}")
        assert said == f"{address.shown}: {fault}: ***"


def test_addresses_of_others_lose_their_users() -> None:
    text = "moved to rtsp://joe:pw@other/x"
    assert Redactor().clean(text) == "moved to rtsp://***@other/x"


def test_stream_keys_and_queries_are_secret() -> None:
    push = parse_address("rtmp://live/app/key-123?token=tok-456", "output")
    redactor = Redactor([push])
    assert redactor.clean("sent key-123 and tok-456") == "sent *** and ***"
    assert redactor.clean(push.url) == "rtmp://live/app/***?***"


@given(PASSWORDS.filter(lambda password: len(password) >= 4))
def test_what_is_learnt_later_is_hidden_and_what_was_known_stays_so(password: str) -> None:
    first, later = camera("first-word"), Address("rtsp", "other", "/s", "ann", password)
    redactor = Redactor([first])
    redactor.hide([later], [later.url])
    text = f"{first.url} {first.password} {later.url} {password}"
    assert redactor.clean(text) == f"{first.shown} *** {later.shown} ***"
