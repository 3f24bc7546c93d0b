"""What a recipe can ask of the loop: accumulation, averages, mixing, decay groups, splits; resumed bit for bit."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from test_feed import NoWaiting
from torch import nn

from sugar_search.errors import InputError
from sugar_search.models._model import build_model
from sugar_search.symbolic.surrogate import surrogate
from sugar_search.training import epoch, network, state
from sugar_search.training.augment import evaluated
from sugar_search.training.average import average_of, update
from sugar_search.training.checkpoint import load_weights
from sugar_search.training.feed import check_fit
from sugar_search.training.loop import evaluate_test, train
from sugar_search.training.metrics import batch_loss, evaluate
from sugar_search.training.recipe import load_recipe
from sugar_search.training.run import RunSpec
from sugar_search.training.state import WEIGHTS
from sugar_search.vision import load

SHARE = {"split": "share", "share": 0.1}
SGD = {"name": "sgd", "lr": 0.05, "momentum": 0.9}
CROPS = {"crop": "padded", "padding": 2, "flip": 0.5}
PICTURES = {**CROPS, "auto_augment": "rand-m9-mstd0.5-inc1", "erase_probability": 0.5, "erase_mode": "pixel"}


def curve(records):
    return [dataclasses.replace(record, seconds=0.0, images_per_second=0.0, peak_memory=None) for record in records]


def weights(spec):
    return (Path(spec.folder) / WEIGHTS).read_bytes()


def small_net(arch, shape, outputs, **options):
    return nn.Sequential(
        nn.Conv2d(shape[0], 8, 3, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, outputs),
    )


@pytest.fixture
def make_run(make_spec, make_images, monkeypatch):
    """Builds a run of a small convolutional net, with batch norm and dropout, on small images."""
    make_images()
    monkeypatch.setattr(network, "build_model", small_net)

    def make(folder="run", *, loaders=0, **changes):
        content = {"epochs": 3, "batch_size": 16, "validation": SHARE, "optimizer": SGD, **changes}
        return dataclasses.replace(make_spec(folder, **content), loaders=loaders)

    return make


@pytest.mark.parametrize(
    ("changes", "loaders"),
    [
        ({"augment": CROPS}, 0),
        ({"augment": PICTURES}, 0),
        ({"augment": PICTURES}, 1),
        ({"augment": CROPS, "mix": {"mixup_alpha": 0.8, "cutmix_alpha": 1.0}, "label_smoothing": 0.1}, 0),
        ({"ema": {"decay": 0.9}, "accumulate": 2, "optimizer": {"name": "adamw", "lr": 0.01}}, 0),
        (
            {
                "augment": PICTURES,
                "mix": {"mixup_alpha": 0.8, "cutmix_alpha": 1.0},
                "ema": {"decay": 0.9},
                "accumulate": 2,
                "drop_last": True,
                "gradient_clip": 1.0,
                "optimizer": {"name": "adamw", "lr": 0.01, "weight_decay": 0.05, "decay_one_dimensional": False},
                "schedule": {"name": "cosine", "warmup_epochs": 1.0},
                "selection": {"metric": "accuracy", "epoch": "best"},
            },
            1,
        ),
    ],
)
def test_a_resumed_run_gets_the_same_bits(make_run, changes, loaders):
    straight = make_run("straight", **changes)
    whole = curve(train(straight))
    for stop in (1, 2):
        paused = make_run(f"paused{stop}", loaders=loaders, **changes)
        epochs = train(paused)
        for _ in range(stop):
            next(epochs)
        epochs.close()
        assert curve(train(paused)) == whole and weights(paused) == weights(straight)
    assert evaluate_test(paused) == evaluate_test(straight)


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


def test_validation_comes_from_where_the_recipe_says(make_run, make_images):
    data = make_images()
    loaded = {name: network.load_data(make_run(validation=table)) for name, table in {
        "share": SHARE,
        "other": {**SHARE, "share": 0.2},
        "pinned": {**SHARE, "seed": 5},
        "test": {"split": "test"},
    }.items()}  # fmt: skip
    assert [len(each.validation) for each in loaded.values()] == [8, 16, 8, 24]
    assert [len(each.train) for each in loaded.values()] == [72, 64, 72, 80]
    assert loaded["test"].validation is data.test
    shared = loaded["share"]
    assert not set(shared.train.rows.tolist()) & set(shared.validation.rows.tolist())
    assert shared.train.inputs.data_ptr() == data.train.inputs.data_ptr()  # no copy
    other_seed = dataclasses.replace(make_run(), seed=2)
    assert not torch.equal(network.load_data(other_seed).validation.rows, shared.validation.rows)
    pinned = network.load_data(dataclasses.replace(make_run(validation={**SHARE, "seed": 5}), seed=2))
    assert torch.equal(pinned.validation.rows, loaded["pinned"].validation.rows)
    with pytest.raises(InputError, match=r'no validation split of its own.*split = "share"'):
        next(train(make_run("fixed", validation={"split": "fixed"})))
    make_images(validation=True)
    assert len(network.load_data(make_run(validation={"split": "fixed"})).validation) == 24


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


def test_a_record_tells_speed_and_peak_memory(make_run):
    record = next(train(make_run()))
    assert record.images_per_second > 0 and 50e6 < record.peak_memory < 1e12


def test_a_recipe_sets_the_options_of_its_architecture(make_images):
    make_images(size=32)
    parameters = {}
    for given in (True, False, 0.5):
        recipe = load_recipe("paper-b").model_copy(update={"arch": {"vgg16": {"batch_norm": given}}})
        spec = RunSpec("vgg16", "small", recipe, 1, None)
        if given == 0.5:
            with pytest.raises(InputError, match="batch_norm of arch vgg16 must be true or false"):
                network.build_network(spec, network.load_data(spec))
        else:
            model = network.build_network(spec, network.load_data(spec))
            parameters[given] = sum(weight.numel() for weight in model.parameters())
    assert parameters[True] - parameters[False] == 8448


def test_a_network_is_built_for_the_size_it_sees(make_run, make_images, monkeypatch):
    make_images()
    shapes = []
    monkeypatch.setattr(
        network, "build_model", lambda arch, shape, *rest: shapes.append(shape) or small_net(arch, shape, *rest)
    )
    next(train(make_run(augment={"resize": 24})))
    assert shapes == [(3, 24, 24)]


def test_compiling_is_part_of_a_runs_identity_and_where_data_lie_is_not(make_spec):
    spec = make_spec()
    same = [{"data_dir": "/data"}, {"loaders": 4}, {"compile": False}, {"sites": None}]
    assert {dataclasses.replace(spec, **change).digest for change in same} == {spec.digest}
    other = [{"compile": True}, {"sites": ("gelu",)}, {"sites": ("gelu", "relu")}]
    assert len({spec.digest, *(dataclasses.replace(spec, **change).digest for change in other)}) == 4
    changed = dataclasses.replace(spec, sites=("gelu",), compile=True, data_dir="/data", loaders=2)
    assert RunSpec.from_dict(changed.to_dict()) == changed
    older = {
        key: value for key, value in spec.to_dict().items() if key not in ("data_dir", "loaders", "compile", "sites")
    }
    assert RunSpec.from_dict(older) == spec
    with pytest.raises(InputError, match="loaders must be 0 or more"):
        dataclasses.replace(spec, loaders=-1)


def test_only_the_forward_pass_of_training_is_compiled(make_run, monkeypatch):
    plain, compiled = make_run("plain"), dataclasses.replace(make_run("compiled"), compile=True)
    modes = []

    def compile_(model):
        return lambda inputs: modes.append(model.training) or model(inputs)

    monkeypatch.setattr(torch, "compile", compile_)
    assert curve(train(compiled)) == curve(train(plain)) and weights(compiled) == weights(plain)
    assert modes == [True] * 15


@pytest.mark.long
def test_a_compiled_run_learns_resumes_and_is_tested(make_run):
    spec = dataclasses.replace(
        make_run(epochs=8, ema={"decay": 0.5}), compile=True, surrogate=surrogate("bsilu").to_dict()
    )
    next(train(spec))
    *_, last = train(spec)
    assert last.epoch == 8 and last.validation.accuracy > 0.6 and evaluate_test(spec).accuracy > 0.6


def test_data_are_loaded_once_offline_and_held_on_a_gpu_where_they_fit(make_spec, monkeypatch):
    network._on_device.cache_clear()
    asked = []
    gpu = torch.device("cuda", 0)

    def load_dataset(text, **options):
        asked.append((text, options))
        return SimpleNamespace(nbytes=1000, to=lambda device: device)

    monkeypatch.setattr(network, "load_dataset", load_dataset)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2600, 10_000))
    assert network._on_device("digits", None, gpu) == gpu == network._on_device("digits", None, gpu)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2400, 10_000))
    assert network._on_device("other", "/data", gpu).nbytes == 1000  # stays where it is
    assert network._on_device("other", "/data", torch.device("cpu")) == torch.device("cpu")
    offline = {"data_dir": Path("/data"), "offline": True}
    assert asked == [("digits", {**offline, "data_dir": None}), ("other", offline), ("other", offline)]
    network._on_device.cache_clear()


def test_images_changed_one_by_one_stay_on_the_cpu(make_run, monkeypatch, make_images):
    data, where = make_images(), []
    monkeypatch.setattr(network, "_on_device", lambda name, data_dir, device: where.append(device.type) or data)
    monkeypatch.setattr(network, "device_of", lambda spec: torch.device("cuda", 0))
    for table in (CROPS, PICTURES):
        network.load_data(make_run(augment=table))
    assert where == ["cuda", "cpu"]


def test_the_weights_kept_are_those_of_the_epoch_in_the_records_whatever_was_killed_when(make_spec, monkeypatch):
    """Killed between the new weights and the checkpoint; the epoch, done again, ends otherwise (as it may on a GPU)."""
    from sugar_search.training import loop
    from sugar_search.training.run import selected

    spec = make_spec(selection={"metric": "loss", "epoch": "best"}, optimizer={"name": "sgd", "lr": 0.02})

    def killed(training):
        raise KeyboardInterrupt

    run = train(spec)
    kept = [next(run) for _ in range(2)]
    assert kept[1].validation.loss < kept[0].validation.loss  # the second epoch is the best so far
    monkeypatch.setattr(loop, "store", killed)
    with pytest.raises(KeyboardInterrupt):
        next(run)
    both = {Path(spec.folder) / f"weights-{epoch:04d}.safetensors" for epoch in (2, 3)}
    assert both <= set(Path(spec.folder).iterdir())  # either epoch may turn out the best
    monkeypatch.undo()
    real = loop._epoch

    def worse(training, epoch, forward):
        record = real(training, epoch, forward)
        return dataclasses.replace(record, validation=dataclasses.replace(record.validation, loss=9.0))

    monkeypatch.setattr(loop, "_epoch", worse)
    history = list(train(spec))
    assert selected(spec.recipe, history).epoch == 2
    monkeypatch.undo()
    data = network.load_data(spec)
    model = network.build_network(spec, data)
    load_weights(Path(spec.folder) / WEIGHTS, model)
    assert evaluate(model, data.validation, spec.recipe).loss == pytest.approx(kept[1].validation.loss, rel=1e-6)
    assert not list(Path(spec.folder).glob("weights-*"))


def test_a_cpu_run_touches_no_gpu(make_spec, monkeypatch):
    def touched(*arguments):
        raise AssertionError("a GPU was touched")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_rng_state", touched)
    monkeypatch.setattr(torch.cuda, "set_device", touched)
    spec = make_spec(epochs=1)
    assert len(list(train(spec))) == 1
    evaluate_test(spec)


def test_one_training_sample_is_no_training(make_run, make_images):
    data = make_images(train=2)
    with pytest.raises(InputError, match="two samples or more"):
        check_fit(load_recipe("own-data"), data.with_validation(0.5, 1))
