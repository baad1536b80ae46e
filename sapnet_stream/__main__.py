"""`python -m sapnet_stream` is the command `sapnet-stream`."""

import sys

from sapnet_stream.cli import main

sys.exit(main())
