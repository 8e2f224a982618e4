"""What a recipe does not say, by preset and by the kind of data."""

from typing import Any

from jaxal.training import recipes

# How to train is said in `recipes`, for Python and the command line alike.
_PHOTO: dict[str, Any] = {
    "model": "resnet18",
    "width": 16,
    # With 800 labels 48.2 % after 30 epochs, 50.8 after 40: rows kept apart, two seeds.
    "epochs": 40,
    "augment": recipes.AUGMENTATION_OF["photo"],
    "initial": 200,
    "query_size": (200,),
    "rounds": 5,
    "pool_size": 10_000,
}
_SMALL = _PHOTO | {
    "model": "gal_cnn",
    "epochs": recipes.EPOCHS,
    "augment": recipes.AUGMENTATION_OF["small"],
    "initial": 20,
    "query_size": (20,),
    "rounds": 8,
}
_TABLE = _SMALL | {
    "model": "mlp",
    "width": 128,
    "augment": recipes.AUGMENTATION_OF["table"],
    "initial": 10,
    "query_size": (10,),
    "pool_size": 0,
}
# A network that compiles in a moment.
_SMOKE = {
    "model": "mlp",
    "width": 128,
    "augment": "none",
    "epochs": 1,
    "min_steps": 300,
    "initial": 20,
    "query_size": (20,),
    "rounds": 2,
    "pool_size": 512,
    "test_size": 512,
    "num_samples": 8,
}
# The 5 % protocol of Munjal et al., "Towards Robust and Reproducible Active Learning
# Using Neural Networks", CVPR 2022: 5 % of the training set, then 5 % a round up to
# 40 %, 150 epochs from scratch each time. The network is ResNet-18, and the training
# settings are fixed instead of searched for in each round.
_STANDARD = {
    "width": 64,
    "dtype": "bfloat16",
    "epochs": 150,
    "min_steps": 0,
    "train_batch": 128,
    "optimizer": "sgd",
    "schedule": "cosine",
    "initial": 2_500,
    "query_size": (2_500,),
    "rounds": 7,
    "pool_size": 0,
}
_LONGER = {"epochs": 100, "rounds": 15}
# Half the images in a step: with few labels there are as many steps all the same, and
# on a CPU they take half as long.
_LIGHT = {"train_batch": recipes.WITH_STATISTICS.batch_size // 2}
KINDS = {"photo": _PHOTO, "small": _SMALL, "table": _TABLE}
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "smoke": {kind: of | _SMOKE for kind, of in KINDS.items()},
    "cpu": KINDS | {"photo": _PHOTO | _LIGHT},
    "standard": {
        "photo": _PHOTO | _STANDARD,
        "small": _SMALL | _LONGER,
        "table": _TABLE | _LONGER,
    },
}
"""Settings by preset and kind of data."""


def default_preset(platform: str) -> str:
    """Returns the preset for a JAX platform: `standard` needs an accelerator."""
    return "cpu" if platform == "cpu" else "standard"
