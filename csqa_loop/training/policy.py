"""When a run starts and what it takes, as settings say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from csqa_loop.settings import Settings
from csqa_loop.training.rules.replay import ReplayPolicy
from csqa_loop.training.rules.selection import SelectionPolicy
from csqa_loop.training.rules.trigger import TriggerPolicy


@dataclass(frozen=True)
class RunPolicy:
    """When a run starts, and what it takes."""

    trigger: TriggerPolicy
    selection: SelectionPolicy
    replay: ReplayPolicy = field(default_factory=ReplayPolicy)
    method: Literal["auto", "dpo", "kto", "sft", "placebo"] = "dpo"
    min_rated: int = 100
    """Liked and disliked answers, of each, that make a run without pairs."""
    min_demonstrations: int = 100
    """Answers as they should be that make a first SFT."""
    sft_mix: Mapping[str, float] = field(default_factory=dict)
    """Category -> share of those answers."""

    @classmethod
    def of(cls, settings: Settings) -> "RunPolicy":
        """The policy of these settings."""
        trigger, training = settings.trigger, settings.training
        return cls(
            TriggerPolicy(
                trigger.min_pairs,
                settings.preferences.min_users,
                trigger.fewest_pairs,
                timedelta(hours=trigger.max_age_hours) if trigger.max_age_hours else None,
                trigger.schedule,
            ),
            selection_policy(settings),
            ReplayPolicy(training.mode, training.replay_share, trigger.max_pairs, training.seed),
            training.method,
            trigger.min_rated,
            trigger.min_demonstrations,
            training.sft_mix,
        )


def selection_policy(settings: Settings) -> SelectionPolicy:
    """Which pairs may be trained on together: the planner of runs and what the console says of the next one must agree on it."""
    preferences = settings.preferences
    return SelectionPolicy(
        max_pairs=settings.trigger.max_pairs,
        user_share=preferences.user_share,
        contributor_share=preferences.contributor_share,
        category_share=preferences.category_share,
        user_per_day=preferences.user_per_day,
        contributor_per_day=preferences.contributor_per_day,
        near_duplicate=preferences.near_duplicate,
        newest_share=settings.trigger.newest_share,
    )
