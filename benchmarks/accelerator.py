"""Every number that wants an accelerator, in one call, the most important first.

    python benchmarks/accelerator.py --images cifar10.npz --json out.json
    python benchmarks/accelerator.py --scale tiny
    python benchmarks/accelerator.py --only laws labels --part-seconds 240

Needs JAX, Flax, Optax, Chex and NumPy, and times PyTorch on the same card where it is
installed. Results are written after every part. docs/accelerator.md says what the
parts are and what their rows mean; the code is in the folder of the same name.
"""

import pathlib
import sys

# Last, so that an installed jaxal comes first: a borrowed machine often has none.
sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))

from accelerator.command import main  # noqa: E402

if __name__ == "__main__":
    main(__doc__)
