"""Decoders that are hardware of their own, beside the CPU."""

from dataclasses import dataclass

from av.codec.context import CodecContext
from av.codec.hwaccel import HWAccel, hwdevices_available

from sapnet_stream.errors import UsageError
from sapnet_stream.video.complaints import attempt

# Any codec such hardware knows: making its decoder opens the device.
_CODEC = "h264"


@dataclass(frozen=True)
class HardwareDecoder:
    """A device that decodes video; its frames come as those of the CPU do.

    What the device refuses within a codec it knows, as a rare profile, the CPU decodes. Where
    the device has no format of as many bits, the samples come shifted into 16.

    Attributes:
        name: FFmpeg's kind of device, perhaps with one of several: "cuda", "cuda:1",
            "vaapi:/dev/dri/renderD128".

    Raises:
        UsageError: there is no such device here.
    """

    name: str

    def __post_init__(self) -> None:
        kind, known = self.name.partition(":")[0], hwdevices_available()
        if kind not in known:
            raise UsageError(
                f"--hwaccel {self.name}: this PyAV was built for {', '.join(known)}: choose one of "
                "them, or leave it out"
            )
        failure, said = attempt(lambda: CodecContext.create(_CODEC, "r", hwaccel=self.settings()))
        if failure:
            raise UsageError(
                f"--hwaccel {self.name} does not start here ({said[0].rstrip('.')}): it needs the "
                "device and its driver; leave it out to decode on the CPU"
            ) from failure

    def __str__(self) -> str:
        return self.name

    def settings(self) -> HWAccel:
        """PyAV's, for `av.open`."""
        kind, _, device = self.name.partition(":")
        return HWAccel(kind, device or None)
