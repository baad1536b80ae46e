"""Keeps OpenVINO from calling home; import this before it.

It tells a web service of every import, from a process that it forks: nobody who derains a video
asked for that, and the fork of a program with threads can hang, and the program with it.
"""

import sys

# What cannot be imported is replaced by OpenVINO with a stand-in that does nothing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
