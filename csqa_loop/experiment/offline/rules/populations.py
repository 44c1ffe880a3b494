"""Made-up customers for simulated experiments."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from csqa_loop.experiment.offline.rules.looks import Flags
from csqa_loop.experiment.rules.statistics import Floats

_MOST_RATINGS = 40
_SEASONS = 3


@dataclass(frozen=True)
class Population:
    """How customers rate. Season and drift move both arms alike: they are the world's, not the challenger's."""

    satisfaction: float
    """Probability of a thumbs-up in the control arm, before season and drift."""
    ratings: float = 1.0
    """Mean ratings a user, geometric: above 1 there are heavy users, each with a taste of their own."""
    season: float = 0.0
    """Amplitude of a swing that comes back."""
    drift: float = 0.0
    """Satisfaction gained or lost from the first user to the last."""
    handoff: float = 0.05
    """Probability that an answer hands over to a person, in the control arm."""

    def draw(
        self, rng: np.random.Generator, challenger: Flags, effect: float, handoff_effect: float = 0.0
    ) -> Mapping[str, tuple[Floats, Floats]]:
        """(numerators, denominators) of `satisfaction` and `handoff`, a user each, shaped like `challenger`. Effects are the challenger's."""
        way = np.linspace(0.0, 1.0, challenger.shape[-1])
        world = self.satisfaction + self.season * np.sin(2 * np.pi * _SEASONS * way) + self.drift * (way - 0.5)
        mean = np.clip(world + effect * challenger, 0.0, 1.0)
        handoff = np.clip(self.handoff + handoff_effect * challenger, 0.0, 1.0)
        if self.ratings <= 1:
            given = np.ones(challenger.shape, dtype=np.int64)
            taste = mean
        else:
            given = np.minimum(rng.geometric(1 / self.ratings, challenger.shape), _MOST_RATINGS)
            inside = np.clip(mean, 0.01, 0.99)
            taste = rng.beta(4 * inside, 4 * (1 - inside))
        ups, handoffs = rng.binomial(given, taste), rng.binomial(given, handoff)
        den = given.astype(float)
        return {"satisfaction": (ups.astype(float), den), "handoff": (handoffs.astype(float), den)}


LIVELY = Population(satisfaction=0.6, ratings=4.0, season=0.1, drift=-0.1)
"""Heavy users, seasons, and a slow loss of satisfaction."""
