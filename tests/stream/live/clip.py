"""What a camera of the long measurements shows."""

from pathlib import Path

import av

PICTURE = "testsrc2=size=64x48:rate=25:duration=10"
SOUND = "sine=frequency=440:sample_rate=48000:duration=10"


def write_clip(path: Path) -> None:
    """Ten seconds of a moving picture, 64x48 at 25 frames/s, with a tone."""
    with av.open(str(path), "w") as target:
        options = {"preset": "ultrafast", "bf": "0", "g": "10"}
        video = target.add_stream("libx264", rate=25, options=options)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = target.add_stream("aac", rate=48000, layout="mono")
        with av.open(PICTURE, format="lavfi") as source:
            for picture in source.decode(video=0):
                target.mux(video.encode(picture.reformat(format="yuv420p")))
        with av.open(SOUND, format="lavfi") as source:
            for samples in source.decode(audio=0):
                target.mux(audio.encode(samples))
        target.mux(video.encode(None))
        target.mux(audio.encode(None))
