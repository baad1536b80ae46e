"""What the signals do that end a live job."""

import subprocess
import sys

# In a process of its own, for what a signal does by default is to end it.
SCRIPT = """
import signal
from sapnet_stream.signals import MOST_STOPPING_SECONDS, STOPS, stopping

before = [signal.getsignal(each) for each in STOPS]
cancelled = []
with stopping(lambda: cancelled.append(True)):
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGHUP):
        signal.raise_signal(number)
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= MOST_STOPPING_SECONDS
        assert signal.SIG_DFL not in map(signal.getsignal, STOPS)
    signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) in (signal.SIG_DFL, signal.SIG_IGN)
assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
assert [signal.getsignal(each) for each in STOPS] == before
print(len(cancelled))
"""


def test_a_signal_ends_a_job_once_and_ctrl_c_again_the_program() -> None:
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("1\n", "", 0)
