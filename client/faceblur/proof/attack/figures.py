"""How well two sets of face vectors match: rank-1, top-5, verification, with intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Distances = npt.NDArray[np.float64]
"""(N, N): row i is probe i, column j is gallery entry j, entries i and i are one person."""

Values = npt.NDArray[np.float64]

FALSE_ACCEPT_RATE = 1e-2
CONFIDENCE_Z = 1.959964
"""Half width of a 95 % interval, in standard deviations."""

RESAMPLES = 200


@dataclass(frozen=True)
class Figure:
    """A rate with its 95 % interval and what guessing would give."""

    value: float
    low: float
    high: float
    chance: float

    @property
    def contains_chance(self) -> bool:
        """Whether guessing is as good, as far as this measurement can tell."""
        return self.low <= self.chance

    def above(self, other: Figure) -> bool:
        """Whether this is higher than another rate, beyond its own interval."""
        return self.low > other.value


@dataclass(frozen=True)
class Match:
    """How well masked probes are matched with a gallery.

    Attributes:
        rank_1: Probes whose nearest gallery entry is the same person (Wilson interval).
        top_5: Probes with the same person among the five nearest (Wilson interval).
        tar: True accept rate at a false accept rate of 1 % (Wilson interval).
        auc: Area under the verification curve (bootstrap over persons).
    """

    rank_1: Figure
    top_5: Figure
    tar: Figure
    auc: Figure


def distances(probes: npt.NDArray[np.float32], gallery: npt.NDArray[np.float32]) -> Distances:
    """Euclidean distances of all probes (N, D) to all gallery entries (N, D)."""
    difference = probes[:, None].astype(np.float64) - gallery[None]
    # Rounded, so that equal images are ties whatever order they were computed in.
    return np.asarray(np.round(np.linalg.norm(difference, axis=2), 6), np.float64)


def match(table: Distances, *, seed: int = 0) -> Match:
    """Compute all figures of a table of distances.

    Ties are shared out: k entries at the same distance each have the k-th part of the places
    they take, so a mask that makes all faces equal is exactly at chance.
    """
    count = len(table)
    near = _fraction_within(table, 1)
    five = _fraction_within(table, 5)
    others = ~np.eye(count, dtype=bool)
    tar = true_accept_rate(np.diagonal(table), table[others], far=FALSE_ACCEPT_RATE)
    return Match(
        rank_1=wilson(near, count, chance=1 / count),
        top_5=wilson(five, count, chance=min(1, 5 / count)),
        tar=wilson(tar, count, chance=FALSE_ACCEPT_RATE),
        auc=_bootstrapped_auc(table, seed=seed),
    )


def wilson(rate: float, count: int, *, chance: float) -> Figure:
    """A rate among `count` trials with its Wilson score interval (Wilson 1927)."""
    z2 = CONFIDENCE_Z**2
    middle = (rate + z2 / (2 * count)) / (1 + z2 / count)
    spread = rate * (1 - rate) / count + z2 / (4 * count**2)
    half = CONFIDENCE_Z / (1 + z2 / count) * math.sqrt(spread)
    return Figure(rate, max(0.0, middle - half), min(1.0, middle + half), chance)


def true_accept_rate(genuine: Values, impostor: Values, *, far: float) -> float:
    """Share of genuine pairs accepted where a share `far` of the others is (ties shared out)."""
    allowed = far * len(impostor)
    place = math.ceil(allowed) - 1
    limit = np.partition(impostor, place)[place]
    below, level = (impostor < limit).sum(), (impostor == limit).sum()
    share = min(1.0, (allowed - below) / level)
    return float((genuine < limit).mean() + share * (genuine == limit).mean())


def area_under_curve(genuine: Values, impostor: Values) -> float:
    """Probability that a genuine pair is closer than another one (ties count half)."""
    ordered = np.sort(impostor)
    farther = len(ordered) - np.searchsorted(ordered, genuine, "right")
    level = len(ordered) - np.searchsorted(ordered, genuine, "left") - farther
    return float((farther + level / 2).mean() / len(ordered))


def _fraction_within(table: Distances, places: int) -> float:
    """Expected share of probes whose own entry is among the first `places`."""
    own = np.diagonal(table)[:, None]
    closer = (table < own).sum(axis=1)
    level = (table == own).sum(axis=1)
    return float(np.clip((places - closer) / level, 0, 1).mean())


def _bootstrapped_auc(table: Distances, *, seed: int) -> Figure:
    """The area with the 2.5 and 97.5 percentiles over resampled persons."""
    rng = np.random.default_rng(seed)
    people = np.arange(len(table))
    areas = []
    for chosen in [people, *(rng.choice(people, len(people)) for _ in range(RESAMPLES))]:
        # Somebody drawn twice is not an impostor of himself.
        others = chosen[:, None] != chosen[None]
        genuine = table[chosen, chosen]
        areas.append(area_under_curve(genuine, table[np.ix_(chosen, chosen)][others]))
    low, high = np.percentile(areas[1:], [2.5, 97.5])
    return Figure(areas[0], float(low), float(high), 0.5)
