"""What learners make of random labels by default, next to scikit-learn, in one run.

    python benchmarks/learners.py --json out.json --markdown out.md
    python benchmarks/learners.py --data digits mine.npz --labels 20 100 --seeds 10

Each data set (a table of scikit-learn, or an `.npz` of `x, y, x_test, y_test`) is a
pool of which some rows are labelled at random, the same for everybody. Targets that are
floating-point numbers make a regression. Seconds are those of a fit alone; jaxal's
first one, which compiles, is told apart.
"""

import argparse
import pathlib
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

_HERE = pathlib.Path(__file__).resolve()
sys.path[:0] = [str(_HERE.parent), str(_HERE.parents[1])]

import harness  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import tables  # noqa: E402
from learners_page import page  # noqa: E402

import jaxal  # noqa: E402
from jaxal.models import build  # noqa: E402
from jaxal.pools.mapping import map_rows  # noqa: E402

TABLES = ("breast_cancer", "diabetes", "digits", "iris", "wine")
_TEST_SHARE = 0.4
_UNSEEN = 1e-3  # probability of a class without rows
_WIDTHS = {"data": 14, "learner": 28}


class Data(NamedTuple):
    """A pool and its test rows."""

    name: str
    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    @property
    def is_regression(self) -> bool:
        return np.issubdtype(self.y.dtype, np.floating)

    @property
    def num_classes(self) -> int:
        return int(max(self.y.max(), self.y_test.max())) + 1


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="*", default=list(TABLES), help="names, files")
    parser.add_argument("--labels", nargs="*", type=int, default=[20, 50, 100, 500])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--learners", nargs="*", help="parts of names; all by default")
    parser.add_argument("--json", type=pathlib.Path, help="a file for all numbers")
    parser.add_argument("--markdown", type=pathlib.Path, help="a file for the table")
    return parser.parse_args(arguments)


def load(name: str) -> Data:
    """Returns a table of scikit-learn, split at random, or a file as it is."""
    if name not in TABLES:
        with np.load(name) as file:
            arrays = [file[key] for key in Data._fields[1:]]
        return Data(pathlib.Path(name).stem, *arrays)
    from sklearn import datasets

    table = getattr(datasets, f"load_{name}")()
    order = np.random.default_rng(0).permutation(len(table.target))
    cut = int(len(order) * _TEST_SHARE)
    rows = (order[cut:], order[:cut])
    kind = np.float32 if name == "diabetes" else np.int32
    parts = [
        (table.data[r].astype(np.float32), table.target[r].astype(kind)) for r in rows
    ]
    return Data(name, *parts[0], *parts[1])


def learners(data: Data, count: int) -> dict[str, Callable]:
    """Returns jaxal's, by default, as functions of labelled rows to test outputs."""
    capacity = {"capacity": count}
    if data.is_regression:
        solved = {
            "ridge_head": jaxal.ridge_head(**capacity),
            "gaussian_process_head": jaxal.gaussian_process_head(**capacity),
        }
        task, size = {"task": jaxal.least_squares}, 1
    else:
        size, task = data.num_classes, {}
        solved = {"logistic_head": jaxal.logistic_head(size, **capacity)}
        if data.x.ndim == 2:
            process = jaxal.gaussian_process_classifier_head(size, **capacity)
            solved["gaussian_process_classifier_head"] = process
    names = ("gal_cnn",) if data.x.ndim == 4 else ("mlp",)
    networks = {name: build(name, size) for name in names}
    made = {name: (head.model, head.learner) for name, head in solved.items()} | {
        name: (network, jaxal.supervised(network, **capacity, **task))
        for name, network in networks.items()
    }
    return {f"jaxal {name}": _of_learner(*pair, data) for name, pair in made.items()}


def _of_learner(model: Any, learner: Any, data: Data) -> Callable:
    fit = jax.jit(learner.fit)
    x_test = jnp.asarray(data.x_test)
    ask = jax.jit(lambda v: map_rows(lambda x: model.apply(v, x)[0].logits, x_test))

    def run(rows: np.ndarray) -> tuple[np.ndarray, float]:
        unknown = np.nan if data.is_regression else -1
        known = np.full_like(data.y, unknown)
        known[rows] = data.y[rows]
        make = jaxal.regression_pool if data.is_regression else jaxal.make_pool
        pool = make(data.x, known, mesh=jaxal.pool_mesh(jax.devices()[:1]))
        state = learner.init(jax.random.key(0), pool.inputs[:1])
        (state, _), seconds = harness.timed(fit, jax.random.key(0), state, pool)
        return np.asarray(ask(state)), seconds

    return run


def peers(data: Data, count: int) -> dict[str, Callable]:
    """Returns scikit-learn's, each chosen by its own cross-validation."""
    from sklearn import ensemble, gaussian_process, linear_model, neural_network, svm
    from sklearn.model_selection import GridSearchCV, KFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    table, grid = StandardScaler, {"svc__C": [0.1, 1, 10, 100]}
    if data.is_regression:
        kernels = gaussian_process.kernels
        lengths = np.full(data.x.shape[1], 3.0)
        kernel = kernels.ConstantKernel() * kernels.Matern(lengths, (1e-1, 1e4), nu=2.5)
        process = gaussian_process.GaussianProcessRegressor(
            kernel + kernels.WhiteKernel(0.1), normalize_y=True
        )
        made = {
            "RidgeCV": lambda: linear_model.RidgeCV(np.logspace(-4, 4, 17)),
            "GP, Matern": lambda: process,
            "RandomForest": lambda: ensemble.RandomForestRegressor(random_state=0),
            "MLP": lambda: neural_network.MLPRegressor(max_iter=2000, random_state=0),
        }
        if count > 200 or data.x[0].size > 50:
            del made["GP, Matern"]  # minutes
        return {
            f"sklearn {name}": _of_peer(
                lambda m=make: make_pipeline(table(), m()), data
            )
            for name, make in made.items()
        }

    def search(model: Any, grid: dict, scoring: Callable | None = None) -> Any:
        # Not stratified: of some classes there is a single row.
        folds = KFold(5, shuffle=True, random_state=0)
        return GridSearchCV(model, grid, cv=folds, scoring=scoring)

    def logistic() -> Any:
        model = linear_model.LogisticRegression(max_iter=1000)
        return search(model, {"C": np.logspace(-4, 4, 10)}, _likelihood)

    made = {
        "LogisticRegression, one": lambda: make_pipeline(_OneNumber(), logistic()),
        "LogisticRegression, columns": lambda: make_pipeline(table(), logistic()),
        "SVC": lambda: search(make_pipeline(table(), svm.SVC()), grid),
        "RandomForest": lambda: ensemble.RandomForestClassifier(random_state=0),
        "MLP": lambda: make_pipeline(
            table(), neural_network.MLPClassifier(max_iter=1000, random_state=0)
        ),
    }
    return {f"sklearn {name}": _of_peer(make, data) for name, make in made.items()}


def _likelihood(model: Any, x: np.ndarray, y: np.ndarray) -> float:
    """Mean log-likelihood, in which a class that no row of a fold has is unlikely."""
    probs = np.full((len(y), 1 + max(y.max(), model.classes_.max())), _UNSEEN)
    probs[:, model.classes_] = np.maximum(model.predict_proba(x), _UNSEEN)
    return float(np.log(probs[np.arange(len(y)), y]).mean())


class _OneNumber:
    """Centres columns and divides all of them by one number."""

    def fit(self, x: np.ndarray, y: Any = None) -> "_OneNumber":
        self.mean, self.scale = x.mean(0), (x - x.mean(0)).std()
        return self

    def transform(self, x: np.ndarray) -> np.ndarray:
        return (x - self.mean) / self.scale

    def fit_transform(self, x: np.ndarray, y: Any = None) -> np.ndarray:
        return self.fit(x).transform(x)


def _of_peer(make: Callable, data: Data) -> Callable:
    def run(rows: np.ndarray) -> tuple[np.ndarray, float]:
        model = make()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # few rows of a class, few iterations
            start = time.perf_counter()
            model.fit(_flat(data.x[rows]), data.y[rows])
            seconds = time.perf_counter() - start
        if data.is_regression:
            return model.predict(_flat(data.x_test))[:, None], seconds
        logits = np.full((len(data.x_test), data.num_classes), -30.0, np.float32)
        if hasattr(model, "predict_proba"):
            probs = np.maximum(model.predict_proba(_flat(data.x_test)), 1e-13)
            logits[:, model.classes_.astype(int)] = np.log(probs)
        else:  # no probabilities: its answer alone
            logits[np.arange(len(logits)), model.predict(_flat(data.x_test))] = 0
        return logits, seconds

    return run


def _flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1).astype(np.float32)


def judge(data: Data, outputs: np.ndarray, is_sure: bool) -> dict[str, float]:
    """Returns what a table says of test outputs."""
    outputs, truth = jnp.asarray(outputs, jnp.float32), jnp.asarray(data.y_test)
    if data.is_regression:
        found = jaxal.regression_metrics(outputs, truth.astype(jnp.float32))
        return {"rmse": float(found.rmse), "nll": float(found.nll)}
    found = jaxal.classification_metrics(outputs, truth)
    accuracy = {"accuracy": 100 * float(found.accuracy)}
    if is_sure:
        return accuracy | {"nll": np.nan, "ece": np.nan}
    return accuracy | {"nll": float(found.nll), "ece": float(found.ece)}


def measure(data: Data, count: int, options: argparse.Namespace) -> list[dict]:
    """Returns a row for each learner: means over seeds."""
    results = []
    for name, run in {**learners(data, count), **peers(data, count)}.items():
        if options.learners and not any(part in name for part in options.learners):
            continue
        found, seconds = [], []
        row = {"data": data.name, "labels": count, "learner": name, "status": "ok"}
        for seed in range(options.seeds):
            rows = np.random.default_rng(seed).permutation(len(data.y))[:count]
            try:
                outputs, taken = run(rows)
            except Exception as error:  # whatever a library raises is its result
                row["status"] = harness.failure(error)
                break
            found.append(judge(data, outputs, "SVC" in name))
            seconds.append(taken)
        if found:
            means = {key: float(np.mean([f[key] for f in found])) for key in found[0]}
            later = seconds[1:] if "jaxal" in name and seconds[1:] else seconds
            row |= means | {"seconds": float(np.median(later)), "first": seconds[0]}
            quality = "rmse" if data.is_regression else "accuracy"
            row["all"] = [f[quality] for f in found]
        results.append(row)
    return results


def main(arguments: list[str] | None = None) -> list[dict]:
    """Measures everything asked for; returns the rows."""
    options = parse(arguments)
    header = {**tables.header(), **harness.machine(), "seeds": options.seeds}
    rows: list[dict] = []
    for data in map(load, options.data):
        for count in options.labels:
            if count > len(data.y):
                continue
            for row in measure(data, count, options):
                rows.append(row)
                harness.print_table(
                    [_line(row)], heading=len(rows) == 1, widths=_WIDTHS
                )
            if options.json:  # after each, so that an interrupted run leaves some
                harness.write_json(options.json, header, rows)
    if options.markdown:
        options.markdown.write_text(page(header, rows))
    return rows


def _line(row: dict) -> dict:
    names = ("data", "labels", "learner", "accuracy", "rmse", "nll", "ece", "seconds")
    return {name: row.get(name) for name in names} | {"status": row["status"]}


if __name__ == "__main__":
    main()
