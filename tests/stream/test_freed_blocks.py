"""What is freed stays with the process, and is given back when asked."""

import platform
import resource
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="tunes the GNU C library's malloc"
)

SCRIPT = """
import ctypes, resource, threading
from sapnet_stream.freed_blocks import give_back_freed_blocks, keep_freed_blocks
SIZE = 200 * 2**20
def pages(): return int(open("/proc/self/statm").read().split()[1])
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def use():
    block = malloc(SIZE)
    ctypes.memset(block, 1, SIZE)
    free(block)
def work():
    use()
    before = faults()
    use()
    print(faults() - before)
libc = ctypes.CDLL(None)
malloc, free = libc.malloc, libc.free
malloc.argtypes, malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
free.argtypes = [ctypes.c_void_p]
keep_freed_blocks()
thread = threading.Thread(target=work)
thread.start()
thread.join()
held = pages()
give_back_freed_blocks()
print(held - pages())
"""


def test_a_thread_s_next_block_costs_no_page_faults_and_can_be_given_back() -> None:
    block = 200 * 2**20 // resource.getpagesize()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    faults, given = map(int, done.stdout.split())
    assert faults < block / 100 and given > block / 2
