"""Networks whose ReLU calls are reached in roundabout ways: handed out, kept in containers, as defaults."""

import functools

import torch.nn.functional as F
from spellings import Base, spelled
from torch import nn

ACT = nn.ReLU()
ACTS = {"relu": nn.ReLU, "tanh": nn.Tanh}


@functools.lru_cache
def cached_table(name):
    return {"relu": F.relu}[name]


@functools.cache
def cached_call(x):
    return F.relu(x)


def own(forward, **methods):
    return type("Net", (Base,), {"run": forward, **methods})()


def keeping(forward, **held):
    """A network with F.relu in the method `act`, and attributes made of that bound method."""
    net = type("Net", (Base,), {"run": forward, "act": lambda self, x: F.relu(x)})()
    for name, make in held.items():
        setattr(net, name, make(net))
    return net


def default(self, x, act=F.relu):
    return act(x)


def keyword_default(self, x, *, act=F.relu):
    return act(x)


def default_module(self, x, act=ACT):
    return act(x)


def over_the_old_forward():
    net = spelled(lambda self, x: F.relu(x))
    old = net.forward
    net.forward = lambda x: old(x)
    return net


def registered_and_listed():
    net = spelled(lambda self, x: self.acts[0](x), relu=nn.ReLU())
    net.acts = [net.relu]
    return net


def registered_and_closed_over():
    relu = nn.ReLU()
    return spelled(lambda self, x: self.helper(x), relu=relu, helper=lambda v: relu(v))


class Child(nn.Module):
    @staticmethod
    def static(x):
        return F.relu(x)

    @classmethod
    def of_class(cls, x):
        return cls.static(x)

    @property
    def value(self):
        return F.relu(self.x)

    def generate(self, x):
        y = yield F.relu(x)
        return y

    def give(self):
        return F.relu


def loop(call):
    """A network that calls children it finds in a ModuleList, whose class the code does not tell."""

    def run(self, x):
        for child in self.children_:
            x = call(child, x)
        return x

    return spelled(run, children_=nn.ModuleList([Child()]))


def through_property(child, x):
    child.x = x
    value, child.x = child.value, None
    return value


INDIRECT = {
    "handed out": lambda: own(lambda s, x: s.act()(x), act=lambda s: F.relu),
    "handed out twice": lambda: own(lambda s, x: s.a()(x), a=lambda s: s.b(), b=lambda s: F.relu),
    "handed out lambda": lambda: own(lambda s, x: s.act()(x), act=lambda s: lambda v: F.relu(v)),
    "handed out module": lambda: own(lambda s, x: s.act()(x), act=lambda s: nn.ReLU()),
    "handed out by a child": lambda: spelled(lambda self, x: self.child.give()(x), child=Child()),
    "methods in a list": lambda: keeping(lambda s, x: sum([step(x) for step in s.steps]), steps=lambda n: [n.act]),
    "methods in a dict": lambda: keeping(lambda s, x: s.steps["a"](x), steps=lambda n: {"a": n.act}),
    "method in a partial": lambda: keeping(lambda s, x: s.step(x), step=lambda n: functools.partial(n.act)),
    "partials in a list": lambda: keeping(lambda s, x: s.steps[0](x), steps=lambda n: [functools.partial(n.act)]),
    "method in a closure": lambda: keeping(lambda s, x: s.step(x), step=lambda n: (lambda a: lambda v: a(v))(n.act)),
    "forward over the old one": over_the_old_forward,
    "registered and in a list": registered_and_listed,
    "registered and in a closure": registered_and_closed_over,
    "modules in a list": lambda: spelled(lambda self, x: self.acts[0](x), acts=[nn.ReLU()]),
    "a block in a list": lambda: spelled(lambda self, x: self.acts[0](x), acts=[nn.Sequential(nn.ReLU())]),
    "module of the file": lambda: spelled(lambda self, x: ACT(x)),
    "module of the class": lambda: own(lambda s, x: s.act(x), act=nn.ReLU()),
    "default": lambda: spelled(default),
    "keyword default": lambda: spelled(keyword_default),
    "default module": lambda: spelled(default_module),
    "lru_cache": lambda: spelled(lambda self, x: cached_table("relu")(x)),
    "cache": lambda: spelled(lambda self, x: cached_call(x)),
    "table of classes": lambda: spelled(lambda self, x: ACTS["relu"]()(x)),
    "static method of a child": lambda: loop(lambda child, x: child.static(x)),
    "class method of a child": lambda: loop(lambda child, x: child.of_class(x)),
    "property of a child": lambda: loop(through_property),
    "generator of a child": lambda: loop(lambda child, x: next(child.generate(x))),
}
