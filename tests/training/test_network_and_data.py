"""What a run is made of: its samples and where they lie, its network, and whether that is compiled."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from training_runs import curve, small_net, weights

from sugar_search.errors import InputError
from sugar_search.symbolic.surrogate import surrogate
from sugar_search.training import network
from sugar_search.training.feed import check_fit
from sugar_search.training.loop import evaluate_test, train
from sugar_search.training.recipe import load_recipe
from sugar_search.training.run import RunSpec

SHARE = {"split": "share", "share": 0.1}
CROPS = {"crop": "padded", "padding": 2, "flip": 0.5}
PICTURES = {**CROPS, "auto_augment": "rand-m9-mstd0.5-inc1", "erase_probability": 0.5, "erase_mode": "pixel"}


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
