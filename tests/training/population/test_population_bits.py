"""A member's bits do not depend on who else is in the batch, on their order, or on how the batch is cut."""

import random
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from sugar_search.symbolic.surrogate import surrogate
from sugar_search.training.population import cutting, gradient
from sugar_search.training.population.layout import layout_of
from sugar_search.training.population.passes import backward, forward, stack_of
from sugar_search.training.population.train import train_population

SURROGATES = [None, "bsilu", "nelu", "gelu", "selu", "-x*exp(-x**2)", None]
OPTIONS = {
    "mlp": {"epochs": 2, "batch_size": 37},
    "narrow_mlp": {"dataset": "regression/f4", "epochs": 2, "batch_size": 111, "loss": "mse-sum"}
    | {"optimizer": {"name": "adam", "lr": 0.005}},
    # One input and one output: matrices that are vectors, in batches of an odd size.
    "vectors": {"arch": "mlp", "dataset": "regression/f1", "epochs": 1, "batch_size": 63}
    | {"optimizer": {"name": "sgd", "lr": 0.005}},
}


@pytest.fixture
def trained(make_spec):
    """Trains members of the given seeds; returns what each learned, by seed."""
    count = iter(range(1000))

    def go(arch, seeds, threads=1):
        where = next(count)
        specs = []
        for seed in seeds:
            chosen = SURROGATES[seed % len(SURROGATES)]
            given = None if chosen is None else surrogate(chosen).to_dict()
            folder = f"{where}/{seed}"
            options = {"arch": arch, **OPTIONS[arch]}
            specs.append(make_spec(folder, seed=seed, surrogate=given, threads=threads, **options))
        steps = list(train_population(specs))
        files = [(Path(spec.folder) / "weights.safetensors").read_bytes() for spec in specs]
        said = [[(step[n].train_loss, step[n].validation) for step in steps] for n in range(len(specs))]
        return dict(zip(seeds, zip(files, said)))

    return go


@pytest.mark.parametrize("arch", OPTIONS)
def test_one_or_seven_or_in_another_order_or_in_small_blocks(trained, arch, monkeypatch):
    seeds = list(range(7))
    together = trained(arch, seeds)
    for seed in seeds[::2]:
        assert trained(arch, [seed]) == {seed: together[seed]}
    shuffled = random.Random(0).sample(seeds, 7)
    assert trained(arch, shuffled) == together
    assert trained(arch, seeds, threads=2) == together
    monkeypatch.setattr(cutting, "BLOCK_BYTES", 1)
    assert trained(arch, seeds) == together
    assert len({files for files, _ in together.values()}) == 7


def test_also_without_tables(trained, monkeypatch):
    monkeypatch.setattr(gradient, "SAMPLED", -1.0)
    together = trained("narrow_mlp", [1, 2, 8, 3])
    assert trained("narrow_mlp", [8]) == {8: together[8]}
    assert trained("narrow_mlp", [3, 1]) == {seed: together[seed] for seed in (3, 1)}


def test_exact_code_and_table_agree():
    chosen = [surrogate("bsilu"), surrogate("nelu")]
    grad, x = torch.randn(2, 2, 5, 9).unbind()
    table = gradient.relu_gradient(chosen, torch.device("cpu"))(grad, x)
    for row, each in enumerate(chosen):
        expected = grad[row] * gradient.compile_tape(each.tape)(x[row])
        torch.testing.assert_close(table[row], expected, rtol=1e-5, atol=1e-5)
    assert table[x < 0].abs().min() > 0


@pytest.mark.parametrize("widths", [(1, 33, 10), (2, 10, 1), (65, 7, 3), (10, 16, 5, 4), (3, 128, 2)])
@pytest.mark.parametrize("batch", [16, 64, 128])
def test_passes_of_any_shape(widths, batch):
    """Matrices of one row or column, and one matrix alone, go other ways through the libraries."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    net = torch.nn.Sequential(*[torch.nn.Linear(a, b) for a, b in pairwise(widths)])
    plan = layout_of(net, separate=False)
    rows, x = torch.randn(7, plan.widths[0]), torch.randn(7, widths[0], batch)
    error = torch.randn(7, widths[-1], batch)

    def passed(chosen):
        buffers, gradients = [rows[chosen]], [torch.zeros(len(chosen), plan.widths[0])]
        stack = stack_of(plan, buffers, gradients)
        values, before = forward(stack, x[chosen])
        backward(stack, values, before, error[chosen], None)
        return values[-1], gradients[0]

    together = passed([0, 1, 2, 3, 4, 5, 6])
    for chosen in ([0], [3], [6, 1], [5, 2, 0]):
        for one, all_of_them in zip(passed(chosen), together, strict=True):
            assert torch.equal(one, all_of_them[chosen])
    # And they are right: autograd agrees.
    net.load_state_dict(plan.unpack([rows], 3))
    outputs = net(x[3].mT)
    outputs.backward(error[3].mT)
    torch.testing.assert_close(together[0][3].mT, outputs, rtol=1e-4, atol=1e-4)
    for place in plan.places:
        expected = net.get_parameter(place.name).grad
        torch.testing.assert_close(place.rows([together[1]])[3], expected, rtol=1e-4, atol=1e-3)
