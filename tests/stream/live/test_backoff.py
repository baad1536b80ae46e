"""Waits between attempts: growing, capped, jittered, and short again after a good connection."""

import random

from sapnet_stream.live.backoff import FIRST_SECONDS, STEADY_SECONDS, Backoff


def test_waits_double_up_to_the_cap() -> None:
    backoff = Backoff(4.0, random.Random(1))
    waits = [backoff.failed(0) for _ in range(8)]
    for wait, most in zip(waits, (0.5, 1, 2, 4, 4, 4, 4, 4), strict=True):
        assert most / 2 <= wait <= most
    assert len(set(waits[3:])) == 5
    assert backoff.failures == 8


def test_a_connection_that_held_begins_anew() -> None:
    backoff = Backoff(30.0)
    for _ in range(6):
        backoff.failed(0)
    assert backoff.failed(STEADY_SECONDS) <= FIRST_SECONDS
    assert backoff.failures == 1


def test_a_connection_that_fell_at_once_does_not_shorten_the_wait() -> None:
    backoff = Backoff(30.0)
    for _ in range(6):
        backoff.failed(0)
    assert backoff.failed(0.2) > FIRST_SECONDS
    assert backoff.failures == 1


def test_the_cap_holds_for_the_first_wait_too() -> None:
    assert Backoff(0.1).failed(0) <= 0.1
