"""Laws that every strategy keeps, to be checked on one's own."""

from jaxal.testing.checking import Report, check_strategy
from jaxal.testing.laws import LAWS, BrokenLawError

__all__ = ["LAWS", "BrokenLawError", "Report", "check_strategy"]
