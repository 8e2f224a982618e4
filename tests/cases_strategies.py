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
    StrategyCase("typiclust"),
    StrategyCase("prob_cover", {"radius": 0.5}),
    StrategyCase("dcom", {"initial_radius": 0.5}),
    StrategyCase("active_ft", {"num_steps": 20}),
    StrategyCase("k_means"),
    StrategyCase("max_herding", is_deterministic=True),
    StrategyCase("uherding", is_deterministic=True),
    StrategyCase("lcmd", is_deterministic=True),
    StrategyCase("max_det"),  # gradients are projected at random
    StrategyCase("frank_wolfe", is_deterministic=True),
    StrategyCase("facility_location", is_deterministic=True),
    StrategyCase("graph_cut", is_deterministic=True),
    StrategyCase("log_determinant"),  # as max_det
    StrategyCase("similar"),  # draws while no row is labelled
    StrategyCase("clue"),
    StrategyCase("cluster_margin"),
    StrategyCase("cdal"),
    StrategyCase("alfa_mix"),
    StrategyCase("drop_query"),
    StrategyCase("vessal"),
    StrategyCase("power_bald"),
    StrategyCase("softmax_bald"),
    StrategyCase("softrank_bald"),
    StrategyCase("badge_partitioned", MappingProxyType({"parts": 3})),
    StrategyCase("uncertain_coreset", MappingProxyType({"factor": 2})),
    StrategyCase("galaxy"),
    StrategyCase("albl"),
    StrategyCase("select_al"),
    StrategyCase("tcm", MappingProxyType({"transition": 10})),
    StrategyCase("vote_entropy", is_deterministic=True, has_ties=True),
    StrategyCase("consensus_entropy", is_deterministic=True),
    StrategyCase("consensus_kl", is_deterministic=True),
    StrategyCase("expected_gradient_length", is_deterministic=True),
    StrategyCase("information_density", is_deterministic=True),
    StrategyCase(
        "expected_error_reduction",
        {"num_candidates": 24, "num_targets": 9},
        most_classes=20,
    ),
    StrategyCase("epig", {"num_targets": 9}),
    StrategyCase("batch_bald", {"num_candidates": 30, "num_configurations": 9}),
    StrategyCase("laplace_bald", {"num_samples": 5}),
    StrategyCase("laplace_batch_bald", {"num_samples": 5, "num_configurations": 9}),
    StrategyCase("bait", is_deterministic=True, most_classes=20),
    StrategyCase("bait_top", is_deterministic=True, most_classes=20),
    StrategyCase("bait_binary", is_deterministic=True),
    StrategyCase("bait_regression", is_deterministic=True),
)
