"""What tests need that not every machine has: data, and a GPU."""

import os
import signal
from pathlib import Path

import pytest
import torch

# Kernels run on the device where there is one, else in Triton's interpreter. Triton reads this
# when it is imported, by whichever test comes first; nothing else on a CPU uses it.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

import sapnet_stream.networks.no_telemetry  # noqa: F401 - before any test imports OpenVINO

# A shell may start the tests in the background, deaf to signals; so would be what they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
for _number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(_number, signal.SIG_DFL)

LIVE = Path(__file__).parent / "stream" / "live"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits for cameras runs one by one, beside the rest: two at once would wait longer."""
    for item in items:
        if item.path.is_relative_to(LIVE):
            item.add_marker(pytest.mark.xdist_group("live"))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of test and training data, from the environment variable SAPNET_DATA.

    Unset: the test is skipped. Set, a missing folder is a failure: a machine that promises
    the data must not pass by skipping.
    """
    value = os.environ.get("SAPNET_DATA")
    if not value:
        pytest.skip("needs the data folder; set SAPNET_DATA to run it")
    path = Path(value).resolve()
    assert path.is_dir(), f"SAPNET_DATA={value} is not a folder"
    return path


@pytest.fixture
def needs_cuda() -> None:
    """Skips a test that only a GPU can run; FAIL_WITHOUT_CUDA=1 makes that a failure."""
    if not torch.cuda.is_available():
        assert os.environ.get("FAIL_WITHOUT_CUDA") != "1", "no CUDA device"
        pytest.skip("needs a CUDA device")
