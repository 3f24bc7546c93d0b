"""Helper functions of another module, for the tests of functional calls."""

import torch
import torch.nn.functional as F


def direct(x):
    return F.relu(x)


def nested(x):
    return inner(x) + 0


def inner(x):
    return torch.relu(x)


def decorated(function):
    def wrapper(*args):
        return function(*args)

    return wrapper


@decorated
def behind_a_decorator(x):
    return x.relu()


@torch.no_grad()
def unused(x):
    return x.relu()


TABLE = {"relu": F.relu, "tanh": torch.tanh}


class Holder:
    def __init__(self, function):
        self.function = function

    def run(self, x):
        return self.function(x)

    def __call__(self, x):
        return self.function(x)
