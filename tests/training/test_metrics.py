"""Metrics against brute force on small networks."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sugar_search.data._dataset import Split
from sugar_search.data._load import load_dataset
from sugar_search.models._model import build_model
from sugar_search.training import metrics
from sugar_search.training.metrics import batch_loss, evaluate


@pytest.fixture
def digits():
    return load_dataset("digits").validation


def test_metrics_equal_brute_force_whatever_the_chunk(digits, monkeypatch, make_recipe):
    torch.manual_seed(3)
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(216, 12), nn.ReLU(inplace=True), nn.Linear(12, 10)
    )
    model[0].bias.data[1] = -100  # 36 dead units
    monkeypatch.setattr(metrics, "CHUNK", 77)
    found = evaluate(model, digits, make_recipe(label_smoothing=0.3))
    with torch.no_grad():
        first = model[0](digits.inputs).relu()
        second = model[3](first.flatten(1)).relu()
        logits = model[5](second)
    units = [first.flatten(1), second]
    dead = sum((unit.amax(dim=0) <= 0).sum().item() for unit in units)
    assert found.loss == pytest.approx(F.cross_entropy(logits, digits.targets).item(), rel=1e-5)
    assert found.accuracy == (logits.argmax(dim=1) == digits.targets).sum().item() / 400
    assert found.sparsity == pytest.approx(sum((unit == 0).sum().item() for unit in units) / (400 * 228))
    assert found.dead == pytest.approx(dead / 228) and dead >= 36


def test_a_module_called_twice_counts_as_two_sites(make_recipe):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, x):
            return self.relu(x) + self.relu(-x)

    inputs = torch.tensor([[1.0, -1.0, 0.0, 2.0]])
    found = evaluate(Twice(), Split(inputs, torch.zeros(1, 4)), make_recipe())
    assert found.sparsity == (2 + 3) / 8 and found.dead == (2 + 3) / 8 and found.accuracy is None


def test_evaluation_leaves_mode_hooks_and_running_statistics_alone(digits, make_recipe):
    model = build_model("resnet18", (1, 8, 8), 10)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    small = Split(digits.inputs[:16], digits.targets[:16])
    evaluate(model.train(), small, make_recipe())
    assert model.training and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_network_without_relu_has_no_sparsity(digits, make_recipe):
    found = evaluate(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), digits, make_recipe())
    assert (found.sparsity, found.dead) == (0.0, 0.0)


def test_summed_error_is_averaged_over_batches_of_the_recipes_size(make_recipe):
    data = load_dataset("regression/f4").validation
    model = nn.Linear(2, 2)
    recipe = make_recipe(loss="mse-sum", batch_size=64)
    with torch.no_grad():
        total = ((model(data.inputs) - data.targets) ** 2).sum().item()
    assert evaluate(model, data, recipe).loss == pytest.approx(total / 16, rel=1e-5)
    mean = evaluate(model, data, make_recipe()).loss
    assert mean == pytest.approx(total / 2000, rel=1e-5)


def test_batch_loss_smooths_labels_in_training_only_and_sums_over_one_hot_classes(make_recipe):
    logits, targets = torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0])
    recipe = make_recipe(label_smoothing=0.2)
    smooth = batch_loss(recipe, logits, targets, smooth=True)
    assert smooth == F.cross_entropy(logits, targets, label_smoothing=0.2)
    assert batch_loss(recipe, logits, targets, smooth=False) == F.cross_entropy(logits, targets)
    summed = batch_loss(make_recipe(loss="mse-sum"), logits, targets, smooth=True)
    assert summed.item() == pytest.approx(((logits - torch.eye(3)[targets]) ** 2).sum().item())
