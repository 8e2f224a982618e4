"""What a recipe may name, and what the names stand for."""

from collections.abc import Callable, Mapping
from typing import Any

from jaxal import models
from jaxal.posteriors.dropout import mc_dropout
from jaxal.posteriors.last_layer import laplace
from jaxal.posteriors.networks import deep_ensemble, deterministic
from jaxal.runs.errors import RunError
from jaxal.stopping import Progress, Rule, rule_of
from jaxal.training import weights
from jaxal.training.optimizers import cosine, one_cycle
from jaxal.types import Model, Posterior

SCHEDULES = {"cosine": cosine, "one_cycle": one_cycle}
AVERAGINGS = {"none": None, "ema": weights.ema(), "swa": weights.swa()}
REFITS = {
    "retrain": weights.retrain,
    "warm_start": weights.warm_start,
    "shrink_and_perturb": weights.shrink_and_perturb(),
}


POSTERIORS: dict[str, Callable[[Model, int, float], Posterior]] = {
    "deterministic": lambda network, *_: deterministic(network),
    "mc_dropout": lambda network, samples, _: mc_dropout(network, samples),
    "ensemble": lambda network, samples, _: deep_ensemble(network, samples),
    # Members see resampled labels, which is the learner's part.
    "bootstrap": lambda network, samples, _: deep_ensemble(network, samples),
    "laplace": lambda network, samples, prior: laplace(
        network, num_samples=samples, prior_precision=prior
    ),
    "laplace_full": lambda network, samples, prior: laplace(
        network, "full", num_samples=samples, prior_precision=prior
    ),
}
"""From the network, samples to draw and the precision of the prior."""
OF_MEMBERS = "ensemble", "bootstrap"  # each trained


_MANY_ROUNDS = 1000


def rule(text: str | None, has_validation: bool) -> Rule | None:
    """Returns the rule that `--stop` says.

    Args:
      text: an expression of the rules of `jaxal.stopping`, None for no rule.
      has_validation: whether there are rows it may measure on.

    Raises:
      RunError: it needs some, and there are none.
      ValueError: the text says no rule; the message points at the character.
    """
    if text is None:
        return None
    found = rule_of(text)
    try:
        if not has_validation:
            found([Progress(0)] * _MANY_ROUNDS)  # rules ask for what they need
    except ValueError as error:
        raise RunError(
            f"--stop {text} has no validation split to look at. Keep rows for it with "
            "--num-validation."
        ) from error
    return found


def network(recipe: Mapping[str, Any], num_classes: int) -> Model:
    """Returns the network of a recipe, for so many classes.

    Args:
      recipe: its settings by name.
      num_classes: C.
    """
    names = {"resnet18": ("width", "dropout", "dtype"), "mlp": ("width", "dropout")}
    extra = {name: recipe[name] for name in names.get(recipe["model"], ())}
    if recipe["model"] == "mlp":
        extra["hidden"] = (extra.pop("width"),)
    return models.build(recipe["model"], num_classes, **extra)
