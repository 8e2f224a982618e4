"""Planning: bytes, operations, passes and time of a round, before anything runs."""

from jaxal.planning.plans import Passes, Plan, plan
from jaxal.planning.rates import Rates, measure_rates

__all__ = ["Passes", "Plan", "Rates", "measure_rates", "plan"]
