"""One device for several cameras: one frame at a time, in turns."""

import threading

from sapnet_stream.flow import Cancelled


class Turns:
    """Round robin among those that wait: next is whose last turn was longest ago.

    Who does not ask is passed over, so a camera that sends little gets all that it asks for, and
    one that sends much gets what the others leave. A turn is a whole frame; on a GPU, with its
    copies there and back.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        # Whose last turn was longest ago comes first.
        self._round: list[Turn] = []
        self._busy = False

    def join(self) -> "Turn":
        """A place for one more camera."""
        turn = Turn(self)
        with self._condition:
            self._round.append(turn)
        return turn

    def leave(self, turn: "Turn") -> None:
        """Take no more turns; whoever waits at that place gets `Cancelled`. May be repeated."""
        with self._condition:
            if turn in self._round:
                self._round.remove(turn)
            self._condition.notify_all()

    def take(self, turn: "Turn") -> None:
        """Wait for the device.

        Raises:
            Cancelled: this place was left.
        """
        with self._condition:
            turn.waiting = True
            try:
                self._condition.wait_for(lambda: turn not in self._round or self._next(turn))
            finally:
                turn.waiting = False
            if turn not in self._round:
                raise Cancelled
            self._busy = True
            self._round.remove(turn)
            self._round.append(turn)

    def give_back(self) -> None:
        """Let the next one have the device."""
        with self._condition:
            self._busy = False
            self._condition.notify_all()

    def _next(self, turn: "Turn") -> bool:
        return not self._busy and next(t for t in self._round if t.waiting) is turn


class Turn:
    """One camera's place; within it as a context, the device is its own.

    Attributes:
        waiting: it asks for the device.
    """

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.waiting = False

    def leave(self) -> None:
        """See `Turns.leave`."""
        self._turns.leave(self)

    def __enter__(self) -> None:
        self._turns.take(self)

    def __exit__(self, *_: object) -> None:
        self._turns.give_back()
