"""Comparisons for `test_inline` of what chapter 10 writes itself with the VAE's divergence and the field of words."""

import torch

from minildm.models.vae import divergence
from minildm.studies import ch10_rectification, ch10_word_field

from .inline import inline, normal, uniform


def words(rng: torch.Generator) -> ch10_word_field.WordDistribution:
    """Five words of one width a channel, in three channels."""
    variances = (normal(rng, 3).exp() / 4).expand(5, -1)
    return ch10_word_field.WordDistribution(
        normal(rng, 5).log_softmax(0), 2 * normal(rng, 5, 3), variances, torch.arange(5)
    )


@inline("10", "kl_by_hand")
def nats_of_a_channel(kl_by_hand, rng):
    mean, std = normal(rng, 4, 3), normal(rng, 4, 3).exp()
    return kl_by_hand(mean, std), divergence(mean, std)


@inline("10", "word_field")
def field_to_words(word_field, rng):
    mixture, z, t = (
        words(rng),
        normal(rng, 4, 3),
        torch.tensor(uniform(rng, 0.1, 0.9), dtype=torch.float64),
    )
    return word_field(mixture)(z, t), ch10_word_field.word_velocity(mixture)(z, t)


@inline("10", "jacobian_by_hand")
def jacobian_of_the_field_to_words(jacobian_by_hand, rng):
    mixture, z, t = (
        words(rng),
        normal(rng, 3),
        torch.tensor(uniform(rng, 0.1, 0.9), dtype=torch.float64),
    )
    return jacobian_by_hand(mixture, z, t), ch10_word_field.word_jacobian(mixture, z[None], t)[0]


@inline("10", "euler_product")
def width_by_euler(euler_product, rng):
    std = torch.tensor(uniform(rng, 0.1, 1.0), dtype=torch.float64)
    return euler_product(std, 12), ch10_rectification.euler_std(std, 12)
