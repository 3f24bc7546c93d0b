"""What a recipe can ask of the loop: accumulation, averages, mixing, decay groups, whole batches."""

from pathlib import Path

import pytest
import torch
from feed_batches import NoWaiting
from training_runs import small_net, weights

from sugar_search.models._model import build_model
from sugar_search.training import epoch, network, state
from sugar_search.training.augment import evaluated
from sugar_search.training.average import average_of, update
from sugar_search.training.checkpoint import load_weights
from sugar_search.training.loop import train
from sugar_search.training.metrics import batch_loss, evaluate
from sugar_search.training.recipe import load_recipe
from sugar_search.training.state import WEIGHTS
from sugar_search.vision import load

SGD = {"name": "sgd", "lr": 0.05, "momentum": 0.9}
CROPS = {"crop": "padded", "padding": 2, "flip": 0.5}


@pytest.mark.parametrize("loss", ["auto", "mse-sum"])
@pytest.mark.parametrize("optimizer", [SGD, {"name": "adamw", "lr": 0.01}])
def test_accumulated_batches_equal_one_large_batch(make_spec, optimizer, loss):
    shared = {"epochs": 2, "optimizer": optimizer, "loss": loss, "gradient_clip": 0.5}
    large, parts = (
        make_spec("large", batch_size=64, **shared),
        make_spec("parts", batch_size=16, accumulate=4, **shared),
    )
    unit = 38 / 10 if loss == "mse-sum" else 1  # that loss is reported per batch: 600 samples are 38 or 10 of them
    for one, other in zip(train(large), train(parts), strict=True):
        assert other.train_loss * unit == pytest.approx(one.train_loss, rel=1e-5) and other.lr == one.lr
    first, second = (network.build_network(large, network.load_data(large)) for _ in range(2))
    load_weights(Path(large.folder) / WEIGHTS, first)
    load_weights(Path(parts.folder) / WEIGHTS, second)
    for one, other in zip(first.parameters(), second.parameters()):
        # Adam's early steps divide by the gradient's size, which magnifies rounding where gradients are near 0.
        assert torch.allclose(one, other, rtol=0, atol=1e-6 if optimizer is SGD else 1e-4)


def test_the_average_of_weights_equals_its_definition_and_timm():
    model = small_net("", (3, 16, 16), 4)
    average, peer = average_of(model), load("timm.utils").ModelEmaV3(model, decay=0.75)
    expected = {name: value.clone().double() for name, value in model.state_dict().items()}
    for _ in range(5):
        model(torch.randn(4, 3, 16, 16))  # moves the running statistics
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(torch.randn_like(weight))
        update(average, model, 0.75)
        peer.update(model)
        for name, value in model.state_dict().items():
            expected[name] = value if name.endswith("tracked") else 0.75 * expected[name] + 0.25 * value.double()
    for name, value in average.state_dict().items():
        assert torch.equal(value, peer.module.state_dict()[name])
        assert torch.allclose(value.double(), expected[name].double(), atol=1e-5)


def test_the_average_moves_once_per_step(make_run):
    training = state.start(make_run(batch_size=36, accumulate=2, ema={"decay": 0.75}))
    before = [weight.clone() for weight in training.model.parameters()]
    epoch.run_epoch(training, 1, training.model)  # one step
    assert not torch.equal(before[-1], list(training.model.parameters())[-1])
    for old, new, average in zip(before, training.model.parameters(), training.average.parameters(), strict=True):
        assert torch.allclose(average, 0.75 * old + 0.25 * new, atol=1e-6)


def test_averaged_weights_are_what_is_evaluated_and_saved(make_run):
    plain, averaged = make_run("plain"), make_run("averaged", ema={"decay": 0.9})
    first, second = list(train(plain)), list(train(averaged))
    assert [record.train_loss for record in first] == [record.train_loss for record in second]  # training is the same
    assert [record.validation.loss for record in first] != [record.validation.loss for record in second]
    data = network.load_data(averaged)
    model = network.build_network(averaged, data)
    load_weights(Path(averaged.folder) / WEIGHTS, model)
    prepare = state.start(averaged).feed.look
    got = evaluate(model, data.validation, averaged.recipe, prepare=lambda inputs: evaluated(prepare, inputs))
    assert got == second[-1].validation and weights(plain) != weights(averaged)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"augment": CROPS, "mix": {"mixup_alpha": 0.8, "cutmix_alpha": 1.0}, "ema": {"decay": 0.9}, "accumulate": 2},
        {"gradient_clip": 1.0, "optimizer": {"name": "adamw", "lr": 0.01, "decay_one_dimensional": False}},
    ],
)
def test_no_step_waits_for_the_device(make_run, changes, monkeypatch):
    training = state.start(make_run(**changes))
    real, last = epoch.learning_rate, {}

    def rate(recipe, step, steps_per_epoch):
        last["step"] = step, steps_per_epoch
        return real(recipe, step, steps_per_epoch)

    monkeypatch.setattr(epoch, "learning_rate", rate)
    # The one number that is read is the epoch's loss, after its last step.
    with pytest.raises(AssertionError, match="_local_scalar_dense waits"), NoWaiting():
        epoch.run_epoch(training, 1, training.model)
    assert last["step"][0] == last["step"][1] - 1


def names_of(groups, model):
    known = {id(weight): name for name, weight in model.named_parameters()}
    return [{known[id(weight)] for weight in group["params"]} for group in groups]


@pytest.mark.parametrize(("arch", "recipe"), [("swin_t", "paper-f"), ("conv2next/tiny", "paper-g")])
def test_biases_norms_scales_and_position_tables_do_not_decay(arch, recipe):
    model = build_model(arch, (3, 32, 32), 10)
    optimizer = network.build_optimizer(load_recipe(recipe), model)
    decayed, spared = names_of(optimizer.param_groups, model)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.05, 0.0]
    assert decayed | spared == dict(model.named_parameters()).keys() and not decayed & spared
    for name, weight in model.named_parameters():
        table = name.endswith("relative_position_bias_table")
        assert (name in spared) == (weight.dim() <= 1 or name.endswith("bias") or table), name
    assert arch != "swin_t" or sum("position_bias_table" in name for name in spared) == 12
    everything = network.build_optimizer(load_recipe("digits"), model).param_groups
    assert len(everything) == 1 and everything[0]["weight_decay"] == 5e-4


def test_the_loss_of_mixed_labels_is_their_cross_entropy_smoothed_once(make_recipe):
    outputs, targets = torch.randn(6, 4), torch.rand(6, 4).softmax(dim=1)
    recipe = make_recipe(label_smoothing=0.1, mix={"mixup_alpha": 0.8})
    expected = -(targets * outputs.log_softmax(dim=1)).sum(dim=1).mean()
    assert torch.allclose(batch_loss(recipe, outputs, targets, smooth=True, mixed=True), expected)
    assert not torch.allclose(batch_loss(recipe, outputs, targets, smooth=True), expected)  # values to regress


def test_mixed_labels_are_learned_as_probabilities(make_run):
    changes = {"epochs": 12, "label_smoothing": 0.1, "optimizer": {"name": "adamw", "lr": 0.02}}
    *_, mixed = train(make_run("mixed", mix={"mixup_alpha": 0.2}, **changes))
    *_, plain = train(make_run("plain", **changes))
    assert mixed.train_loss > plain.train_loss and mixed.validation.accuracy > 0.6


def test_drop_last_trains_on_whole_steps_only(make_run):
    seen = []
    for drop in (False, True):
        training = state.start(make_run(f"drop{drop}", batch_size=16, accumulate=2, drop_last=drop))
        seen.append(epoch.run_epoch(training, 1, training.model).samples)
    assert seen == [72, 64]
