"""Comparisons for `test_inline` of what chapter 11 writes itself with the layers and operators of minildm.nets."""

from minildm.nets import layers, operators

from .inline import inline, normal


@inline("11", "turn", close=1e-4)  # the package's angles are in float32
def turned_by_positions(turn, rng):
    x, positions = normal(rng, 5, 8), 30 * normal(rng, 5)
    return turn(x, positions), layers.rotate(x, layers.rotary_angles(positions, 8))


@inline("11", "near_words")
def neighbors_mixed(near_words, rng):
    layer, x = (
        layers.ShortConvolution(3, before=2, after=1).double().requires_grad_(False),
        normal(rng, 7, 3),
    )
    layer.kernel.copy_(normal(rng, 4, 3))
    return near_words(x, layer.kernel, 2), layer(x)


@inline("11", "softmax_with_weights", close=1e-6)
def attention_with_weights(softmax_with_weights, rng):
    made, x, positions = (
        operators.AttentionOperator(8, 1).double().requires_grad_(False),
        normal(rng, 5, 8),
        normal(rng, 5),
    )
    weights, angles = normal(rng, 5).softmax(0), layers.rotary_angles(positions, 8)
    q, k = (
        layers.rotate(norm(y), angles)
        for norm, y in zip(made.norms, made.query_key(x).chunk(2, dim=-1))
    )
    return made.out(softmax_with_weights(q, k, made.value(x), weights)), made(
        x[None], positions, weights[None]
    )[0]
