"""A fresh formula into a network that is already compiled: time to its table, and how often torch compiles again.

Draws different formulas from a grammar, writes each into the tables of one compiled network (`SugarReLU.use`), and
runs it forward and backward; the gradient is compared with the formula's. Beside it, on a few of the same formulas:
torch.compile of the same network with the formula in it.

    python benchmarks/new_surrogate.py [--formulas N] [--space NAME] [--compiled N]
"""

import argparse
import random
import statistics
import time

import torch
from paired import machine
from torch import nn
from torch._dynamo.utils import counters

import sugar_search as ss
from sugar_search.activation.exact import compile_tape
from sugar_search.activation.table.build import SAMPLED, build_table
from sugar_search.search.space import load_space
from sugar_search.symbolic.certificates.admission import admission
from sugar_search.symbolic.grammar.derivation import expression, sample
from sugar_search.symbolic.tape import Tape
from sugar_search.symbolic.text import to_text

X = torch.linspace(-6, 6, 64)


def formulas(space, wanted, seed=0):
    """Texts of different surrogates that the space admits."""
    grammar, rng, found = load_space(space).content.grammar, random.Random(seed), {}
    while len(found) < wanted:
        drawn = expression(grammar, sample(grammar, rng))
        text = to_text(drawn)
        if drawn.free_symbols and text not in found and admission(Tape.of(drawn)).proven:
            found[text] = None
    return list(found)


def network(activation):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 64), activation(), nn.Linear(64, 64), activation(), nn.Linear(64, 1))


def timed(function, *arguments):
    began = time.perf_counter()
    result = function(*arguments)
    return result, 1000 * (time.perf_counter() - began)


def spread(values, unit="ms"):
    ordered = sorted(values)
    ninety = ordered[int(0.9 * (len(ordered) - 1))]
    return f"median {statistics.median(ordered):8.3f}, 90 % {ninety:8.3f}, worst {ordered[-1]:9.3f} {unit}"


def step(net):
    net(X.expand(8, 64)).sum().backward()


def graphs():
    return counters["stats"]["unique_graphs"]


def tables(texts):
    """Every formula through one compiled network."""
    net = network(lambda: ss.SugarReLU("bsilu", method="table"))
    sites = [module for module in net if isinstance(module, ss.SugarReLU)]
    compiled = torch.compile(net, fullgraph=True)
    _, first = timed(step, compiled)
    before = graphs()
    parsing, building, writing, running, errors, wrong, left = [], [], [], [], [], 0, 0
    for text in texts:
        made, cost = timed(ss.surrogate, text)
        tape = made.tape
        parsing.append(cost)
        table, cost = timed(build_table, tape)
        building.append(cost)
        errors.append(table.error)
        if table.error > SAMPLED:
            left += 1
            continue
        writing.append(timed(lambda made=made: [site.use(made) for site in sites])[1])
        running.append(timed(step, compiled)[1])
        x = X.clone().requires_grad_()
        sites[0](x).sum().backward()
        exact = compile_tape(tape)(X.double())
        wrong += bool((x.grad - exact).abs().max() > 2 * SAMPLED * table.scale)
    print(f"  text -> surrogate (parsed, canonical, probed)  {spread(parsing)}")
    print(f"  surrogate -> table with its sampled error      {spread(building)}")
    print(f"  written into the network's two tables          {spread(writing)}")
    print(f"  first step with it                             {spread(running)}")
    print(f"  sampled error over max |g|                     {spread([1e9 * e for e in errors], 'e-9')}")
    print(f"  formulas {len(texts)}, beyond {SAMPLED:g} (the formula itself is used) {left}, wrong gradients {wrong}")
    print(f"  recompiles {graphs() - before} (the first compile took {first / 1000:.1f} s)")


def programs(texts):
    """The formula itself, compiled."""
    costs = []
    for text in texts:
        torch.compiler.reset()
        net = torch.compile(network(lambda text=text: ss.SugarReLU(text, method="exact")))
        costs.append(timed(step, net)[1])
    print(f"  torch.compile of the network with the formula  {spread(costs)} ({len(texts)} formulas)")


def main():
    parser = argparse.ArgumentParser(description="From a formula to a running activation")
    parser.add_argument("--formulas", type=int, default=1000, help="formulas (default 1000)")
    parser.add_argument("--space", default="grammar", help="a grammar space (default grammar)")
    parser.add_argument("--compiled", type=int, default=5, help="formulas that torch compiles (default 5)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{machine(torch.device('cpu'), 1)}; space {arguments.space}")
    texts = formulas(arguments.space, arguments.formulas)
    tables(texts)
    programs(texts[: arguments.compiled])


if __name__ == "__main__":
    main()
