"""Committees of different members: networks, functions, classifiers of others."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxal.metrics import metrics_of
from jaxal.posteriors.networks import by_members, deep_ensemble
from jaxal.training.learner import supervised
from jaxal.training.tasks import FitInfo, evaluator
from jaxal.types import Learner, Model, Output, Pool, Posterior, Variables

Member = Model | Callable[[Array], Array]


class Committee(NamedTuple):
    """Two halves of one thing: how members are trained, and what they say."""

    learner: Learner
    posterior: Posterior


class CommitteeFit(NamedTuple):
    """Fits of several members under way."""

    members: tuple[Any, ...]  # a FitState each, () for a member that does not learn
    num_steps: Array  # [] int32, of the longest


def committee(members: Sequence[Member]) -> Posterior:
    r"""Returns the posterior whose samples are the answers of different members.

    A member is a `Model` with variables of its own, or a function that gives
    probabilities and has none: a rule, an older network, a physical model. Votes are
    equal, and the prediction is the mean of the probabilities; its features are those
    of the first network.

    Args:
      members: networks, and functions from `[B, ...]` inputs to `[B, C]` probabilities
        that JAX can trace. Classifiers it cannot trace: `classifier_view`.

    Returns:
      A `Posterior` of `len(members)` samples; its variables are a tuple, one entry a
      member, `{}` for a function.

    Raises:
      ValueError: there are fewer than two members.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxal import committee
      >>> from jaxal.models import logistic_regression
      >>> coin = lambda inputs: jnp.full([inputs.shape[0], 2], 0.5)
      >>> network = logistic_regression(2)
      >>> inputs = jnp.ones([3, 4])
      >>> variables = (network.init(jax.random.key(0), inputs), {})
      >>> posterior = committee([network, coin])
      >>> posterior.sample(jax.random.key(1), variables, inputs).logits.shape
      (2, 3, 2)

    Reference:
      Seung, Opper and Sompolinsky, "Query by Committee", COLT 1992.
      https://doi.org/10.1145/130385.130417
    """
    members = tuple(members)
    if len(members) < 2:
        raise ValueError(
            f"There are {len(members)} members, expected at least 2. For a single "
            "network use deterministic(model)."
        )

    def every(variables: Sequence[Variables], inputs: Array) -> Output:
        _check_variables(members, variables)
        pairs = zip(members, variables, strict=True)
        outputs = [_answer(member, own, inputs) for member, own in pairs]
        _check_classes(outputs)
        features = [o.features for o in outputs if o.features is not None]
        logits = jnp.stack([output.logits for output in outputs])
        return Output(logits, features[0] if features else None)

    return by_members(len(members), every)


def committee_learner(
    posterior: Posterior,
    learners: Sequence[Learner | None],
    *,
    eval_chunk_size: int = 512,
) -> Learner:
    """Returns the learner that trains each member of a committee its own way.

    Args:
      posterior: of `committee(members)`, for metrics.
      learners: one a member, as `supervised(model)`; None for a function.
      eval_chunk_size: rows evaluated together.

    Returns:
      A `Learner` whose state is the tuple of variables that the posterior takes. Its
      `FitInfo` has the mean of the losses and the largest number of steps.

    Raises:
      ValueError: there is not one entry a member, or nobody learns.

    Example:
      >>> from jaxal import committee, committee_learner, supervised
      >>> from jaxal.models import logistic_regression, mlp
      >>> networks = [logistic_regression(2), mlp(2)]
      >>> learners = [supervised(network) for network in networks]
      >>> learner = committee_learner(committee(networks), learners)
    """
    learners = tuple(learners)
    _check_learners(posterior, learners)
    taught = [i for i, learner in enumerate(learners) if learner is not None]
    students = [learner for learner in learners if learner is not None]
    task = next((s.task for s in students if s.task is not None), None)
    capacities = [s.capacity for s in students if s.capacity is not None]

    def each(fn: Callable[..., Any], *trees: Any) -> tuple[Any, ...]:
        """Applies `fn(learner, ...)` to those who learn, {} for the others."""
        rows = zip(learners, *trees, strict=True)
        return tuple(fn(*row) if row[0] is not None else {} for row in rows)

    def keys(key: Array) -> Array:
        return jax.random.split(key, len(learners))

    def init(key: Array, inputs: Array) -> tuple[Any, ...]:
        return each(lambda learner, k: learner.init(k, inputs), keys(key))

    def fit(key: Array, state: Any, pool: Pool) -> tuple[Any, FitInfo]:
        found = each(lambda one, k, own: one.fit(k, own, pool), keys(key), state)
        return _summed(found, taught)

    def start(key: Array, state: Any, pool: Pool) -> CommitteeFit:
        fits = each(lambda one, k, own: one.start(k, own, pool), keys(key), state)
        steps = jnp.stack([jnp.max(fits[i].num_steps) for i in taught])
        return CommitteeFit(fits, steps.max())

    def advance(state: CommitteeFit, pool: Pool, num_steps: Array | int) -> Any:
        fits = each(lambda one, own: one.advance(own, pool, num_steps), state.members)
        return state._replace(members=fits)

    def finish(state: CommitteeFit, pool: Pool) -> tuple[Any, FitInfo]:
        found = each(lambda one, own: one.finish(own, pool), state.members)
        return _summed(found, taught)

    evaluate = evaluator(posterior.network, metrics_of(task), eval_chunk_size)
    capacity = min(capacities) if capacities else None
    keeps = any(student.keeps for student in students)
    learner = Learner(init, fit, evaluate, capacity=capacity, task=task, keeps=keeps)
    if any(student.start is None for student in students):
        return learner
    return learner._replace(start=start, advance=advance, finish=finish)


def bootstrap_ensemble(
    model: Model, *args: Any, members: int = 5, **settings: Any
) -> Committee:
    """Returns an ensemble whose members each see a bootstrap sample of the labels.

    A member is trained on L draws with replacement from the L labelled rows, from its
    own initial weights: members disagree where the labels would let them.

    Args:
      model: the network every member has.
      *args: passed on to `supervised`.
      members: how many there are, at least 2.
      **settings: passed on to `supervised`.

    Returns:
      A `Committee` of learner and posterior, for `active_learner`.

    Raises:
      ValueError: a setting is out of its range.

    Example:
      >>> from jaxal import bootstrap_ensemble
      >>> from jaxal.models import logistic_regression
      >>> bagged = bootstrap_ensemble(logistic_regression(2), members=3, epochs=10)
      >>> bagged.posterior.num_samples
      3

    Reference:
      Breiman, "Bagging Predictors", Machine Learning 1996.
      https://doi.org/10.1007/BF00058655. As a committee: Abe and Mamitsuka, "Query
      Learning Strategies Using Boosting and Bagging", ICML 1998.
    """
    learner = supervised(model, *args, members=members, bootstrap=True, **settings)
    posterior = deep_ensemble(model, members, combine=learner.task.combine)
    return Committee(learner, posterior)


def _answer(member: Member, variables: Variables, inputs: Array) -> Output:
    if isinstance(member, Model):
        return member.apply(variables, inputs)[0]
    return Output(jnp.log(jnp.asarray(member(inputs), jnp.float32)))


def _summed(found: Sequence[Any], taught: Sequence[int]) -> tuple[Any, FitInfo]:
    """Splits pairs of variables and infos, and makes one info of them all."""
    infos = [found[i][1] for i in taught]
    state = tuple(found[i][0] if i in taught else {} for i in range(len(found)))
    loss = jnp.stack([info.loss for info in infos]).mean()
    steps = jnp.stack([info.num_steps for info in infos]).max()
    are_sound = [jnp.asarray(getattr(info, "is_sound", True)).all() for info in infos]
    worst = jnp.argmin(jnp.stack(are_sound))
    final, naive = (
        jnp.stack([jnp.asarray(getattr(info, name, jnp.nan)) for info in infos])[worst]
        for name in ("final_loss", "naive_loss")
    )
    is_sound = jnp.stack(are_sound).all()
    return state, FitInfo(loss, steps, infos[0].num_labelled, is_sound, final, naive)


def _check_variables(members: Sequence[Member], variables: Any) -> None:
    if not isinstance(variables, Sequence) or len(variables) != len(members):
        got = type(variables).__name__
        size = f" of {len(variables)}" if isinstance(variables, Sequence) else ""
        raise ValueError(
            f"variables is a {got}{size}, expected a tuple of {len(members)}, one "
            "entry a member. Train with committee_learner(posterior, learners)."
        )


def _check_classes(outputs: Sequence[Output]) -> None:
    shapes = [list(output.logits.shape) for output in outputs]
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError(
            f"Members answer in shapes {shapes}, expected [B, C] with the same "
            "classes. Give each as many outputs, zero for a class it does not know."
        )


def _check_learners(posterior: Posterior, learners: Sequence[Learner | None]) -> None:
    if len(learners) != posterior.num_samples:
        raise ValueError(
            f"There are {len(learners)} learners for {posterior.num_samples} members. "
            "Pass one each, None for a function."
        )
    if all(learner is None for learner in learners):
        raise ValueError("Nobody learns. Pass a learner for at least one member.")
