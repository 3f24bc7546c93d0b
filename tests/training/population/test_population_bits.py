"""A member's bits do not depend on who else is in the batch, on their order, or on how the batch is cut."""

import random
from pathlib import Path

import pytest
import torch

from sugar_search.symbolic.surrogate import surrogate
from sugar_search.training.population import begin, gradient, train_population

SURROGATES = [None, "bsilu", "nelu", "gelu", "selu", "-x*exp(-x**2)", None]
OPTIONS = {
    "mlp": {"epochs": 2, "batch_size": 37},
    "narrow_mlp": {"dataset": "regression/f4", "epochs": 2, "batch_size": 111, "loss": "mse-sum"}
    | {"optimizer": {"name": "adam", "lr": 0.005}},
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
            specs.append(make_spec(folder, arch=arch, seed=seed, surrogate=given, threads=threads, **OPTIONS[arch]))
        steps = list(train_population(specs))
        files = [(Path(spec.folder) / "weights.safetensors").read_bytes() for spec in specs]
        said = [[(step[n].train_loss, step[n].validation) for step in steps] for n in range(len(specs))]
        return dict(zip(seeds, zip(files, said)))

    return go


@pytest.mark.parametrize("arch", ["mlp", "narrow_mlp"])
def test_one_or_seven_or_in_another_order_or_in_small_blocks(trained, arch, monkeypatch):
    seeds = list(range(7))
    together = trained(arch, seeds)
    for seed in seeds[::2]:
        assert trained(arch, [seed]) == {seed: together[seed]}
    shuffled = random.Random(0).sample(seeds, 7)
    assert trained(arch, shuffled) == together
    assert trained(arch, seeds, threads=2) == together
    monkeypatch.setattr(begin, "BLOCK_BYTES", 1)
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
