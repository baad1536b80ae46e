"""Work in a thread that ends with it, and takes the threads that computed for it along.

OpenMP gives each thread that ever computed with several cores a team of its own. While all teams
have no more threads than there are cores, a team spins between two operations; otherwise it sleeps
and is woken for each of some hundred operations of a frame, a fifth of the time of a 640x360
video. So only the thread that derains should have one.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def in_short_thread(work: Callable[[], T]) -> T:
    """What `work` returns or raises."""
    with ThreadPoolExecutor(1, "sapnet-short") as thread:
        return thread.submit(work).result()
