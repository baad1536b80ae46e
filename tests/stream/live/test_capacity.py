"""The short form of the table; the long one is `python -m tests.stream.live.capacity`."""

from dataclasses import replace

from tests.stream.live.capacity import Row, measure


def test_two_small_cameras_are_measured() -> None:
    row = measure(2, (64, 48), 5, 1.5)
    assert (row.cameras, row.width, row.height, row.rate, row.reconnects) == (2, 64, 48, 5, 0)
    # Two of five frames/s each.
    assert 5 < row.in_rate < 15 and 0 < row.out_rate < 15
    assert 0 < row.mean_age_seconds < 5 and row.bound_seconds >= 0.5


def test_what_is_not_sustained_is_found() -> None:
    kept = Row(2, 64, 48, 5, 30.0, 10.0, 10.0, 1.0, 0.0, 0.1, 0.5, 0)
    assert kept.sustained
    assert not replace(kept, least_share=0.9).sustained
    assert not replace(kept, late_share=0.02).sustained
    assert not replace(kept, reconnects=1).sustained
