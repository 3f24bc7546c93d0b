"""Batches: what the network is given, against timm and torchvision called directly, and how it gets there."""

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sugar_search.data._dataset import Dataset, Split
from sugar_search.errors import InputError
from sugar_search.training import augment, feed
from sugar_search.training.network import validated
from sugar_search.training.recipe import Recipe, load_recipe
from sugar_search.training.run import RunSpec
from sugar_search.training.seeds import reseed
from sugar_search.vision import load

CPU = torch.device("cpu")
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def recipe_of(batch_size=8, **tables):
    content = {"epochs": 1, "batch_size": batch_size, "optimizer": {"name": "sgd", "lr": 0.1}}
    return Recipe.model_validate({**content, **tables})


def spec_of(recipe, seed=7, loaders=0):
    return RunSpec("mlp", "small", recipe, seed, None, loaders=loaders)


def feed_of(recipe, data, device=CPU, **options):
    return feed.build_feed(spec_of(recipe, **options), data, device)


def epoch_of(made, epoch=1, seed=0):
    """Rows of each batch, and the batches themselves."""
    order = torch.Generator().manual_seed(seed)
    steps = feed.cut(made.recipe, torch.randperm(len(made.data.train), generator=order))
    return list(itertools.chain(*steps)), list(feed.batches(made, epoch, steps, order))


def same(first, second):
    return all(torch.equal(a, b) for one, two in zip(first, second, strict=True) for a, b in zip(one, two))


def directly(name, data, rows, seed, epoch, number):
    """One batch made by timm alone, with the settings of its users' own scripts."""
    transform = load("timm.data").create_transform(
        input_size=224 if name == "paper-f" else 16,
        is_training=True,
        color_jitter=0.4,
        auto_augment="rand-m9-mstd0.5-inc1",
        re_prob=0.25,
        re_mode="pixel",
        re_count=1,
        interpolation="bicubic",
        **IMAGENET,
    )
    if name == "paper-g":
        transform.transforms[0] = load("torchvision.transforms").RandomCrop(16, padding=4)
    to_picture = load("torchvision.transforms.functional").to_pil_image
    images = []
    for row in rows.tolist():
        reseed(seed, epoch, "sample", row)
        images.append(transform(to_picture(data.train.take(torch.tensor([row]))[0][0])))
    mix = load("timm.data").Mixup(
        mixup_alpha=0.8, cutmix_alpha=1.0, switch_prob=0.5, mode="batch", label_smoothing=0.1, num_classes=4
    )
    reseed(seed, epoch, "batch", number)
    return mix(torch.stack(images), data.train.take(rows)[1])


@pytest.mark.parametrize("name", ["paper-f", "paper-g"])
def test_the_papers_batches_equal_those_of_timm_bit_for_bit(make_images, name):
    recipe = load_recipe(name).model_copy(update={"batch_size": 8})
    data = validated(make_images(train=20), recipe.validation, 7)
    rows, batches = epoch_of(feed_of(recipe, data), epoch=3)
    assert len(batches) == 2 and {len(part) for part in rows} == {8}
    for number, batch in enumerate(batches):
        assert same([batch], [directly(name, data, rows[number], 7, 3, number)])
        assert batch[1].sum(dim=1).tolist() == pytest.approx([1.0] * 8)


@pytest.mark.parametrize(
    ("table", "options"),
    [
        ({"erase_probability": 0.9, "erase_count": 3}, {"re_prob": 0.9, "re_mode": "const", "re_count": 3}),
        ({"erase_probability": 0.9, "erase_mode": "rand"}, {"re_prob": 0.9, "re_mode": "rand"}),
        ({"color_jitter": 0.3, "flip": 0.9, "interpolation": "bilinear"}, {"color_jitter": 0.3, "hflip": 0.9}),
        ({"auto_augment": "original-mstd0.5"}, {"auto_augment": "original-mstd0.5", "interpolation": "bicubic"}),
    ],
)
def test_each_key_of_the_augmentation_is_the_one_of_timm(make_images, table, options):
    data = make_images(train=12)
    recipe = recipe_of(batch_size=12, augment={"crop": "random-resized", "resize": 20, **table})
    (rows,), ((inputs, _),) = epoch_of(feed_of(recipe, data))
    plain = {"hflip": 0.0, "color_jitter": None, "interpolation": recipe.augment.interpolation}
    transform = load("timm.data").create_transform(
        20, is_training=True, mean=data.mean, std=data.std, **{**plain, **options}
    )
    to_picture, images = load("torchvision.transforms.functional").to_pil_image, []
    for row in rows.tolist():
        reseed(7, 1, "sample", row)
        images.append(transform(to_picture(data.train.inputs[row])))
    assert torch.equal(inputs, torch.stack(images))


@pytest.mark.parametrize(
    ("table", "options"),
    [
        ({"mixup_alpha": 0.4, "mode": "pair"}, {"mixup_alpha": 0.4, "mode": "pair"}),
        (
            {"cutmix_alpha": 1.0, "mode": "elem", "probability": 0.7},
            {"mixup_alpha": 0, "cutmix_alpha": 1.0, "mode": "elem", "prob": 0.7},
        ),
        (
            {"mixup_alpha": 1.0, "cutmix_alpha": 1.0, "switch_probability": 0.9},
            {"cutmix_alpha": 1.0, "switch_prob": 0.9},
        ),
    ],
)
def test_each_key_of_mixing_is_the_one_of_timm(make_images, table, options):
    data = make_images(train=16)
    rows, batches = epoch_of(feed_of(recipe_of(mix=table, label_smoothing=0.2), data))
    plain = [batch for _, batch in zip(rows, epoch_of(feed_of(recipe_of(), data))[1])]
    mix = load("timm.data").Mixup(label_smoothing=0.2, num_classes=4, **options)
    for number, (inputs, targets) in enumerate(plain):
        reseed(7, 1, "batch", number)
        assert same([batches[number]], [mix(inputs, targets)])


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


class NoWaiting(TorchDispatchMode):
    """Fails on operators that make the host wait for a device, whatever the device is here."""

    WAITING = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "masked_select", "unique")

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.__name__.split(".")[0]
        if any(name == waiting or name.startswith(f"{waiting}_") for waiting in self.WAITING):
            raise AssertionError(f"{name} waits for the device")
        return function(*args, **(kwargs or {}))


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


def test_evaluation_crops_the_centre_as_timm_does(make_images):
    data = make_images(size=64, test=4)
    look = feed_of(recipe_of(augment={"resize": 28, "evaluate_crop": 0.875}), data).look
    transform = load("timm.data").create_transform(
        28, interpolation="bicubic", crop_pct=0.875, mean=data.mean, std=data.std
    )
    to_picture = load("torchvision.transforms.functional").to_pil_image
    expected = torch.stack([transform(to_picture(image)) for image in data.test.inputs])
    assert (augment.evaluated(look, data.test.inputs) - expected).abs().max() < 1.01 / 255 / min(data.std)


def test_jitter_beside_auto_augment_acts_only_when_forced(make_images):
    data = make_images(train=16)
    table = {"auto_augment": "rand-m9-mstd0.5-inc1", "color_jitter": 0.4}
    without = recipe_of(augment={"auto_augment": table["auto_augment"]})
    assert same(epoch_of(feed_of(recipe_of(augment=table), data))[1], epoch_of(feed_of(without, data))[1])
    forced = feed_of(recipe_of(augment={**table, "color_jitter_forced": True}), data)
    assert not same(epoch_of(forced)[1], epoch_of(feed_of(without, data))[1])
    names = [type(each).__name__ for each in forced.transform.transforms]
    assert names == ["RandAugment", "ColorJitter", "MaybeToTensor", "Normalize"]


def test_posterizing_to_no_bits_gives_black_where_pillow_refuses_it(make_images):
    from sugar_search.training.pictures import _operations, _posterize

    posterize = load("timm.data.auto_augment").posterize
    image = load("torchvision.transforms.functional").to_pil_image(make_images(train=1).train.inputs[0])
    for bits in range(1, 9):
        assert _posterize(image, bits).tobytes() == posterize(image, bits).tobytes()
    assert not any(_posterize(image, 0).tobytes())
    for policy in ("rand-m9-inc1", "original-mstd0.5", "v0", "augmix-m3", "3a"):
        made = feed_of(recipe_of(augment={"auto_augment": policy}), make_images())
        functions = [each.aug_fn for each in _operations(made.transform.transforms)]
        assert functions and posterize not in functions
        assert (_posterize in functions) == (policy != "3a")


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
