"""What follows from network, task and data: the defaults of training, in one place.

A fit is one cycle of warm-up and decay, `EPOCHS` passes over the labelled rows but at
least some hundred steps: a network that has 20 labels needs as many as with 500 to make
something of them. Its optimiser, rates, batch and steps follow from the network, see
`usual`. Images are moved about as their kind allows, see `AUGMENTATION_OF`. Inputs are
centred and scaled inside networks that do so, see `jaxal.models.scaling.input_scale`,
and so are targets of a regression.

`supervised(model)` and the command line both read their defaults here.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxal.pools.inputs import some_rows, take_rows
from jaxal.training import augment
from jaxal.training.augment import Augmentation
from jaxal.training.optimizers import Optimizer, adamw, one_cycle, sgd
from jaxal.types import SCALING, Inputs, Model, Pool, Variables

EPOCHS = 30
LARGEST_RATE, SMALLEST_RATE = 2e-2, 1e-3
WEIGHT_DECAY = 1.0  # times the learning rate; of networks with a hidden layer
SGD_RATE, SGD_DECAY = 0.1, 5e-4
_SGD_BATCH = 32  # with fewer rows in a step its rate is smaller, in proportion
OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": sgd,
    "adamw": partial(adamw, clip=1.0),
}
PHOTO_SIDE = 16  # images in colour, at least this high and wide, are photographs

AUGMENTATIONS = (
    *("none", "shift", "shift_rotate", "translate", "translate_rotate"),
    *("crop", "crop_flip", "crop_flip_cutout", "crop_flip_rotate"),
)
AUGMENTATION_OF = {"photo": "crop_flip", "small": "shift", "table": "none"}
"""What suits data by their kind. Photographs are cropped and mirrored; digits and other
small or grey images, which mean something else in a mirror, are shifted by a fourteenth
of their side; tables, texts and embeddings are left alone."""


class Usual(NamedTuple):
    """How a network is trained where nothing is asked for."""

    optimizer: str  # of `OPTIMIZERS`
    batch_size: int
    min_steps: int


WITH_STATISTICS = Usual("sgd", 32, 1200)
OTHERS = Usual("adamw", 64, 600)


def usual(variables: Variables) -> Usual:
    """Returns how a network with these variables is trained.

    Networks that normalise by the statistics of a batch, ResNets, do best with many
    short steps of SGD, which their scale-free weights bear at a large rate; all others
    with AdamW, gradients cut to norm 1. Chosen on 3,000 rows of CIFAR-10's training
    split, with 800 other rows as labels.

    Args:
      variables: of which names and shapes matter; what is neither parameters nor the
        scale of inputs changes in training, and is taken for such statistics.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal.models import mlp, resnet18
      >>> from jaxal.training.recipes import usual
      >>> images = jnp.ones([1, 8, 8, 3])
      >>> [usual(net.init(jax.random.key(0), images)).optimizer
      ...  for net in (mlp(3), resnet18(3, width=2))]
      ['adamw', 'sgd']
    """
    others = {k: v for k, v in variables.items() if k not in ("params", SCALING)}
    return WITH_STATISTICS if jax.tree.leaves(others) else OTHERS


def default_optimizer(variables: Variables, batch_size: int) -> Optimizer:
    """Returns the optimiser of a fit that asks for none.

    Args:
      variables: of the network, of which names and shapes matter.
      batch_size: rows of a step.
    """
    name = usual(variables).optimizer
    rate, decay = rates(name, variables["params"], batch_size)
    return OPTIMIZERS[name](one_cycle(rate), weight_decay=decay)


def rates(optimizer: str, params: Any, batch_size: int) -> tuple[float, float]:
    """Returns peak of the learning rate and weight decay that suit an optimiser.

    Args:
      optimizer: a name of `OPTIMIZERS`.
      params: what is trained, of which shapes matter to AdamW.
      batch_size: rows of a step, of which SGD minds a small number.
    """
    if optimizer == "sgd":
        return SGD_RATE * min(batch_size / _SGD_BATCH, 1), SGD_DECAY
    return learning_rate(params), weight_decay(params)


def learning_rate(params: Any) -> float:
    """Returns the peak of the learning rate for a network with these parameters.

    2e-2 over the square of the number of layers that have weights, at least 1e-3: steps
    of all layers add up in what a network says, and a single one can take larger ones.

    Args:
      params: a pytree of arrays or their shapes; a layer is a leaf of two axes or more.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.training.recipes import learning_rate
      >>> learning_rate([jnp.ones([9, 128]), jnp.ones(128), jnp.ones([128, 1])])
      0.005
    """
    return max(LARGEST_RATE / max(_num_layers(params), 1) ** 2, SMALLEST_RATE)


def weight_decay(params: Any) -> float:
    """Returns the weight decay for a network with these parameters.

    1 with hidden layers, which few labels would else not restrain: chosen on rows of
    the training splits of an embedding, texts, wine and diamonds, with 20 to 1,000
    labels. A single layer, whose weights are in the units of its inputs, has 0.01.

    Args:
      params: a pytree of arrays or their shapes.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxal.training.recipes import weight_decay
      >>> weight_decay([jnp.ones([9, 128]), jnp.ones(128), jnp.ones([128, 1])])
      1.0
    """
    return WEIGHT_DECAY if _num_layers(params) > 1 else 1e-2


def _num_layers(params: Any) -> int:
    return sum(len(leaf.shape) > 1 for leaf in jax.tree.leaves(params))


def kind_of(row_shape: tuple[int, ...]) -> str:
    """Returns what kind of data rows of this shape are.

    Args:
      row_shape: of one input, without the axis of rows.

    Returns:
      "photo": images `[H, W, channels]` with three channels or more, at least 16 x 16;
      "small": other images; "table": anything else.

    Example:
      >>> from jaxal.training.recipes import kind_of
      >>> kind_of((32, 32, 3)), kind_of((28, 28, 1)), kind_of((256,))
      ('photo', 'small', 'table')
    """
    if len(row_shape) != 3:
        return "table"
    is_photo = row_shape[2] >= 3 and min(row_shape[:2]) >= PHOTO_SIDE
    return "photo" if is_photo else "small"


def augmentation(name: str, row_shape: tuple[int, ...]) -> Augmentation | None:
    """Returns an augmentation by name, with distances that suit images of this size.

    Args:
      name: one of `AUGMENTATIONS`, or "auto".
      row_shape: of one input.

    Returns:
      None where nothing is to be done.

    Raises:
      ValueError: no such name.

    Example:
      >>> from jaxal.training.recipes import augmentation
      >>> augmentation("auto", (256,)) is None
      True
    """
    name = AUGMENTATION_OF[kind_of(row_shape)] if name == "auto" else name
    if name not in AUGMENTATIONS:
        raise ValueError(
            f"augment is {name!r}, expected 'auto', one of {', '.join(AUGMENTATIONS)}, "
            "None, or a function of a key and inputs."
        )
    if name == "none" or len(row_shape) != 3:
        return None
    side = min(row_shape[:2])
    steps = {
        "shift": augment.pad_crop(max(side // 14, 1)),
        "crop": augment.pad_crop(max(side // 8, 1)),
        "flip": augment.flip(),
        "rotate": augment.rotate(),
        "translate": augment.translate(),
        "cutout": augment.cutout(side // 4),
    }
    return augment.compose(*(steps[part] for part in name.split("_")))


def augmented(name: str, key: Array, inputs: Inputs) -> Inputs:
    """Returns a batch of inputs, the images among them moved as `augmentation` says.

    Images of one kind and size are moved alike, so that views of a scene stay together.

    Args:
      name: one of `AUGMENTATIONS`, or "auto".
      key: consumed.
      inputs: a pytree of `[B, ...]`.
    """

    def move(leaf: Array) -> Array:
        step = augmentation(name, leaf.shape[1:])
        return leaf if step is None else step(key, leaf)

    return jax.tree.map(move, inputs)


def fresh_variables(model: Model, key: Array, pool: Pool) -> Variables:
    """Returns new weights; a network that scales its inputs is shown some of the pool.

    Args:
      model: the network.
      key: for the weights.
      pool: rows that are valid are shown, evenly spaced, labelled or not.
    """
    row = take_rows(pool.inputs, slice(1))
    if SCALING not in jax.eval_shape(model.init, key, row):
        return model.init(key, row)
    return model.init(key, some_rows(pool))


def scaled_once(variables: Variables, fresh: Variables) -> Variables:
    """Returns variables with the scale found in this fit where they have none yet."""
    if "inputs" not in fresh.get(SCALING, {}) or "inputs" not in variables.get(
        SCALING, {}
    ):
        return variables
    old, new = variables[SCALING]["inputs"], fresh[SCALING]["inputs"]
    is_unset = (old["shift"] == 0).all() & (old["scale"] == 1).all()
    inputs = jax.tree.map(lambda n, o: jnp.where(is_unset, n, o), new, old)
    return {**variables, SCALING: {**variables[SCALING], "inputs": inputs}}


def with_scale(variables: Variables, fresh: Variables) -> Variables:
    """Returns variables with the scale found in this fit, and outputs as they are."""
    return {**variables, SCALING: fresh[SCALING]} if SCALING in fresh else variables


def with_units(variables: Variables, units: tuple[Array, Array]) -> Variables:
    """Returns variables whose outputs are in the units of the targets."""
    if "outputs" not in variables.get(SCALING, {}):
        return variables
    names: dict[str, Any] = dict(zip(("shift", "scale"), units, strict=True))
    outputs = {
        name: names[name].astype(old.dtype)
        for name, old in variables[SCALING]["outputs"].items()
    }
    return {**variables, SCALING: {**variables[SCALING], "outputs": outputs}}
