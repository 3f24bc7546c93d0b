"""`surrogate_gradients` around and inside of checkpoints, and what it does not decorate."""

import pytest
import torch
import torch.nn.functional as F
from default_form import default_form
from gradients import gradient_from
from torch import nn
from torch.utils.checkpoint import checkpoint

import sugar_search as ss
from sugar_search.errors import InputError

X = torch.tensor([[-3.0, -1.0, -0.1], [0.0, 0.5, 4.0]])
backward = gradient_from(X)
G = default_form(ss.surrogate("bsilu").tape)(X)
BLOCK = ss.surrogate_gradients("bsilu")


def call(x):
    return F.relu(x)


def inside(x):
    with BLOCK:
        return call(x)


def within(function):
    def run(x):
        with BLOCK:
            return function(x)

    return run


@pytest.mark.parametrize("reentrant", (False, True))
def test_one_block_may_be_entered_on_both_sides_of_a_checkpoint(reentrant):
    def within_without_grad(x):
        with BLOCK:
            with torch.no_grad():
                call(x)
            return call(x)

    def run(x, function):
        return checkpoint(function, x, use_reentrant=reentrant)

    for function in (inside, within_without_grad):
        assert torch.equal(backward(lambda x, f=function: run(x, f)), G)
        assert torch.equal(backward(within(lambda x, f=function: run(x, f))), G)
    # The entry inside is forgotten when it is left.
    with pytest.raises(InputError, match="checkpoint"):
        backward(within(lambda x: run(inside(x), call)))


@pytest.mark.parametrize("reentrant", (False, True))
def test_no_grad_in_a_checkpoint_is_no_second_checkpoint(reentrant):
    @BLOCK
    def run(x):
        with torch.no_grad():
            F.relu(x)
        return F.relu(x)

    assert torch.equal(backward(lambda x: checkpoint(run, x, use_reentrant=reentrant)), G)


def generator(x):
    yield F.relu(x)


async def coroutine(x):
    return F.relu(x)


@pytest.mark.parametrize("function", (generator, coroutine, nn.ReLU))
def test_what_runs_later_is_not_decorated(function):
    with pytest.raises(InputError, match="run when they are called"):
        BLOCK(function)
