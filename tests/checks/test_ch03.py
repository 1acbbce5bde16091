"""Answers to the exercises of chapter 03: wrong ones that its checks must refuse, right ones that they must accept."""

import math

import torch

from minildm.checks import ch03

from .answers import Answers

answers = Answers(ch03)


def gain(F, G, R, P):
    return torch.linalg.solve(R + G.T @ P @ G, G.T @ P @ F)


@answers.wrong(1)
def leaves_the_control_out_of_the_cost(F, G, Q, R, P):
    return gain(F, G, R, P), Q + F.T @ P @ F


@answers.wrong(1)
def forgets_the_curvature_of_the_future(F, G, Q, R, P):
    return torch.linalg.solve(R, G.T @ P @ F), Q + F.T @ P @ F


@answers.wrong(1)
def turns_the_sign_of_the_gain(F, G, Q, R, P):
    K = gain(F, G, R, P)
    return -K, Q + F.T @ P @ (F - G @ K)


@answers.wrong(1)
def forgets_the_cost_of_the_step(F, G, Q, R, P):
    K = gain(F, G, R, P)
    return K, F.T @ P @ (F - G @ K)


@answers.right(1)
def as_a_list_by_the_short_form(F, G, Q, R, P):
    K = gain(F, G, R, P)
    return [K, Q + F.T @ P @ (F - G @ K)]


@answers.right(1)
def by_a_schur_complement_in_single_precision(F, G, Q, R, P):
    F, G, Q, R, P = (x.float() for x in (F, G, Q, R, P))
    n, both = len(F), torch.cat((F, G), dim=1)
    whole = both.T @ P @ both + torch.block_diag(Q, R)
    K = torch.linalg.inv(whole[n:, n:]) @ whole[n:, :n]
    return K, whole[:n, :n] - whole[:n, n:] @ K


def over_time(y, z, left):
    return (y - z) / left.view(-1, *[1] * (z.ndim - 1))


@answers.wrong(2)
def divides_along_the_last_dimension(y, z, t, c, tau):
    left = (1 / c + 1 - t).clamp(min=tau)
    return (
        (y - z) / left if left.shape[0] == z.shape[-1] else over_time(y, z, left[:1].expand(len(z)))
    )


@answers.wrong(2)
def forgets_the_least_time(y, z, t, c, tau):
    return over_time(y, z, 1 / c + 1 - t)


@answers.wrong(2)
def clamps_before_the_extra_time(y, z, t, c, tau):
    return over_time(y, z, 1 / c + (1 - t).clamp(min=tau))


@answers.wrong(2)
def forgets_the_least_time_of_a_soft_control(y, z, t, c, tau):
    left = 1 / c + 1 - t
    return over_time(y, z, left.clamp(min=tau) if math.isinf(c) else left)


@answers.wrong(2)
def clamps_the_whole_batch_at_once(y, z, t, c, tau):
    left = 1 / c + 1 - t
    return over_time(y, z, left if left.min() > tau else torch.full_like(left, tau))


@answers.wrong(2)
def is_always_pinned(y, z, t, c, tau):
    return over_time(y, z, (1 - t).clamp(min=max(tau, 1e-3)))


@answers.right(2)
def one_sentence_after_the_other_as_a_list(y, z, t, c, tau):
    return [(a - b) / max(1 / c + 1 - s, tau) for a, b, s in zip(y, z, t.tolist())]


@answers.right(2)
def by_einsum_in_single_precision(y, z, t, c, tau):
    rate = 1 / torch.maximum(1 / c + 1 - t, torch.tensor(tau, dtype=torch.float64))
    return torch.einsum("b...,b->b...", y - z, rate).float()


@answers.wrong(3)
def keeps_the_last_costate(steps, states, p):
    return p.expand(len(states), *p.shape)


@answers.wrong(3)
def takes_the_state_after_each_step(steps, states, p):
    costates = [p]
    for step, z in zip(reversed(steps), reversed(states[1:])):
        z = z.clone().requires_grad_()
        costates.append(torch.autograd.grad((costates[-1] * step(z)).sum(), z)[0])
    return torch.stack(costates[::-1])


@answers.wrong(3)
def forgets_the_gradient_at_the_end(steps, states, p):
    costates = [p]
    for step, z in zip(reversed(steps), reversed(states[:-1])):
        z = z.clone().requires_grad_()
        costates.append(torch.autograd.grad(step(z).sum(), z)[0])
    return torch.stack(costates[::-1])


@answers.wrong(3)
def returns_them_backwards(steps, states, p):
    return by_vjp_as_a_list(steps, states, p)[::-1]


@answers.wrong(3)
def makes_whole_jacobians(steps, states, p):
    costates = [p]
    for step, z in zip(reversed(steps), reversed(states[:-1])):
        jacobian = torch.autograd.functional.jacobian(step, z)
        costates.append(torch.einsum("bo,bocd->cd", costates[-1], jacobian))
    return torch.stack(costates[::-1])


@answers.wrong(3)
def makes_a_jacobian_for_each_text(steps, states, p):
    costates = [p]
    for step, z in zip(reversed(steps), reversed(states[:-1])):
        jacobian = torch.func.vmap(torch.func.jacrev(step))(z)
        costates.append(torch.einsum("bo,boi->bi", costates[-1], jacobian))
    return torch.stack(costates[::-1])


@answers.right(3)
def by_vjp_as_a_list(steps, states, p):
    costates = [p]
    for step, z in zip(reversed(steps), reversed(states[:-1])):
        costates.insert(0, torch.func.vjp(step, z)[1](costates[0])[0])
    return costates


@answers.right(3)
def by_one_graph_in_single_precision(steps, states, p):
    class Single(torch.nn.Module):
        def __init__(self, step):
            super().__init__()
            self.step = step

        def forward(self, z):
            return self.step(z.double())

    path = [states[0].float().requires_grad_()]
    for step in steps:
        path.append(Single(step)(path[-1]).float())
    grads = torch.autograd.grad(path[-1], path[:-1], p.float()) if steps else ()
    return (*grads, p)


@answers.wrong(4)
def only_a_spring():
    return torch.tensor([[1.0, 0.0]])


@answers.wrong(4)
def pushes_away():
    return torch.tensor([[-1.0, -1.7]])


@answers.wrong(4)
def brakes_too_hard():
    return torch.tensor([[1.0, 8.0]])


@answers.wrong(4)
def steers_too_weakly():
    return torch.tensor([[0.2, 0.5]])


@answers.wrong(4)
def is_a_column():
    return torch.tensor([[1.0], [1.7]])


@answers.right(4)
def as_a_list():
    return [[1.0, 2.0]]


@answers.right(4)
def in_single_precision():
    return torch.tensor([[1, 1.5]], dtype=torch.float32)


test_answers = answers.test()
