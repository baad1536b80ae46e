"""Kinds of rain, each a range for everything that `rain.SyntheticRain` draws."""

from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True)
class RainPreset:
    """Ranges from which each sample, or each of its layers, draws uniformly.

    Attributes:
        layers: streak layers, rounded down; each has its own direction, length and width.
        slant: main direction in degrees from straight down.
        spread: a layer's deviation from the main direction, degrees.
        length: of a streak, pixels.
        width: of a streak, pixels.
        hardness: exponent of the profile across a streak: 2 soft, 8 nearly a box.
        density: streaks per 1000 square pixels.
        brightness: of a layer's brightest streak, 1 is white.
        depth: of a layer; at depth z its streaks are z times shorter, thinner and fainter,
            and z squared times as many.
        opacity: 0 adds streaks to the scene, 1 covers the scene with them.
        masks: rendered masks laid over each other, rounded down; 0 without masks at hand.
        mask_gain: factor on the mask's brightness.
        veil: part of the scene's contrast lost to fine spray.
        airlight: brightness of the spray, 1 is white.
        grain: standard deviation of sensor noise, on the clean image too: a derainer is
            not asked to remove it.
        jpeg: quality at which both images were stored; above 100 they were not.
    """

    layers: Range = (0, 0)
    slant: Range = (-30, 30)
    spread: Range = (-3, 3)
    length: Range = (8, 40)
    width: Range = (0.8, 2)
    hardness: Range = (2, 8)
    density: Range = (0.2, 2)
    brightness: Range = (0.1, 0.5)
    depth: Range = (1, 1)
    opacity: Range = (0, 0)
    masks: Range = (0, 0)
    mask_gain: Range = (0.4, 1.2)
    veil: Range = (0, 0)
    airlight: Range = (0.7, 0.7)
    grain: Range = (0, 0)
    jpeg: Range = (101, 101)

    @property
    def needs_masks(self) -> bool:
        """Whether some of its samples have no rain without them."""
        return self.masks[0] >= 1


PRESETS = {
    "dry": RainPreset(grain=(0, 0.01)),
    # One streak direction, short and thin: most samples a single rendered mask.
    "light": RainPreset(masks=(1, 1.999), mask_gain=(0.3, 1.2)),
    # Soft translucent streaks, as a video camera sees drops at several distances.
    "drizzle": RainPreset(
        layers=(1, 2.999),
        length=(6, 50),
        width=(0.8, 3),
        brightness=(0.1, 0.6),
        opacity=(0, 0.8),
        veil=(0, 0.02),
        grain=(0, 0.01),
    ),
    "medium": RainPreset(
        layers=(0, 1.999),
        masks=(1, 2.999),
        mask_gain=(0.6, 1.5),
        length=(20, 70),
        density=(2, 12),
        brightness=(0.1, 0.5),
    ),
    # What a video of a shower shows: many layers, the near ones long, wide and fast.
    "shower": RainPreset(
        layers=(6, 6),
        slant=(4, 10),
        spread=(-2, 2),
        length=(7, 30),
        width=(0.9, 2),
        hardness=(2, 3),
        density=(0.4, 1.6),
        brightness=(0.25, 0.6),
        opacity=(0.3, 0.5),
        grain=(0.004, 0.004),
    ),
    # RainTrainH: a dense curtain of hard one-pixel lines under one or two rendered masks.
    "heavy": RainPreset(
        layers=(1, 2.999),
        slant=(-25, 25),
        length=(20, 70),
        width=(1, 2),
        hardness=(3, 8),
        density=(2, 16),
        brightness=(0.15, 0.6),
        masks=(0, 2.999),
        mask_gain=(0.5, 1.5),
    ),
    # Fitted to the 18 pairs of RainTrainH at hand, see rain_report.
    "curtain": RainPreset(
        layers=(1, 3.999),
        slant=(-12, 12),
        spread=(-2, 2),
        length=(20, 70),
        width=(1.5, 2.4),
        hardness=(2, 4),
        density=(3, 14),
        brightness=(0.12, 0.42),
        masks=(0, 2.999),
        mask_gain=(0.4, 1.3),
    ),
    # After ten pairs from videos of real rain: thin and nearly upright near drops, a veil of the
    # far ones, and the traces of compression. Most of what those pairs differ in is no rain, but
    # a camera and leaves that moved and two compressions, so their spectra are not matched.
    "outdoors": RainPreset(
        layers=(1, 4.999),
        slant=(-10, 10),
        length=(14, 40),
        width=(1.2, 2.5),
        hardness=(2, 3),
        density=(0.02, 0.25),
        brightness=(0.15, 0.6),
        depth=(1, 3),
        opacity=(0.3, 0.8),
        veil=(0, 0.35),
        airlight=(0.45, 0.75),
        grain=(0, 0.02),
        jpeg=(30, 95),
    ),
}
