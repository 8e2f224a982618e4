"""Coverage, clusters and determinants one pick at a time, in float64, with loops."""

import numpy as np


def rows_of(x, kernel="rbf", is_normalized=True):
    """Returns the rows a kernel sees, in float64."""
    x = np.asarray(x, np.float64)
    if kernel == "linear" or (kernel == "rbf" and not is_normalized):
        return x
    norms = np.linalg.norm(x, axis=-1, keepdims=True)
    return np.where(norms > 0, x / np.where(norms > 0, norms, 1), 0)


def gram(x, y, kernel="rbf", bandwidth=1.0):
    """Returns similarities `[N, M]` of rows that `rows_of` has made."""
    if kernel == "rbf":
        distances = np.sum((x[:, None] - y[None]) ** 2, axis=-1)
        return np.exp(-distances / bandwidth**2)
    return (1 + x @ y.T) / 2 if kernel == "cosine" else x @ y.T


def _first(values):
    return np.flatnonzero(values >= values.max() - 1e-12)[0]


def greedy(value_of, is_available, batch_size, choose=_first):
    """Returns the greedy picks of a set function, and their gains."""
    picks, gains = [], []
    now = value_of([])
    for _ in range(batch_size):
        found = np.full(len(is_available), -np.inf)
        for row in np.flatnonzero(is_available):
            if row not in picks:
                found[row] = value_of([*picks, int(row)]) - now
        picks.append(int(choose(found)))
        gains.append(found[picks[-1]])
        now += gains[-1]
    return picks, gains


def coverage(k, picks, is_used, is_labelled, weights):
    """Returns `mean_n w_n max_s k(n, s)`, the mean over used rows."""
    members = list(np.flatnonzero(is_labelled)) + list(picks)
    best = np.zeros(len(k))
    for member in members:
        best = np.maximum(best, k[:, member])
    return np.sum((weights * best)[is_used]) / np.sum(is_used)


def max_herding(x, is_available, is_labelled, batch_size, weights=None, **settings):
    """Greedy generalised coverage; `settings` as of `gram`."""
    rows = rows_of(x, settings.get("kernel", "rbf"))
    k = gram(rows, rows, **settings)
    weights = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    is_used = is_available | is_labelled

    def value_of(picks):
        return coverage(k, picks, is_used, is_labelled, weights)

    return greedy(value_of, is_available, batch_size)


def lcmd(x, is_available, is_labelled, batch_size):
    """Largest cluster, maximum distance; the first centre has the largest norm."""
    x = np.asarray(x, np.float64)
    centres, picks = list(np.flatnonzero(is_labelled)), []
    for _ in range(batch_size):
        scores = np.full(len(x), -np.inf)
        if not centres:
            scores = np.sum(x**2, axis=-1)
        else:
            distances = np.stack([np.sum((x - x[c]) ** 2, -1) for c in centres])
            own, nearest = distances.argmin(0), distances.min(0)
            sizes = [nearest[is_available & (own == c)].sum() for c in range(len(own))]
            is_in = own == int(np.argmax(sizes))
            scores[is_in] = nearest[is_in]
        scores[~is_available] = -np.inf
        scores[picks] = -np.inf
        picks.append(int(np.argmax(scores)))
        centres.append(picks[-1])
    return picks


def frank_wolfe(x, is_available, batch_size):
    """Sparse approximation of the sum of the available rows, rows picked once."""
    x = np.asarray(x, np.float64)
    norms = np.linalg.norm(x, axis=-1)
    whole, total = x[is_available].sum(0), norms[is_available].sum()
    part, picks = np.zeros(x.shape[-1]), []
    for _ in range(batch_size):
        scores = (x / norms[:, None]) @ (whole - part)
        scores[~is_available] = -np.inf
        scores[picks] = -np.inf
        picks.append(int(np.argmax(scores)))
        vertex = total * x[picks[-1]] / norms[picks[-1]]
        line = vertex - part
        part = part + line * (line @ (whole - part)) / (line @ line)
    return picks


def max_det(x, is_available, is_labelled, batch_size, noise):
    """Rows of the largest variance given labelled rows and earlier picks."""
    x = np.asarray(x, np.float64)
    known, picks, variances = list(np.flatnonzero(is_labelled)), [], []
    for _ in range(batch_size):
        values = np.full(len(x), -np.inf)
        for n in np.flatnonzero(is_available):
            if n not in picks:
                among = x[known] @ x[known].T + noise**2 * np.eye(len(known))
                across = x[known] @ x[n]
                left = across @ np.linalg.solve(among, across) if known else 0.0
                values[n] = x[n] @ x[n] + noise**2 - left
        picks.append(int(np.argmax(values)))
        variances.append(values[picks[-1]])
        known.append(picks[-1])
    return picks, variances


class Similarities:
    """Similarities among pool, query and private rows, and functions of picks."""

    def __init__(self, x, query, private, labelled, used, kernel="cosine"):
        rows = [rows_of(some, kernel) for some in (x, query, private)]
        self.pool = gram(rows[0], rows[0], kernel, 1.0)
        self.to_query = gram(rows[0], rows[1], kernel, 1.0)
        self.to_private = gram(rows[0], rows[2], kernel, 1.0)
        self.query = gram(rows[1], rows[1], kernel, 1.0)
        self.private = gram(rows[2], rows[2], kernel, 1.0)
        self.labelled, self.used = list(labelled), list(used)

    def facility(self, picks):
        members = self.labelled + picks
        return [max([0, *self.pool[n, members]]) for n in self.used]

    def fl(self, picks):
        return np.mean(self.facility(picks))

    def flcg(self, picks, nu):
        known = self.to_private[self.used].max(1)
        return np.mean(np.maximum(self.facility(picks) - nu * known, 0))

    def flvmi(self, picks, eta):
        wanted = self.to_query[self.used].max(1)
        return np.mean(np.minimum(self.facility(picks), eta * wanted))

    def flcmi(self, picks, eta, nu):
        wanted = self.to_query[self.used].max(1)
        known = self.to_private[self.used].max(1)
        both = np.minimum(self.facility(picks), eta * wanted) - nu * known
        return np.mean(np.maximum(both, 0))

    def flqmi(self, picks, eta):
        members = self.labelled + picks
        covered = self.to_query[members].max(0).sum() if members else 0.0
        return covered + eta * sum(self.to_query[a].max() for a in picks)

    def gc(self, picks, trade_off):
        members = self.labelled + picks
        whole = self.pool[np.ix_(self.used, members)].sum()
        return whole - trade_off * self.pool[np.ix_(members, members)].sum()

    def gccg(self, picks, trade_off, nu):
        members = self.labelled + picks
        known = self.to_private[members].sum()
        return self.gc(picks, trade_off) - 2 * trade_off * nu * known

    def gcmi(self, picks, trade_off):
        return 2 * trade_off * self.to_query[picks].sum()

    def logdet(self, picks, ridge, known=None, strength=1.0):
        """Log-determinant given labelled rows, then given `known`, "query" say."""
        ground = self.pool + ridge * np.eye(len(self.pool))
        blocks = {"query": self.to_query, "private": self.to_private}
        across = blocks[known] if known else np.zeros((len(ground), 0))
        among = getattr(self, known) if known else np.zeros((0, 0))
        among = among + ridge * np.eye(len(among))
        if self.labelled:
            inner = ground[np.ix_(self.labelled, self.labelled)]
            rows, far = self.pool[:, self.labelled], across[self.labelled]
            left = np.linalg.solve(inner, rows.T)
            ground = ground - rows @ left
            among = among - far.T @ np.linalg.solve(inner, far)
            across = across - left.T @ far
        inside = ground[np.ix_(picks, picks)]
        if known:
            some = across[picks]
            inside = inside - strength**2 * some @ np.linalg.solve(among, some.T)
        return np.linalg.slogdet(inside)[1] if picks else 0.0
