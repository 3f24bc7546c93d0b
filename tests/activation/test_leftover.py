"""What a run of a model leaves plain, as autograd sees it."""

import copy
import logging

import pytest
import torch
import torch.nn.functional as F
from spellings import network, spelled
from torch import nn

from sugar_search.activation.convert import convert
from sugar_search.activation.kinds import FUNCTIONS, KINDS
from sugar_search.activation.leftover import leftover
from sugar_search.errors import InputError

X = torch.tensor([[-3.0, -1.0, -0.1], [0.0, 0.5, 4.0]])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_is_counted_until_it_is_converted(function):
    known = FUNCTIONS[function]
    net = spelled(lambda self, x: self.act(x, *[value for _, value in known.needs]), act=function)
    assert leftover(net, X, sites=tuple(KINDS)) == {known.kind: 1}
    if not known.needs:
        assert leftover(convert(net, "bsilu", sites=known.kind), X, sites=tuple(KINDS)) == {}


@pytest.mark.parametrize("options", ({}, {"sugar": False}, {"method": "direct"}, {"method": "indirect"}))
@pytest.mark.parametrize("kind", KINDS)
def test_converted_modules_leave_nothing(kind, options):
    for flags in ({}, {"inplace": True}):
        if kind == "gelu" and flags:
            continue
        net = nn.Sequential(KINDS[kind].module(**flags), nn.Linear(3, 2))
        assert leftover(net, X, sites=kind) == {kind: 1}
        assert leftover(convert(net, "bsilu", sites=kind, **options), X, sites=tuple(KINDS)) == {}


def test_each_run_of_a_call_counts_and_outputs_may_be_nested():
    class Nested(nn.Module):
        def forward(self, x, more):
            for _ in range(3):
                x = F.relu(x)
            return {"a": [x, (F.gelu(more["y"]), None)], "b": F.hardtanh(x)}

    given = {"y": X.clone()}
    assert leftover(Nested(), X, given, sites=("relu", "gelu", "relu6")) == {"relu": 3, "gelu": 1}
    assert not X.requires_grad and not given["y"].requires_grad
    with torch.no_grad():
        assert leftover(network(), X) == {"relu": 5}
    assert leftover(torch.compile(network(), backend="eager"), X) == {"relu": 5}
    with pytest.raises(InputError):
        leftover(network(), X, sites="tanh")


def hidden(name):
    return getattr(F, "".join(name))


class Outer(nn.ModuleDict):
    def forward(self, x):
        return hidden(("re", "lu"))(self["a"](x))


def test_an_example_tells_what_stays_plain(caplog):
    net = spelled(lambda self, x: self.norm(F.relu(hidden(("re", "lu"))(x))), norm=nn.BatchNorm1d(3))
    torch.manual_seed(3)
    before, wanted = copy.deepcopy(net.state_dict()), torch.random.get_rng_state()
    with caplog.at_level(logging.WARNING, logger="sugar_search"):
        convert(copy.deepcopy(net), "bsilu", example=X)
        assert not caplog.messages  # run inside the mode of its method
        twice = Outer({"a": net})
        convert(twice, "bsilu", example=(X,))
    assert [m for m in caplog.messages if "1 ReLU call stays plain" in m and "F.relu in forward" in m]
    assert torch.equal(torch.random.get_rng_state(), wanted)
    for key, value in net.state_dict().items():
        assert torch.equal(value, before[key])


def test_a_wrong_example_leaves_the_model_unchanged():
    net = network()
    with pytest.raises(RuntimeError):
        convert(net, "bsilu", example=torch.zeros(2, 5))
    assert leftover(net, X) == {"relu": 5}
    caught = convert(net, "bsilu", example=X)
    assert caught is net and leftover(net, X) == {}
