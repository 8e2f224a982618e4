"""Types of the command line's options: what they take, and what they say if not."""

import difflib
from collections.abc import Callable
from typing import Annotated, Any

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from jaxal.training.recipes import AUGMENTATIONS

_PRESET = tyro.conf.arg(help_behavior_hint="(preset's)")


def one_of(*names: str) -> Any:
    """Returns the marker of an option that takes one of these names, or nothing.

    Tyro's own way lists `None` among the choices and suggests nothing.
    """

    def parse(words: list[str]) -> str:
        (word,) = words
        if word not in names:
            near = difflib.get_close_matches(word, names, n=1, cutoff=0.4)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"expected one of {', '.join(names)}.{hint}")
        return word

    return _optional("{" + ",".join(names) + "}", parse)


def _number(kind: type[int] | type[float]) -> Any:
    def parse(words: list[str]) -> int | float:
        try:
            return kind(words[0])
        except ValueError:
            what = "a whole number" if kind is int else "a number"
            raise ValueError(f"{words[0]!r} is not {what}.") from None

    return _optional(kind.__name__.upper(), parse)


def _optional(metavar: str, parse: Callable[[list[str]], Any]) -> Any:
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=parse,
        is_instance=lambda value: True,
        str_from_instance=lambda value: [str(value)],
    )


Int = Annotated[int | None, _PRESET, _number(int)]
Float = Annotated[float | None, _PRESET, _number(float)]
Ints = Annotated[
    tuple[int, ...] | None, _PRESET, tyro.conf.arg(metavar="INT [INT ...]")
]
Name = Annotated[str | None, _PRESET, tyro.conf.arg(metavar="NAME")]

Drawn = Annotated[str | None, _PRESET, one_of("random", "balanced")]
Dtype = Annotated[str | None, _PRESET, one_of("float32", "bfloat16")]
Learner = Annotated[str | None, _PRESET, one_of("solved", "trained")]
Optimizer = Annotated[str | None, _PRESET, one_of("sgd", "adamw")]
Schedule = Annotated[str | None, _PRESET, one_of("cosine", "one_cycle")]
Augment = Annotated[str | None, _PRESET, one_of(*AUGMENTATIONS)]
Averaging = Annotated[str | None, _PRESET, one_of("none", "ema", "swa")]
Refit = Annotated[
    str | None, _PRESET, one_of("retrain", "warm_start", "shrink_and_perturb")
]
Posterior = Annotated[
    str | None,
    _PRESET,
    one_of(
        "auto",
        "deterministic",
        "mc_dropout",
        "ensemble",
        "bootstrap",
        "laplace",
        "laplace_full",
    ),
]
Temperature = Annotated[str | None, _PRESET, one_of("none", "validation")]
Measure = Annotated[str | None, _PRESET, one_of("predictive", "network")]
Preset = Annotated[
    str | None,
    tyro.conf.arg(help_behavior_hint="(default: standard on an accelerator, else cpu)"),
    one_of("smoke", "cpu", "standard"),
]
