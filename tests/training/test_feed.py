"""Batches: which samples they hold, how they get to the network, and what may be done to them."""

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from feed_batches import CPU, NoWaiting, epoch_of, feed_of, recipe_of, same

from sugar_search.data._dataset import Dataset, Split
from sugar_search.errors import InputError
from sugar_search.training import augment, feed
from sugar_search.training.network import validated
from sugar_search.training.recipe import load_recipe
from sugar_search.vision import load


def test_paper_b_is_plain_normalised_images(make_images):
    data = validated(make_images(train=20), load_recipe("paper-b").validation, 7)
    (rows,), ((inputs, targets),) = epoch_of(feed_of(load_recipe("paper-b"), data))
    transforms = load("torchvision.transforms")
    plain = transforms.Compose([transforms.ToTensor(), transforms.Normalize(data.mean, data.std)])
    to_picture, (images, classes) = load("torchvision.transforms.functional").to_pil_image, data.train.take(rows)
    assert torch.equal(inputs, torch.stack([plain(to_picture(image)) for image in images])) and len(rows) == 18
    assert torch.equal(targets, classes) and targets.dtype == torch.int64


def test_padded_crops_and_flips_are_windows_of_the_image_on_black(make_images):
    data = make_images(train=200)
    made = feed_of(recipe_of(augment={"crop": "padded", "padding": 2, "flip": 0.5}, batch_size=64), data)
    rows, batches = epoch_of(made)
    crop, seen = load("torchvision.transforms.functional").crop, set()
    for part, (inputs, _) in zip(rows, batches):
        for row, image in zip(part, inputs):
            padded = torch.nn.functional.pad(data.train.inputs[row], [2] * 4)
            for top, left, flip in itertools.product(range(5), range(5), (False, True)):
                window = crop(padded, top, left, 16, 16)
                window = window.flip(2) if flip else window
                if torch.equal(augment.normalised(made.look, window[None])[0], image):
                    seen.add((top, left, flip))
                    break
            else:
                pytest.fail("no window")
    assert {each[0] for each in seen} == {each[1] for each in seen} == set(range(5)) and len(seen) > 40
    again, other = epoch_of(made)[1], epoch_of(made, seed=1)[1]
    assert same(batches, again) and not same(batches, other)


def test_each_sample_gets_the_moves_drawn_for_it(make_images):
    look = feed_of(recipe_of(augment={"crop": "padded", "padding": 1, "flip": 0.5}), make_images()).look
    inputs = make_images().train.inputs[:2]
    moves = augment.Moves(torch.tensor([1, 1, 0, 2]), torch.tensor([1, 1, 2, 0]), torch.tensor([1, 1, 0, 1]).bool())
    padded = torch.nn.functional.pad(inputs, [1] * 4)
    expected = [padded[0, :, :16, 2:], padded[1, :, 2:, :16].flip(2)]
    assert torch.equal(augment.moved(look, inputs, moves, slice(2, 4)), torch.stack(expected))


def test_loader_processes_change_no_bit_and_nobody_elses_numbers(make_images):
    data = make_images(train=24)
    table = {"crop": "padded", "auto_augment": "rand-m9-mstd0.5-inc1", "erase_probability": 0.5, "erase_mode": "pixel"}
    recipe = recipe_of(augment=table, mix={"mixup_alpha": 0.8, "cutmix_alpha": 1.0})
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    here = epoch_of(feed_of(recipe, data))[1]
    assert same(here, epoch_of(feed_of(recipe, data, loaders=2))[1])
    assert not same(here, epoch_of(feed_of(recipe, data), epoch=2)[1])
    assert not same(here, epoch_of(feed_of(recipe, data, seed=8))[1])
    assert random.getstate() == states[0] and np.random.get_state()[1].tolist() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])


def test_data_that_do_not_fit_the_device_give_the_same_bits(make_images, monkeypatch):
    data = make_images(train=40)
    recipe = recipe_of(augment={"crop": "padded", "flip": 0.5})
    resident = epoch_of(feed_of(recipe, data))[1]
    monkeypatch.setattr(feed, "_is_resident", lambda made: False)
    assert same(resident, epoch_of(feed_of(recipe, data))[1])
    assert same(resident, epoch_of(feed_of(recipe, data, loaders=1))[1])


@pytest.mark.parametrize("mix", [None, {"mixup_alpha": 0.8}, {"cutmix_alpha": 1.0}])
def test_batches_on_the_device_wait_for_nothing(make_images, mix):
    table = {"crop": "padded", "flip": 0.5, "resize": 20}
    data = make_images().with_validation(0.1, 1)
    recipe = recipe_of(augment=table) if mix is None else recipe_of(augment=table, mix=mix)
    with NoWaiting(), pytest.raises(AssertionError, match="waits"):
        torch.ones(()).item()
    # Nothing can be read from a meta tensor, so this also finds copies to the host and tensors left on the CPU.
    for device in (CPU, torch.device("meta")):
        made = feed_of(recipe, data.to(device), device)
        order = torch.Generator().manual_seed(0)
        steps = feed.cut(recipe, torch.randperm(len(data.train), generator=order))
        with NoWaiting():
            batches = list(feed.batches(made, 1, steps, order))
        assert {inputs.device for inputs, _ in batches} == {device} and len(batches) == 9
        assert {(inputs.dtype, *inputs.shape) for inputs, _ in batches} == {(torch.float32, 8, 3, 20, 20)}


def test_images_for_a_gpu_are_channels_last_in_both_ways(make_images):
    data = make_images(train=16)
    for table in ({"crop": "padded", "flip": 0.5}, {"auto_augment": "rand-m9-mstd0.5-inc1"}):
        made = feed_of(recipe_of(augment=table), data)
        made = replace(made, look=replace(made.look, layout=torch.channels_last))
        for inputs, _ in epoch_of(made)[1]:
            assert inputs.is_contiguous(memory_format=torch.channels_last) and inputs.dtype == torch.float32
        assert augment.evaluated(made.look, data.test.inputs).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("interpolation", "larger"), [("bicubic", 64), ("bilinear", 85), ("bicubic", 12)])
def test_resizing_on_the_device_is_within_two_grey_levels_of_pil(make_images, interpolation, larger):
    data = make_images(size=24)
    table = {"resize": larger, "interpolation": interpolation}
    look = feed_of(recipe_of(augment=table), data).look
    ours = augment.evaluated(replace(look, mean=torch.zeros(3, 1, 1), std=torch.ones(3, 1, 1)), data.test.inputs) * 255
    transforms = load("torchvision.transforms")
    resize = transforms.Resize((larger, larger), transforms.InterpolationMode(interpolation))
    to_picture = load("torchvision.transforms.functional").to_pil_image
    to_tensor = load("torchvision.transforms.functional").pil_to_tensor
    pil = torch.stack([to_tensor(resize(to_picture(image))) for image in data.test.inputs])
    off = (ours - pil).abs().round()
    assert off.max() <= 2 and (off > 0).float().mean() < 0.12


@pytest.mark.parametrize(
    ("samples", "sizes"),
    [(13, [[4, 4], [5]]), (14, [[4, 4], [4, 2]]), (1, [[1]]), (3, [[3]]), (17, [[4, 4], [4, 5]]), (16, [[4, 4]] * 2)],
)
def test_every_sample_is_in_a_step_and_none_is_alone(samples, sizes):
    steps = feed.cut(recipe_of(batch_size=4, accumulate=2), torch.arange(samples))
    assert [[len(part) for part in step] for step in steps] == sizes
    assert torch.cat([*itertools.chain(*steps)]).tolist() == list(range(samples))
    assert feed.steps_per_epoch(recipe_of(batch_size=4, accumulate=2), samples) == len(sizes)


@pytest.mark.parametrize(("samples", "sizes"), [(19, [[4, 4]] * 2), (7, [[4]]), (3, [[3]]), (8, [[4, 4]])])
def test_drop_last_leaves_out_what_fills_no_step(samples, sizes):
    steps = feed.cut(recipe_of(batch_size=4, accumulate=2, drop_last=True), torch.arange(samples))
    assert [[len(part) for part in step] for step in steps] == sizes


def test_mixing_leaves_the_last_of_an_odd_batch_out(make_images):
    recipe = recipe_of(batch_size=4, mix={"mixup_alpha": 1.0, "mode": "elem"}, label_smoothing=0.1)
    assert [[len(part) for part in step] for step in feed.cut(recipe, torch.arange(11))] == [[4], [4], [2]]
    _, batches = epoch_of(feed_of(recipe, make_images(train=11)))
    assert [len(inputs) for inputs, _ in batches] == [4, 4, 2]
    assert all(targets.min() > 0.024 and targets.shape[1] == 4 for _, targets in batches)


def test_float_inputs_are_used_as_they_are():
    inputs, targets = torch.randn(6, 5), torch.randn(6, 2)
    split = Split(inputs, targets)
    data = Dataset("floats", "regression", 2, split, split, split)
    (rows,), ((got, wanted),) = epoch_of(feed_of(recipe_of(), data))
    assert torch.equal(got, inputs[rows]) and torch.equal(wanted, targets[rows])


def test_what_a_recipe_asks_of_images_is_refused_of_others(make_images):
    data, grey = make_images(), make_images(channels=1)
    floats = Split(torch.randn(6, 5), torch.zeros(6, dtype=torch.int64))
    flat = Dataset("floats", "classification", 2, floats, floats, floats)
    for table, dataset, told in [
        ({"augment": {"flip": 0.5}}, flat, "augmentation needs images"),
        ({"augment": {"auto_augment": "rand-m9"}}, grey, "uint8 images of 3 channels"),
        ({"augment": {"normalize": "imagenet"}}, grey, "has 3 channels"),
        ({"augment": {"auto_augment": "rand-q9"}}, data, "a policy that timm knows"),
        ({}, replace(data, mean=None), "needs a dataset with mean and std"),
        ({"mix": {"mixup_alpha": 1.0}}, flat, "mix needs"),
    ]:
        with pytest.raises(InputError, match=told):
            feed_of(recipe_of(**table), dataset)
        with pytest.raises(InputError, match=told):
            feed.check_fit(recipe_of(**table), dataset)
    feed.check_fit(load_recipe("paper-g"), data)
