"""One network per spelling of a functional ReLU call, and networks that look as if they had one."""

import abc
import functools

import activations
import torch
import torch.nn.functional as F
from activations import behind_a_decorator, direct, nested
from torch import nn
from torch.nn.functional import relu as renamed

alias = F.relu
X = torch.tensor([[-3.0, -1.0, -0.1], [0.0, 0.5, 4.0]])


class Base(nn.Module):
    """`run` is the forward; a subclass per spelling."""

    def forward(self, x):
        return self.run(x + 0)


def spelled(function, name="run", **attributes):
    """An instance of a new class with `function` as its method, and attributes."""
    net = type("Net", (Base,), {name: function})()
    for key, value in attributes.items():
        setattr(net, key, value)
    return net


def local_import(self, x):
    from torch.nn import functional as local

    return local.relu(x)


def local_as(self, x):
    import torch.nn.functional as local

    return local.relu(x)


def comprehension(self, x):
    return sum([F.relu(part) for part in (x,)])


def closure(self, x):
    act = self.act

    def apply(v):
        return act(v)

    return apply(x)


def local_lambda(self, x):
    return (lambda v: torch.relu(v))(x)


def generator(self, x):
    yield F.relu(x)


def renamed_local(self, x):
    act = F.relu
    return act(x)


@torch.autocast("cpu", enabled=False)
def under_a_decorator(self, x):
    return F.relu(x)


SPELLINGS = {
    "F.relu": lambda: spelled(lambda self, x: F.relu(x)),
    "F.relu_": lambda: spelled(lambda self, x: F.relu_(x)),
    "F.relu inplace": lambda: spelled(lambda self, x: F.relu(x, inplace=True)),
    "F.relu inplace positional": lambda: spelled(lambda self, x: F.relu(x, True)),
    "torch.relu": lambda: spelled(lambda self, x: torch.relu(x)),
    "torch.relu_": lambda: spelled(lambda self, x: torch.relu_(x)),
    "nn.functional": lambda: spelled(lambda self, x: torch.nn.functional.relu(x)),
    "x.relu": lambda: spelled(lambda self, x: x.relu()),
    "x.relu_": lambda: spelled(lambda self, x: x.relu_()),
    "Tensor.relu": lambda: spelled(lambda self, x: torch.Tensor.relu(x)),
    "renamed": lambda: spelled(lambda self, x: renamed(x)),
    "alias": lambda: spelled(lambda self, x: alias(x)),
    "renamed local": lambda: spelled(renamed_local),
    "local import": lambda: spelled(local_import),
    "local import as": lambda: spelled(local_as),
    "helper": lambda: spelled(lambda self, x: direct(x)),
    "nested helper": lambda: spelled(lambda self, x: nested(x)),
    "helper of a module": lambda: spelled(lambda self, x: activations.nested(x)),
    "decorated helper": lambda: spelled(lambda self, x: behind_a_decorator(x)),
    "static method": lambda: spelled(lambda self, x: self.act(x) if False else Static.act(x)),
    "decorated method": lambda: spelled(under_a_decorator),
    "table": lambda: spelled(lambda self, x: activations.TABLE["relu"](x)),
    "getattr": lambda: spelled(lambda self, x: getattr(F, "relu")(x)),  # noqa: B009
    "getattr of a name": lambda: spelled(lambda self, x: getattr(F, self.chosen)(x), chosen="relu"),
    "lambda": lambda: spelled(local_lambda),
    "comprehension": lambda: spelled(comprehension),
    "closure": lambda: spelled(closure, act=F.relu),
    "attribute": lambda: spelled(lambda self, x: self.act(x), act=F.relu),
    "attribute torch.relu": lambda: spelled(lambda self, x: self.act(x), act=torch.relu),
    "attribute Tensor.relu": lambda: spelled(lambda self, x: self.act(x), act=torch.Tensor.relu),
    "attribute lambda": lambda: spelled(lambda self, x: self.act(x), act=lambda v: F.relu(v)),
    "attribute partial": lambda: spelled(lambda self, x: self.act(x), act=functools.partial(F.relu, inplace=True)),
    "attribute helper": lambda: spelled(lambda self, x: self.act(x), act=nested),
    "attribute list": lambda: spelled(lambda self, x: self.acts[0](x), acts=[F.relu]),
    "attribute object": lambda: spelled(lambda self, x: self.act(x), act=activations.Holder(F.relu)),
    "attribute method": lambda: spelled(lambda self, x: self.act(x), act=activations.Holder(F.relu).run),
    "helper object": lambda: spelled(lambda self, x: self.act.run(x), act=activations.Holder(nested)),
    "class attribute": lambda: type("Net", (Base,), {"act": staticmethod(F.relu), "run": lambda s, x: s.act(x)})(),
    "other method": lambda: type("Net", (Base,), {"a": lambda s, x: F.relu(x), "run": lambda s, x: s.a(x)})(),
    "generator": lambda: type("Net", (Base,), {"a": generator, "run": lambda s, x: next(s.a(x))})(),
    "property": lambda: type("Net", (Base,), {"a": property(lambda s: F.relu), "run": lambda s, x: s.a(x)})(),
    "module in forward": lambda: spelled(lambda self, x: nn.ReLU(inplace=True)(x)),
    "bound method kept": lambda: Remembers(),
    "partial method": lambda: Bound(),
    "compiled method": lambda: Compiled(),
    "fragile": lambda: Guarded(),
    "patched forward": lambda: patched(),
    "super": lambda: Child(),
    "super of torch": lambda: ScaledReLU(),
    "base by name": lambda: Named(),
}


class Static:
    @staticmethod
    def act(x):
        return F.relu(x)


class Remembers(Base):
    """Its constructor keeps one of its methods: the function before any conversion."""

    def __init__(self):
        super().__init__()
        self.chosen = self.act

    def act(self, x):
        return F.relu(x)

    def run(self, x):
        return self.chosen(x)


class Bound(Base):
    def act(self, x, scale):
        return F.relu(x) * scale

    once = functools.partialmethod(act, scale=1)

    def run(self, x):
        return self.once(x)


class Compiled(Base):
    @torch.compile(backend="eager")
    def run(self, x):
        return F.relu(x)


class Guarded(Base, metaclass=abc.ABCMeta):
    """Nothing of it may run while it is looked at."""

    @property
    def fragile(self):
        raise AssertionError("a property was run")

    def __getattr__(self, name):
        if name == "missing":
            raise AssertionError("__getattr__ was run")
        return super().__getattr__(name)

    def run(self, x):
        return F.relu(x) if x is not None else self.fragile.relu6() + self.missing.x


class Constructed(Base):
    def __init__(self):
        super().__init__()
        self.bound = F.relu(torch.zeros(1)).item()

    def run(self, x):
        return x + self.bound


class Builder(Base):
    def __init__(self):
        super().__init__()
        self.layer = self.make()

    def make(self):
        return nn.Sequential(nn.Tanh(), nn.ReLU()) and nn.Tanh()

    def run(self, x):
        return self.layer(x)


class Parent(nn.Module):
    def forward(self, x):
        return F.relu(x)


class Child(Parent):
    def forward(self, x):
        return super().forward(x)


class Named(Parent):
    def forward(self, x):
        return Parent.forward(self, x)


class ScaledReLU(nn.ReLU):
    def forward(self, x):
        return super().forward(x) * 1


def patched():
    net = Base()
    net.forward = lambda x: F.relu(x)
    return net


NOT_CALLS = {
    "module named relu": lambda: spelled(lambda self, x: self.relu(F.interpolate(x[None])), relu=nn.Tanh()),
    "isinstance": lambda: spelled(lambda self, x: x if isinstance(self, nn.ReLU) else x + 1),
    "clamp": lambda: spelled(lambda self, x: x.clamp(min=0)),
    "another function": lambda: spelled(lambda self, x: torch.tanh(x)),
    "in a constructor's helper": lambda: Builder(),
    "in a constructor": lambda: Constructed(),
    "another name": lambda: spelled(lambda self, x: getattr(F, self.chosen)(x), chosen="tanh"),
    "a constant": lambda: spelled(lambda self, x: nn.init.calculate_gain("relu") * x),
}


class Block(nn.Module):
    def __init__(self, width, act=None):
        super().__init__()
        self.linear, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.act = act or nn.ReLU()

    def forward(self, x):
        return F.relu(x + self.out(self.act(self.linear(x))))


class Net(nn.Module):
    """Two blocks of a module and a call each, and a call of its own."""

    def __init__(self, width=3):
        super().__init__()
        self.blocks = nn.Sequential(Block(width), Block(width))
        self.head = nn.Linear(width, 2)
        self.drop = nn.Dropout(0.3)

    def forward(self, x):
        return self.head(self.drop(torch.relu(self.blocks(x))))


def network():
    torch.manual_seed(0)
    return Net()


def gradients(net, x=X):
    net.zero_grad()
    torch.manual_seed(5)
    net(x).square().sum().backward()
    return [p.grad.clone() for p in net.parameters()]
