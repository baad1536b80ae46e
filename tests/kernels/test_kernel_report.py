"""The report's sums; that every kernel compiles is in test_compiled.py."""

from benchmarks import kernel_report
from sapnet_stream.networks.sapnet import SAPNet


def test_a_stage_is_all_convolutions_of_the_network() -> None:
    weights = [weight for weight in SAPNet().parameters() if weight.shape[2:] == (3, 3)]
    flop = 2 * sum(weight.numel() for weight in weights)
    frame = 6 * flop * 1920 * 1080
    text = kernel_report.stage()
    assert f"is {flop / 1000:.0f} kFLOP" in text and f"are {frame / 1e12:.2f} TFLOP" in text
