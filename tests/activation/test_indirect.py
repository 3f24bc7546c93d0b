"""Calls that are reached in roundabout ways get the surrogate too, and nothing plain is left."""

import copy

import pytest
import torch
from default_form import default_form
from indirect_spellings import INDIRECT

from sugar_search.activation.convert import convert, sites
from sugar_search.activation.leftover import leftover
from sugar_search.symbolic.surrogate import surrogate

X = torch.tensor([[-3.0, -1.0, -0.1], [0.0, 0.5, 4.0]])
G = default_form(surrogate("bsilu").tape)(X)


@pytest.mark.parametrize("name", INDIRECT)
def test_every_way_is_found_and_converted(name):
    net = INDIRECT[name]()
    assert leftover(net, X) == {"relu": 1}
    convert(net, "bsilu")
    for one in (net, copy.deepcopy(net)):
        assert {s.kind for s in sites(one)} == {"SugarReLU"}
        x = X.clone().requires_grad_()
        y = one(x)
        y.backward(torch.ones_like(y))
        assert torch.equal(y, X.relu()) and torch.equal(x.grad, G)
        assert leftover(one, X) == {}
