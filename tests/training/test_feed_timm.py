"""Batches against those of timm, called directly with the settings of its users."""

import pytest
import torch
from feed_batches import epoch_of, feed_of, recipe_of, same

from sugar_search.training import augment
from sugar_search.training.network import validated
from sugar_search.training.recipe import load_recipe
from sugar_search.training.seeds import reseed
from sugar_search.vision import load

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


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
