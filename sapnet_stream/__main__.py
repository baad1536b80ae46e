"""The command `sapnet-stream`, and `python -m sapnet_stream`."""

import sys

from sapnet_stream.freed_blocks import keep_freed_blocks

# Libraries start threads as they are imported, whose memory would be apart.
keep_freed_blocks()

from sapnet_stream.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
