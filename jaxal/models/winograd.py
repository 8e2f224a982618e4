"""3 x 3 convolution by Winograd's F(2 x 2, 3 x 3): 16 products where 36 would be.

Outputs are computed in tiles of 2 x 2 from tiles of 4 x 4 inputs: with the matrices
below `Y = A' [(G g G') * (B' d B)] A`, and over a whole batch each of the 16 entries
of the elementwise product is one matrix product of tiles x channels by channels x
features. Entries are plus or minus one and a half: it rounds like the direct sum.

Reference:
  Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016,
  https://arxiv.org/abs/1509.09308
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxal.models.blocks import (
    block_rows,
    contract_rows,
    map_and_sum_blocks,
    map_blocks,
)

INPUTS = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])  # B'
KERNEL = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])  # G
OUTPUTS = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])  # A'

MIN_SIZE = 8  # below, the transformed kernel outweighs what the products save
MIN_CHANNELS = 8


def applies(inputs: Array, kernel: Array, stride: int, padding: str) -> bool:
    """Whether `convolve` can compute this convolution, and should."""
    height, width = inputs.shape[1:3]
    is_even = height % 2 == 0 and width % 2 == 0
    is_large = min(height, width) >= MIN_SIZE and min(kernel.shape[2:]) >= MIN_CHANNELS
    is_plain = stride == 1 and padding == "SAME" and kernel.shape[:2] == (3, 3)
    return is_plain and is_even and is_large


def convolve(inputs: Array, kernel: Array) -> Array:
    """`conv2d` of `[B, H, W, channels]`, H and W even, stride 1, padding "SAME"."""
    weights = _transform_kernel(kernel)

    def block(x: Array) -> Array:
        tiles = _transform_inputs(x)
        products = [t @ w for t, w in zip(tiles, weights, strict=True)]
        return _transform_outputs(products)

    return map_blocks(block, inputs, block_rows(inputs, weights))


def vjp(inputs: Array, kernel: Array, cotangent: Array) -> tuple[Array, Array]:
    """Gradients of `convolve` with respect to inputs and kernel."""
    weights = _transform_kernel(kernel)

    def block(x: Array, dy: Array) -> tuple[Array, Array]:
        tiles, d_products = _transform_inputs(x), _transpose_outputs(dy)
        d_tiles = [d @ w.T for d, w in zip(d_products, weights, strict=True)]
        d_weights = [
            contract_rows(t, d) for t, d in zip(tiles, d_products, strict=True)
        ]
        return _transpose_inputs(d_tiles), jnp.stack(d_weights)

    size = block_rows(inputs, weights)
    d_inputs, d_weights = map_and_sum_blocks(block, (inputs, cotangent), size)
    return d_inputs, _transpose_kernel(d_weights)


def _combine(coefficients: np.ndarray, terms: Sequence[Array]) -> Array:
    """A sum of terms with known coefficients, most of them zero, one or minus one."""
    pairs = [(c, t) for c, t in zip(coefficients, terms, strict=True) if c != 0]
    # A positive coefficient first, so that the sum starts without a negation.
    pairs.sort(key=lambda pair: -pair[0])
    total = pairs[0][1] if pairs[0][0] > 0 else -pairs[0][1]
    for coefficient, term in pairs[1:]:
        total = total + term if coefficient > 0 else total - term
    return total


def _transform_inputs(x: Array) -> list[Array]:
    """`[b, H, W, channels]` to 16 arrays `[b, H/2, W/2, channels]`."""
    height, width = x.shape[1:3]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows = [padded[:, i : i + height - 1 : 2] for i in range(4)]
    tiles = []
    for a in range(4):
        row = _combine(INPUTS[a], rows)
        columns = [row[:, :, j : j + width - 1 : 2] for j in range(4)]
        tiles += [_combine(INPUTS[b], columns) for b in range(4)]
    return tiles


def _transpose_inputs(tiles: Sequence[Array]) -> Array:
    """The transpose of `_transform_inputs`."""
    rows = [_overlap(tiles[4 * a : 4 * a + 4], 2) for a in range(4)]
    return _overlap(rows, 1)


def _overlap(tiles: Sequence[Array], axis: int) -> Array:
    """Adds tiles of four up where they overlap by two; inputs start at the second."""
    first, second, third, fourth = (_combine(INPUTS[:, i], tiles) for i in range(4))
    return _interleave(
        [second + _shift(fourth, axis, 1), third + _shift(first, axis, -1)], axis
    )


def _shift(x: Array, axis: int, by: int) -> Array:
    """Moves entries one place along `axis`, zero comes in."""
    pads = [(0, 0, 0)] * x.ndim
    pads[axis] = (by, -by, 0)
    return lax.pad(x, jnp.zeros((), x.dtype), pads)


def _interleave(parts: Sequence[Array], axis: int) -> Array:
    shape = list(parts[0].shape)
    shape[axis] *= len(parts)
    return jnp.stack(parts, axis + 1).reshape(shape)


def _transform_outputs(products: Sequence[Array]) -> Array:
    """16 arrays `[b, H/2, W/2, features]` to `[b, H, W, features]`."""
    rows = []
    for r in range(2):
        row = [_combine(OUTPUTS[r], products[b::4]) for b in range(4)]
        rows.append(_interleave([_combine(OUTPUTS[c], row) for c in range(2)], 2))
    return _interleave(rows, 1)


def _transpose_outputs(dy: Array) -> list[Array]:
    """The transpose of `_transform_outputs`."""
    rows = [dy[:, r::2] for r in range(2)]
    products = []
    for a in range(4):
        row = _combine(OUTPUTS[:, a], rows)
        columns = [row[:, :, c::2] for c in range(2)]
        products += [_combine(OUTPUTS[:, b], columns) for b in range(4)]
    return products


def _transform_kernel(kernel: Array) -> Array:
    """`[3, 3, channels, features]` to `[16, channels, features]`."""
    g = jnp.asarray(KERNEL, kernel.dtype)
    weights = jnp.einsum("ai,bj,ijcf->abcf", g, g, kernel)
    return weights.reshape(16, *kernel.shape[2:])


def _transpose_kernel(weights: Array) -> Array:
    """The transpose of `_transform_kernel`."""
    g = jnp.asarray(KERNEL, weights.dtype)
    square = weights.reshape(4, 4, *weights.shape[1:])
    return jnp.einsum("ai,bj,abcf->ijcf", g, g, square)
