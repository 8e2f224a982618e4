"""One page that holds all of a report, and opens from disk with no network."""
