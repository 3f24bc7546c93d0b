"""A conversion is done as a whole or not at all, and leaves what users attached or registered as it was."""

import copy
import pickle
import sys

import pytest
import torch
import torch.nn.functional as F
from default_form import default_form
from spellings import Base, Block, spelled
from torch import nn
from torch.nn.utils import parametrizations

import sugar_search as ss
from sugar_search.activation.convert import convert, sites
from sugar_search.activation.leftover import leftover
from sugar_search.errors import InputError

X = torch.tensor([[-3.0, -1.0, -0.1], [0.0, 0.5, 4.0]])
G = default_form(ss.surrogate("bsilu").tape)(X)


def gradient(function, x=X):
    x = x.clone().requires_grad_()
    y = function(x)
    y.backward(torch.ones_like(y))
    return x.grad


def test_a_parent_that_refuses_modules_is_converted():
    class Strict(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.ReLU()
            self.closed = True

        def __setattr__(self, name, value):
            if getattr(self, "closed", False):
                raise AttributeError(name)
            super().__setattr__(name, value)

        def register_module(self, name, module):
            raise AttributeError(name)

        def forward(self, x):
            return self.act(F.relu(x))

    assert leftover(convert(Strict(), "bsilu"), X) == {}


def test_classes_go_back_when_one_cannot_change():
    class Slotted(Base):
        __slots__ = ("extra",)

        def run(self, x):
            return F.relu(x)

    net = nn.Sequential(Block(3), nn.ReLU(), Slotted())
    classes = [type(m) for m in net.modules()]
    with pytest.raises(InputError, match="must allow"):
        convert(net, "bsilu")
    assert [type(m) for m in net.modules()] == classes and leftover(net, X) == {"relu": 4}


def test_registries_of_subclasses_do_not_hear_of_ours():
    heard = []

    class Registered(Base):
        def __init_subclass__(cls, key):
            heard.append(cls)

        def run(self, x):
            return F.relu(x)

    net = convert(Registered(), "bsilu")
    assert not heard and isinstance(net, Registered) and type(net).__bases__ == (Registered,)
    assert torch.equal(gradient(net), G)


class Importable(nn.Linear):
    def forward(self, x):
        return F.relu(super().forward(x))


def test_subclasses_of_converted_classes_copy():
    net = convert(Importable(3, 3), "bsilu")
    net.__class__ = type("Later", (type(net),), {})
    assert type(copy.deepcopy(net)) is type(net) and leftover(copy.deepcopy(net), X) == {}
    parametrizations.weight_norm(net)
    assert leftover(copy.deepcopy(net), X) == {}
    pickle.loads(pickle.dumps(convert(Importable(3, 3), "bsilu")))


def test_parametrized_modules_are_refused_only_when_they_make_calls():
    with pytest.raises(InputError, match="before it is parametrized"):
        convert(parametrizations.weight_norm(Importable(3, 3)), "bsilu")
    net = nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 3)), nn.ReLU())
    assert leftover(convert(net, "bsilu"), X) == {}


def test_hooks_stay():
    net, seen = nn.Sequential(nn.ReLU()), []
    handle = net[0].register_forward_hook(lambda module, args, output: seen.append(module))
    net[0].register_full_backward_hook(lambda module, *gradients: seen.append("backward"))
    convert(net, "bsilu")
    gradient(net)
    assert seen == [net[0], "backward"]
    handle.remove()
    net(X)
    assert len(seen) == 2


def test_many_models_compile_in_one_process():
    torch._dynamo.reset()
    for i in range(12):
        net = type("Net", (nn.Module,), {"forward": lambda self, x: F.relu(x)})()
        convert(net, "bsilu", alpha=1 + i / 8)
        wanted = default_form(ss.surrogate("bsilu", alpha=1 + i / 8).tape)(X)
        torch.testing.assert_close(gradient(torch.compile(net, backend="eager", fullgraph=True)), wanted)


def test_many_surrogates_of_one_class_compile():
    torch._dynamo.reset()
    nets = [Block(3) for _ in range(12)]
    for i, net in enumerate(nets):
        convert(net, "bsilu", alpha=1 + i / 8)
        wanted = gradient(net)
        torch.testing.assert_close(gradient(torch.compile(net, backend="eager", fullgraph=True)), wanted)


def hooks(self, x):
    y = F.relu(x)
    y.register_hook(lambda g: g * 2)
    return y.type(torch.DoubleTensor)


def test_compiled_code_may_pass_functions():
    torch._dynamo.reset()
    net = convert(spelled(hooks), "bsilu")
    torch.testing.assert_close(gradient(torch.compile(net, backend="eager")), 2 * G)


def test_a_users_file_may_be_called_like_one_of_pythons(tmp_path):
    (tmp_path / "shelve.py").write_text(
        "import torch.nn as nn, torch.nn.functional as F\n"
        "class Net(nn.Module):\n    def forward(self, x):\n        return F.relu(x)\n"
    )
    before = sys.modules.pop("shelve", None)
    sys.path.insert(0, str(tmp_path))
    try:
        net = __import__("shelve").Net()
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("shelve")
        if before is not None:
            sys.modules["shelve"] = before
    assert len(sites(net)) == 1 and torch.equal(gradient(convert(net, "bsilu")), G)
