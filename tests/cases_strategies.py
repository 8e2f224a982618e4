"""Every strategy by name: a row buys it all the laws that strategies keep.

A row that cannot do something says so in a capability flag; tests never skip by name.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

NO_SETTINGS: Mapping[str, Any] = MappingProxyType({})


class StrategyCase(NamedTuple):
    """A registered strategy, and which laws its paper lets it keep."""

    name: str
    settings: Mapping[str, Any] = NO_SETTINGS  # what a pool of 40 rows wants
    is_deterministic: bool = False  # the key changes nothing where no two rows tie
    has_ties: bool = False  # scores are counts: rows tie, and then their order decides
    most_classes: int = 1000  # fewer where the time grows with a power of theirs

    def __str__(self) -> str:
        return self.name


STRATEGIES = (
    StrategyCase("random"),
    StrategyCase("least_confidence", is_deterministic=True),
    StrategyCase("margin", is_deterministic=True),
    StrategyCase("entropy", is_deterministic=True),
    StrategyCase("bald", is_deterministic=True),
    StrategyCase("mean_std", is_deterministic=True),
    StrategyCase("variation_ratio", is_deterministic=True, has_ties=True),
    StrategyCase("badge"),
    StrategyCase("coreset"),
)
