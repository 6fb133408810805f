"""How strongly training samples are varied."""

from __future__ import annotations

from dataclasses import dataclass

NOISE_SIGMAS = (4.0, 36.0)
"""Standard deviation of sensor noise, grey levels: from a dim room to a street at night."""


@dataclass(frozen=True)
class AugmentConfig:
    """How strongly samples are varied. Probabilities are per sample or per tile.

    Attributes:
        side: Width and height of a sample, pixels.
        mosaic: Probability of four images in one sample instead of one.
        face_crop: Probability that a tile is centred near a known face.
        face_heights: A face a tile is centred on gets a height drawn log-uniformly from this
            range of pixels; small faces are oversampled by choosing it low.
        scales: Otherwise the image's long side becomes 640 px times a factor drawn
            log-uniformly from this range.
        enlarge: Upper bound of magnification of stored pixels.
        rotate: Largest usual rotation, degrees; one tile in ten gets up to four times as much.
        perspective: Probability of a perspective warp.
        colour: Probability of changed colour, contrast and brightness.
        low_light: Probability of a dark, noisy sample.
        noise: Probability of sensor noise, of a strength drawn log-uniformly from `NOISE_SIGMAS`.
        blur: Probability of Gaussian or motion blur.
        shrink: Probability of being shrunk and enlarged again, as small copies are.
        jpeg: Probability of JPEG damage.
        repeat: Probability that what an image leaves empty is filled with copies of it instead
            of grey. Copies carry no labels: only for training with a teacher, who sees them.
    """

    side: int = 384
    mosaic: float = 0.5
    face_crop: float = 0.7
    face_heights: tuple[float, float] = (7.0, 90.0)
    scales: tuple[float, float] = (0.3, 1.7)
    enlarge: float = 2.5
    rotate: float = 10.0
    perspective: float = 0.2
    colour: float = 0.6
    low_light: float = 0.1
    noise: float = 0.1
    blur: float = 0.12
    shrink: float = 0.25
    jpeg: float = 0.2
    repeat: float = 0.0

    @classmethod
    def none(cls, side: int) -> AugmentConfig:
        """Whole images, letterboxed and unchanged: for tests and for measuring."""
        return cls(
            side=side,
            mosaic=0,
            face_crop=0,
            scales=(0, 0),
            rotate=0,
            perspective=0,
            colour=0,
            low_light=0,
            noise=0,
            blur=0,
            shrink=0,
            jpeg=0,
        )
