"""The command in a process of its own, whose network takes a while for each picture."""

_PROGRAM = """
import signal, sys, time
# A shell may have started the tests in the background, deaf to Ctrl-C.
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
from sapnet_stream import cli
class Slow:
    name = "slow"
    def __call__(self, image):
        WAIT
        return image
    def check_memory(self, height, width): pass
engine = cli.DerainEngine
cli.DerainEngine = lambda *_, **__: engine(executor=Slow())
sys.exit(cli.main(sys.argv[1:]))
"""


def slow_program(wait: str) -> str:
    """A program for `python -c`; `wait` is the statement that takes the while."""
    return _PROGRAM.replace("WAIT", wait)
