"""Selection by coverage, in float64 with plain loops, as the papers write it."""

import numpy as np


def distances(x) -> np.ndarray:
    """Returns `[N, N]` Euclidean distances by subtraction."""
    x = np.asarray(x, np.float64)
    return np.sqrt(np.sum(np.square(x[:, None] - x[None]), axis=-1))


def nearest_neighbours(x, is_used, num_neighbours, groups):
    """Returns indices and distances, `[N, M]`, of the nearest used rows of a group."""
    between, num_rows = distances(x), len(x)
    indices = np.full((num_rows, num_neighbours), num_rows)
    found = np.full((num_rows, num_neighbours), np.inf)
    for row in np.flatnonzero(is_used):
        others = [
            other
            for other in np.flatnonzero(is_used)
            if other != row and groups[other] == groups[row]
        ]
        others.sort(key=lambda other: (between[row, other], other))
        for place, other in enumerate(others[:num_neighbours]):
            indices[row, place] = other
            found[row, place] = between[row, other]
    return indices, found


def radius_degrees(x, radius, is_used) -> np.ndarray:
    """Returns `[N]` numbers of used rows in the closed ball around each row."""
    return np.sum((distances(x) <= radius) & is_used[None], axis=-1)


def prob_cover(x, is_available, is_labelled, batch_size, radius, choose=np.argmax):
    """Greedy max coverage by balls; returns picks and rows newly covered by each.

    Ends early when no available row covers anything new.
    """
    is_used = is_available | is_labelled
    near = distances(x) <= radius
    uncovered = is_used & ~near[is_labelled].any(axis=0)
    is_open, picks, gains = is_available.copy(), [], []
    for _ in range(batch_size):
        degrees = np.where(is_open, (near & uncovered[None]).sum(axis=-1), -1)
        if degrees.max() <= 0:
            break
        pick = int(choose(degrees))
        picks.append(pick)
        gains.append(int(degrees[pick]))
        is_open[pick] = False
        uncovered &= ~near[pick]
    return picks, gains


def purity(x, groups, is_used, radius) -> float:
    """Returns the part of balls that hold rows of one group only."""
    near = distances(x) <= radius
    rows = np.flatnonzero(is_used)
    pure = [(groups[rows][near[row, rows]] == groups[row]).all() for row in rows]
    return float(np.mean(pure))


def dcom_radius(between, agrees, least, max_radius, num_halvings) -> float:
    """Bisection for the largest radius of a ball that is pure enough."""
    low, high = 0.0, max_radius
    middle = (low + high) / 2
    for _ in range(num_halvings):
        inside = between <= middle
        if inside.any() and agrees[inside].mean() >= least:
            low = middle
        else:
            high = middle
        middle = (low + high) / 2
    return middle


def dcom_competence(covered, centre, steepness) -> float:
    """Returns the logistic function of coverage that is one where all is covered."""
    with np.errstate(over="ignore"):
        scale = 1 + np.exp(-steepness * (1 - centre))
        return float(scale / (1 + np.exp(-steepness * (covered - centre))))


def dcom(
    x,
    is_available,
    is_labelled,
    batch_size,
    *,
    uncertainty,
    labels,
    predictions,
    initial_radius,
    max_radius,
    num_halvings,
    centre,
    steepness,
):
    """Competence times uncertainty plus the rest times density, a pick at a time.

    Returns the picks, what each was worth, and how far ahead of the next row it was.
    """
    between = distances(x)
    is_used = is_available | is_labelled
    labelled = np.flatnonzero(is_labelled)

    def covered_by(radii):
        found = np.zeros(len(x), bool)
        for row, radius in zip(labelled, radii, strict=True):
            found |= between[row] <= radius
        return found & is_used

    first = covered_by([initial_radius] * len(labelled))
    least = 0.2 * first.sum() / max(is_used.sum(), 1) + 0.4
    radii = [
        dcom_radius(
            between[row][is_used],
            (predictions == labels[row])[is_used],
            least,
            max_radius,
            num_halvings,
        )
        for row in labelled
    ]
    covered = covered_by(radii)
    competence = dcom_competence(
        covered.sum() / max(is_used.sum(), 1), centre, steepness
    )
    mean = float(np.mean(radii)) if radii else initial_radius
    near, uncovered = between <= mean, is_used & ~covered
    lowest = uncertainty[is_available].min()
    width = uncertainty[is_available].max() - lowest
    merit = (uncertainty - lowest) / (width if width > 0 else 1)
    is_open, picks, worths, leads = is_available.copy(), [], [], []
    for _ in range(min(batch_size, int(is_available.sum()))):
        degrees = (near & uncovered[None]).sum(axis=-1)
        largest = max(degrees[is_open].max(), 1)
        worth = competence * merit + (1 - competence) * degrees / largest
        worth = np.where(is_open, worth, -1)
        pick = int(np.argmax(worth))
        picks.append(pick)
        worths.append(worth[pick])
        leads.append(worth[pick] - np.delete(worth, pick).max())
        is_open[pick] = False
        uncovered &= ~near[pick]
    return picks, worths, leads


def typiclust(
    x,
    clusters,
    is_available,
    is_labelled,
    batch_size,
    *,
    min_cluster_size,
    num_neighbours,
    asked=(),
):
    """Clusters in turn give their most typical row; returns picks and typicalities.

    Of equal clusters, and of equal rows, that of `asked` which comes first there.
    """
    asked = list(asked)

    def place(rows):
        return min([asked.index(r) for r in rows if r in asked], default=len(x))

    between, is_used = distances(x), is_available | is_labelled
    typicality = np.zeros(len(x))
    for row in np.flatnonzero(is_used):
        mates = np.flatnonzero(is_used & (clusters == clusters[row]))
        near = np.sort(between[row, mates[mates != row]])[:num_neighbours]
        if len(near):
            typicality[row] = 1 / near.mean()
    ids = sorted(set(clusters[is_used]))
    size = {i: int(np.sum(is_used & (clusters == i))) for i in ids}
    seen = {i: int(np.sum(is_labelled & (clusters == i))) for i in ids}
    members = {i: np.flatnonzero(clusters == i).tolist() for i in ids}
    ids.sort(key=lambda i: (seen[i], -size[i], place(members[i]), i))
    picks, is_open = [], is_available.copy()
    for chosen in (
        [i for i in ids if size[i] >= min_cluster_size],
        [i for i in ids if size[i] < min_cluster_size],
    ):
        while any((is_open & (clusters == i)).any() for i in chosen):
            for i in chosen:
                rows = np.flatnonzero(is_open & (clusters == i))
                if len(rows):
                    worth = typicality[rows]
                    best = rows[worth >= worth.max() * (1 - 1e-6)].tolist()
                    pick = min(best, key=lambda row: place([row]))
                    picks.append(pick)
                    is_open[pick] = False
    picks = picks[:batch_size]
    return picks, typicality[picks]


def nearest_rows(x, is_available, points, argmax=np.argmax):
    """Returns the nearest row of each point in turn, no row twice."""
    is_open, picks = is_available.copy(), []
    for point in np.asarray(points, np.float64):
        if not is_open.any():
            break
        squares = np.sum(np.square(np.asarray(x, np.float64) - point), axis=-1)
        pick = int(argmax(np.where(is_open, -squares, -np.inf)))
        picks.append(pick)
        is_open[pick] = False
    return picks


def unit(x) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def active_ft_gradient(points, rows, nearest, temperature, balance) -> np.ndarray:
    """Returns the gradient of the loss by the points as they are, not of unit norm."""
    tips, num = unit(points), len(points)
    slope = np.zeros_like(points)
    for row, c in zip(rows, nearest, strict=True):
        slope[c] -= row / temperature / len(rows)
    for j in range(num):
        others = [k for k in range(num) if k != j]
        share = np.exp(tips[others] @ tips[j] / temperature)
        share /= share.sum()
        for k, part in zip(others, share, strict=True):
            slope[j] += balance / num * part * tips[k] / temperature
            slope[k] += balance / num * part * tips[j] / temperature
    along = np.sum(slope * tips, axis=-1, keepdims=True) * tips
    return (slope - along) / np.linalg.norm(points, axis=-1, keepdims=True)


def active_ft(
    x, is_available, start, *, temperature, balance, rate, num_steps, assign_every
):
    """Adam on points, from rows `start`; returns where the points end."""
    x = unit(np.asarray(x, np.float64))
    rows, points = x[is_available], x[start].copy()
    mean, square = np.zeros_like(points), np.zeros_like(points)
    for step in range(num_steps):
        if step % assign_every == 0:
            nearest = np.argmax(rows @ unit(points).T, axis=-1)
        slope = active_ft_gradient(points, rows, nearest, temperature, balance)
        mean = 0.9 * mean + 0.1 * slope
        square = 0.999 * square + 0.001 * slope**2
        size = np.sqrt(square / (1 - 0.999 ** (step + 1))) + 1e-8
        points = points - rate * mean / (1 - 0.9 ** (step + 1)) / size
    return unit(points)
