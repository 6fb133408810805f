"""Try to recognise masked faces: with clear images at hand, and with masked ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from faceblur.errors import InputError
from faceblur.proof.attack.figures import Match, distances, match
from faceblur.proof.attack.identities import Identity
from faceblur.proof.attack.masks import BASELINE, DEFAULT_MODE, UNMASKED, WEAK_BLUR, Disguise, Role
from faceblur.proof.attack.recognition import Recogniser

MIN_PEOPLE = 10
"""Fewer could not tell an attack from a guess."""

SEED = 20
"""Of the renditions: everybody who repeats an attack gets the same probes."""

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Trial:
    """One mask at one face size.

    Attributes:
        height: Face height, pixels.
        clear: Masked probes against clear images of everybody.
        masked: Masked probes against images masked in the same way (the parrot attack).
    """

    mask: str
    role: Role
    height: int
    people: int
    clear: Match
    masked: Match


@dataclass(frozen=True)
class Verdict:
    """What an attack came to.

    Attributes:
        conclusive: It recognises unmasked and weakly blurred faces, so it could have succeeded.
        failures: One sentence for each shipped mask that did not hold.
    """

    conclusive: bool
    failures: Sequence[str]

    @property
    def passed(self) -> bool:
        """Whether the masks held, and that means something."""
        return self.conclusive and not self.failures


def attack(
    people: Sequence[Identity],
    recogniser: Recogniser,
    disguises: Sequence[Disguise],
    *,
    heights: Sequence[int],
    on_progress: OnProgress | None = None,
) -> list[Trial]:
    """Try every mask at every face size.

    Both images of a person are cropped to the face before they are masked: hair and background
    cannot decide. At each size those take part whose face is at least that tall.

    Raises:
        InputError: Not enough people at one of the sizes.
    """
    trials: list[Trial] = []
    for height in sorted(heights):
        those = [person for person in people if person.height >= height]
        if len(those) < MIN_PEOPLE:
            raise InputError(
                f"{len(those)} different faces of {height} px or more are not enough, the attack "
                f"needs {MIN_PEOPLE}: give more or larger images, or smaller --sizes"
            )
        rng = np.random.default_rng([SEED, height])
        clear = [person.crop(height) for person in those]
        probes = [person.rendition(height, rng) for person in those]
        known = recogniser.describe(clear, aligned=True)
        for disguise in disguises:
            aligned = disguise.shows_landmarks
            gallery = recogniser.describe([disguise(crop) for crop in clear], aligned=aligned)
            wanted = recogniser.describe([disguise(crop) for crop in probes], aligned=aligned)
            trials.append(
                Trial(
                    disguise.name,
                    disguise.role,
                    height,
                    len(those),
                    clear=match(distances(wanted, known)),
                    masked=match(distances(wanted, gallery)),
                )
            )
            if on_progress is not None:
                on_progress(len(trials), len(disguises) * len(heights))
    return trials


def judge(trials: Sequence[Trial]) -> Verdict:
    """Decide whether the shipped masks held.

    Against clear images, none may be recognised beyond chance; against masked ones, the
    default none beyond the mask that shows nothing. Where the attack does not even recognise
    unmasked and weakly blurred faces at its largest size, nothing follows from it.
    """
    largest = max(trial.height for trial in trials)
    seen = {t.mask: t.clear.rank_1 for t in trials if t.height == largest}
    conclusive = not (seen[UNMASKED].contains_chance or seen[WEAK_BLUR].contains_chance)
    baseline = {t.height: t.masked.rank_1 for t in trials if t.mask == BASELINE}
    failures = []
    for trial in (t for t in trials if t.role == "shipped"):
        rank_1 = trial.clear.rank_1
        if not rank_1.contains_chance:
            failures.append(
                f"{trial.mask} at {trial.height} px: {rank_1.value:.1%} are recognised from clear "
                f"images, where guessing gives {rank_1.chance:.1%}"
            )
        rank_1 = trial.masked.rank_1
        if trial.mask == DEFAULT_MODE and rank_1.above(baseline[trial.height]):
            failures.append(
                f"{trial.mask} at {trial.height} px: {rank_1.value:.1%} are recognised from masked "
                f"images, with {BASELINE} {baseline[trial.height].value:.1%}"
            )
    return Verdict(conclusive, failures)
