"""How long to wait before the next attempt."""

import random

FIRST_SECONDS = 0.5
# A connection that held this long was a good one.
STEADY_SECONDS = 10.0


class Backoff:
    """Twice as long after each failure in a row, up to a cap, less up to half by chance.

    Many clients of one server that came back do not knock all at once.

    Args:
        cap_seconds: the longest wait.
        chance: a number of 0 to 1, anew at each call.

    Attributes:
        failures: in a row.
    """

    def __init__(self, cap_seconds: float, chance: random.Random | None = None) -> None:
        self._cap_seconds = cap_seconds
        self._chance = chance or random.Random()
        self._delay_seconds = FIRST_SECONDS
        self.failures = 0

    def failed(self, held_seconds: float) -> float:
        """How many seconds to wait, after a connection that held for `held_seconds`."""
        if held_seconds >= STEADY_SECONDS:
            self._delay_seconds = FIRST_SECONDS
        if held_seconds > 0:
            self.failures = 0
        self.failures += 1
        delay = min(self._delay_seconds, self._cap_seconds)
        self._delay_seconds = min(2 * delay, self._cap_seconds)
        return delay * (1 - self._chance.random() / 2)
