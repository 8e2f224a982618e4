"""Studies: a grid of settings and seeds over any loop."""

from jaxal.studies.grid import cells, part_of
from jaxal.studies.study import study

__all__ = [
    "cells",
    "part_of",
    "study",
]
