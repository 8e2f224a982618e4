"""Is a strategy worth it? Any of them on frozen embeddings, a linear head, many seeds.

    python experiments/features.py digits --plan low --seeds 0..19
    python experiments/features.py x.npz --plan mid --strategy random badge
    python experiments/features.py x.npy --labels y.npy --keep-ratios 1 .5 .25 .1
    jaxal report studies/digits-low

`jaxal study` with its options, all of them, on data by name: digits (scikit-learn's 64
pixels) and mnist (64 principal components of the pixels of 1,437 rows, as many as
digits has; 4,000 to measure on), or a file as `--features` takes it. Plans low, mid and
high buy 10 rounds of 10, 10 of 100 and 5 of 1,000 labels, as many as they begin with.
What is published and tried: coverage first (Hacohen et al., "Active Learning on a
Budget: Opposite Strategies Suit High and Low Budgets", ICML 2022,
https://arxiv.org/abs/2202.02794), margin and BADGE later (Ash et al., ICLR 2020,
https://arxiv.org/abs/1906.03671), BAIT (https://arxiv.org/abs/2106.09675) and UHerding
(https://arxiv.org/abs/2412.20644) throughout. Tables, with seeds and times, are in
docs/studies.md and, of digits and mnist, in benchmarks/results/features.md. Killed, a
study goes on with the same command.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxal.app import study
from jaxal.app.interrupts import script
from jaxal.data import load

STRATEGIES = """
random margin entropy least_confidence bald badge coreset typiclust max_herding uherding
bait_binary k_means alfa_mix clue lcmd tcm
"""
FOLDER, COMPONENTS, NUM_POOL, NUM_TEST = Path("studies/data"), 64, 1437, 4000


def embedded(name: str) -> Path:
    """Returns a file with the features of a data set, written once."""
    file = FOLDER / f"{name}.npz"
    if not file.exists():
        data = load(name)
        rows = data.train.inputs[:NUM_POOL], data.test.inputs[:NUM_TEST]
        pool, test = (x.reshape(len(x), -1) / np.float32(255) for x in rows)
        if pool.shape[1] > COMPONENTS:
            centre = pool.mean(0)
            axes = np.linalg.svd(pool - centre, full_matrices=False)[2][:COMPONENTS]
            pool, test = ((x - centre) @ axes.T for x in (pool, test))
        file.parent.mkdir(parents=True, exist_ok=True)
        labels = data.train.labels[:NUM_POOL], data.test.labels[:NUM_TEST]
        arrays = dict(zip(("y_train", "y_test"), labels, strict=True))
        np.savez(file, x_train=pool, x_test=test, **arrays)
    return file


def main(words: Sequence[str]) -> int:
    """Runs the study of the data that the first word names; returns the exit status."""
    data, *rest = [*words] if words and words[0][0] != "-" else ["digits", *words]
    if not {"-h", "--help", "--config"} & {*rest}:
        file = embedded(data) if data in ("digits", "mnist") else Path(data)
        rest = ["--strategy", *STRATEGIES.split(), "--features", str(file), *rest]
    program = "python experiments/features.py [DATA]"
    return study.main(rest, description=__doc__, program=program)


if __name__ == "__main__":
    script(main)
