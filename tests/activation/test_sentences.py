"""Whatever the shipped grammars draw and the prover admits can be trained with in every floating type."""

import random

import pytest
import torch

from sugar_search.activation.function import relu_function
from sugar_search.errors import FormulaError
from sugar_search.search.space import load_space
from sugar_search.symbolic.certificates.admission import admission
from sugar_search.symbolic.grammar.derivation import expression, sample
from sugar_search.symbolic.tape import Tape

HALF = {
    dtype: torch.arange(-(2**15), 2**15, dtype=torch.int16).view(dtype) for dtype in (torch.float16, torch.bfloat16)
}
FINITE = {dtype: x[torch.isfinite(x)] for dtype, x in HALF.items()}


def _check(space, count, seed):
    grammar, rng, admitted = load_space(space).content.grammar, random.Random(seed), 0
    for _ in range(count):
        try:
            tape = Tape.of(expression(grammar, sample(grammar, rng)))
        except FormulaError:
            continue
        if not admission(tape).proven:
            continue
        admitted += 1
        activation = relu_function(tape)
        for dtype, x in FINITE.items():
            x = x.clone().requires_grad_()
            y = activation(x)
            (gradient,) = torch.autograd.grad(y, x, torch.ones_like(y))
            assert torch.isfinite(gradient).all(), (dtype, tape)
    return admitted


@pytest.mark.parametrize("space", ["grammar", "one_sided"])
def test_gradients_are_finite_on_every_half_value(space):
    assert _check(space, 100, 1) > 90


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_gradients_of_ten_thousand_sentences_are_finite_on_every_half_value():
    assert _check("grammar", 10_000, 2) > 9_900
