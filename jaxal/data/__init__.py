"""Data sets as NumPy arrays, by name or by path. Knows nothing of the rest of jaxal.

The only place that imports tensorflow-datasets, and only when a data set needs it.
"""

from jaxal.data.loading import default_data_dir, load, names
from jaxal.data.types import Dataset, Split, UnavailableError

__all__ = [
    "Dataset",
    "Split",
    "UnavailableError",
    "default_data_dir",
    "load",
    "names",
]
