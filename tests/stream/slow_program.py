"""The command in a process of its own, whose network takes a while for each picture."""

_PROGRAM = """
import sys, time
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
