"""Rows on a plane, for people to look at."""

from collections.abc import Sequence

import numpy as np

from jaxal.report.page.html import element, text

SIDE = 1000  # of the square that rows are placed in


def placed(inputs: np.ndarray, kind: str) -> np.ndarray:
    """Returns where rows are on a plane, `[N, 2]` whole numbers in 0 to `SIDE`.

    Args:
      inputs: `[N, ...]`, flattened; columns are standardised, those that are equal in
        all rows left out.
      kind: pca, or tsne, which keeps neighbours together and says nothing of distances.

    Example:
      >>> import numpy as np
      >>> from jaxal.report.page.maps import placed
      >>> placed(np.array([[0.0], [1.0], [3.0]]), "pca")[:, 0].tolist() in (
      ...     [0, 333, 1000], [1000, 667, 0])
      True
    """
    flat = np.asarray(inputs, np.float64).reshape(len(inputs), -1)
    spread = flat.std(0)
    scaled = (flat - flat.mean(0))[:, spread > 0] / spread[spread > 0]
    points = _tsne(scaled) if kind == "tsne" and len(flat) > 3 else _pca(scaled)
    low, high = points.min(0), points.max(0)
    width = np.where(high > low, high - low, 1)
    return np.rint(SIDE * (points - low) / width).astype(int)


def html(sides: Sequence[str], kind: str) -> str:
    """Returns where a map is drawn, by the page's script, and what moves it."""
    what = {"pca": "two principal components", "tsne": "t-SNE"}[kind]
    options = [text("option", name, value=i) for i, name in enumerate(sides)]
    choice = element("label", "side ", element("select", *options, class_="side"))
    slider = '<input type="range" class="round" min="0" value="0"> <output></output>'
    swatches = [
        text("span", said, class_=name)
        for name, said in (
            ("pool", "other rows"),
            ("initial", "initial set"),
            ("early", "bought early"),
            ("late", "bought late"),
        )
    ]
    return text("h3", f"Where they lie ({what} of the inputs)") + element(
        "div",
        element("p", choice, element("label", " up to round ", slider)),
        f'<svg class="map" viewBox="-20 -20 {SIDE + 40} {SIDE + 40}" role="img" '
        'aria-label="Map of rows"></svg>',
        element("p", *swatches, class_="legend"),
        class_="mapped",
    )


def _pca(x: np.ndarray) -> np.ndarray:
    """The first two principal components, zeros where there are fewer."""
    found = np.zeros((len(x), 2))
    if x.size:
        # Of the smaller Gram matrix: columns may be thousands of pixels.
        is_wide = x.shape[1] > x.shape[0]
        values, vectors = np.linalg.eigh(x @ x.T if is_wide else x.T @ x)
        first = vectors[:, ::-1][:, :2]
        scale = np.sqrt(np.maximum(values[::-1][:2], 0))
        whole = first * scale if is_wide else x @ first
        found[:, : whole.shape[1]] = whole
    return found


def _tsne(x: np.ndarray) -> np.ndarray:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if min(x.shape) > 50:
        x = PCA(50, random_state=0).fit_transform(x)
    perplexity = min(30.0, (len(x) - 1) / 3)
    made = TSNE(init="pca", random_state=0, perplexity=perplexity)
    return made.fit_transform(x.astype(np.float32))
