"""Streaming: selection from pools that are larger than memory."""

from jaxal.streaming.blocked import Streamed, stream_selection
from jaxal.streaming.greedy import stream_k_center, stream_k_means_plus_plus
from jaxal.streaming.ranked import (
    Reservoir,
    stream_gumbel_top_k,
    stream_reservoir,
    stream_scores,
    stream_top_k,
)
from jaxal.streaming.reading import Progress, pass_bar
from jaxal.streaming.sources import Records, Source, as_source

__all__ = [
    "Progress",
    "Records",
    "Reservoir",
    "Source",
    "Streamed",
    "as_source",
    "pass_bar",
    "stream_gumbel_top_k",
    "stream_k_center",
    "stream_k_means_plus_plus",
    "stream_reservoir",
    "stream_scores",
    "stream_selection",
    "stream_top_k",
]
