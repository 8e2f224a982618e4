"""Who is told how a run is doing."""

from collections.abc import Callable
from typing import Protocol

from jaxal.runs.store import Record


class Display(Protocol):
    """Who is told how a run is doing."""

    def message(self, text: str) -> None:
        """Something a person should read."""
        ...

    def phase(self, name: str, index: int) -> Callable[[int, int], None]:
        """A part of a round begins; what is returned is called as it goes on."""
        ...

    def round(self, record: Record) -> None:
        """A round is complete."""
        ...


class Silent:
    """A display that says nothing."""

    def message(self, text: str) -> None:
        """Says nothing."""

    def phase(self, name: str, index: int) -> Callable[[int, int], None]:
        """Says nothing."""
        return lambda done, total: None

    def round(self, record: Record) -> None:
        """Says nothing."""


class Lines(Silent):
    """A display of a line for each round, on standard output."""

    def message(self, text: str) -> None:
        """Prints it."""
        print(text, flush=True)

    def round(self, record: Record) -> None:
        """Prints labels, metrics and seconds of a round."""
        known = ("accuracy", "rmse", "nll")
        told = [f"{k} {record[k]:.4g}" for k in known if record.get(k) is not None]
        spent = sum(record["seconds"].values())
        parts = [f"{record['labels']} labels", *told, f"{spent:.1f} s"]
        print(f"round {record['round']}: {', '.join(parts)}", flush=True)
