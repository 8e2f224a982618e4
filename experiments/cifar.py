"""Active learning on CIFAR-10: which images to label next, and was it worth it.

    python experiments/cifar.py --strategy=badge
    python experiments/cifar.py --strategy=random
    jaxal report runs

Without CIFAR-10 at hand, and without a network to get it, the data set is
scikit-learn's digits, which the first line and every result say. Presets:

  standard  the 5 % protocol of Munjal et al., "Towards Robust and Reproducible Active
            Learning Using Neural Networks" (CVPR 2022): ResNet-18, 2,500 labels, then
            2,500 a round up to 20,000, 150 epochs from scratch in each round. Unlike
            there, training settings are fixed rather than searched for. Their random
            baselines reach 82 to 88 % with 10,000 labels. Wants an accelerator.
  cpu       ResNet-18 of width 16, a pool of 10,000 images, 200 labels and 200 a round
            up to 1,200, 600 steps of AdamW or more: ten minutes or so on two cores.
  smoke     a small MLP, three rounds, seconds: to see that everything works.

Each seed is a run under OUTPUT/NAME-seedK: config.json, rounds.jsonl (one line a
round), queries.jsonl (one line a label), checkpoint and figures. Killed at any moment
and started again with the same command, a run continues where it was.
"""

from functools import partial

from jaxal.app.cli import run_command
from jaxal.app.interrupts import script

if __name__ == "__main__":
    told = {"description": __doc__, "program": "python experiments/cifar.py"}
    script(partial(run_command, **told))
