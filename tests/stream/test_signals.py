"""What the signals do that end a live job."""

import signal
from unittest import mock

from sapnet_stream.signals import MOST_STOPPING_SECONDS, STOPS, stopping


def test_a_signal_ends_a_job_once_and_ctrl_c_again_the_program() -> None:
    before = [signal.getsignal(each) for each in STOPS]
    cancel = mock.Mock()
    with stopping(cancel):
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGHUP):
            signal.raise_signal(number)
            assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= MOST_STOPPING_SECONDS
            assert signal.SIG_DFL not in map(signal.getsignal, STOPS)
        signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL
    assert cancel.call_count == 1 and signal.getitimer(signal.ITIMER_REAL)[0] == 0
    assert [signal.getsignal(each) for each in STOPS] == before
