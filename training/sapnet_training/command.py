"""How the commands of training end."""

import sys
from collections.abc import Callable
from functools import wraps

from sapnet_stream.errors import SapnetError
from sapnet_stream.signals import STOPPED


def command(main: Callable[[], None]) -> Callable[[], int]:
    """Let `main` say a user's mistake in a sentence, and return the exit status.

    Of Ctrl-C too; once a network trains, `Run` answers that, and saves.
    """

    @wraps(main)
    def run() -> int:
        try:
            main()
        except SapnetError as error:
            print(f"error: {error}", file=sys.stderr)
            return error.exit_code
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            return STOPPED
        return 0

    return run
