"""One batch of each recipe of the paper, and its learning rates, beside timm (or torchvision) called directly.

The images are random bytes of the right size. Both sides draw from generators with the same seeds; each line shows the
first values of the batch, and whether all of them are equal bit for bit.

    python benchmarks/recipes.py     about ten seconds on one core
"""

import torch

from sugar_search.data._dataset import Dataset, Split
from sugar_search.training import feed
from sugar_search.training.network import validated
from sugar_search.training.recipe import load_recipe
from sugar_search.training.run import RunSpec
from sugar_search.training.schedule import learning_rate
from sugar_search.training.seeds import reseed
from sugar_search.vision import load

SEED, EPOCH = 1, 1
EPOCHS = (0, 10, 20, 150, 299)  # finished, at whose end the learning rate is shown
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
# Side of the images in pixels, classes, training samples of the real dataset after the recipe's validation split.
SIZES = {"paper-b": (32, 10, 45_000), "paper-f": (64, 200, 95_000), "paper-g": (32, 100, 45_000)}


def dataset(side, classes, samples=250):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (samples, 3, side, side), generator=generator, dtype=torch.uint8)
    split = Split(images, torch.arange(samples) % classes)
    return Dataset("random bytes", "classification", classes, split, None, split, *IMAGENET.values())


def ours(recipe, data):
    spec = RunSpec("mlp", "random", recipe, SEED, None)
    made = feed.build_feed(spec, data, torch.device("cpu"))
    order = torch.Generator().manual_seed(SEED)
    steps = feed.cut(recipe, torch.randperm(len(data.train), generator=order))
    return steps[0][0], next(feed.batches(made, EPOCH, steps, order))


def timm_transform(name):
    transforms = load("torchvision.transforms")
    if name == "paper-b":
        return transforms.Compose([transforms.ToTensor(), transforms.Normalize(*IMAGENET.values())])
    transform = load("timm.data").create_transform(
        input_size=224 if name == "paper-f" else 32,
        is_training=True,
        color_jitter=0.4,
        auto_augment="rand-m9-mstd0.5-inc1",
        re_prob=0.25,
        re_mode="pixel",
        re_count=1,
        interpolation="bicubic",
        **IMAGENET,
    )
    if name == "paper-g":  # as Conv2NeXt's code does for images of 32x32
        transform.transforms[0] = transforms.RandomCrop(32, padding=4)
    return transform


def directly(name, data, rows, classes):
    transform, to_picture = timm_transform(name), load("torchvision.transforms.functional").to_pil_image
    images = []
    for row in rows.tolist():
        reseed(SEED, EPOCH, "sample", row)
        images.append(transform(to_picture(data.train.take(torch.tensor([row]))[0][0])))
    inputs, targets = torch.stack(images), data.train.take(rows)[1]
    if name == "paper-b":
        return inputs, targets
    reseed(SEED, EPOCH, "batch", 0)
    mixup = {"mixup_alpha": 0.8, "cutmix_alpha": 1.0, "switch_prob": 0.5, "mode": "batch", "label_smoothing": 0.1}
    return load("timm.data").Mixup(**mixup, num_classes=classes)(inputs, targets)


def timm_rates(name, steps):
    """timm's scheduler as the code of Swin sets it up, at the first step after each number of epochs."""
    peak, low, start = {"paper-f": (5e-4, 5e-6, 5e-7), "paper-g": (4e-3, 1e-6, 0.0)}[name]
    scale = 200 / 512 if name == "paper-f" else 1.0
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak * scale)
    scheduler = load("timm.scheduler").CosineLRScheduler(
        optimizer,
        t_initial=280 * steps,
        lr_min=low * scale,
        warmup_lr_init=start * scale,
        warmup_t=20 * steps,
        cycle_limit=1,
        t_in_epochs=False,
        warmup_prefix=True,
    )
    for epoch in EPOCHS:
        scheduler.step_update(epoch * steps)
        yield optimizer.param_groups[0]["lr"]


def main():
    print(f"torch {torch.__version__}, timm {load('timm').__version__}, Pillow {load('PIL').__version__}")
    print("\nfirst batch: three values of the first image's middle row, two largest targets")
    for name, (side, classes, _) in SIZES.items():
        recipe = load_recipe(name)
        data = validated(dataset(side, classes), recipe.validation, SEED)
        rows, mine = ours(recipe, data)
        peer = directly(name, data, rows, classes)
        equal = all(torch.equal(one, other) for one, other in zip(mine, peer))
        for who, (inputs, targets) in (("ours", mine), ("timm" if recipe.mix else "torchvision", peer)):
            values = inputs[0, 0, inputs.shape[2] // 2, :3].tolist()
            top = targets[0].topk(2).values.tolist() if targets.is_floating_point() else [targets[0].item()]
            shown = " ".join(f"{value:9.6f}" for value in values)
            print(f"{name} {who:<12}{shown}   targets {[round(each, 6) for each in top]!s:<22} {tuple(inputs.shape)}")
        print(f"{name} {'equal' if equal else 'DIFFERENT'} in all {mine[0].numel():,} values and all targets")
    print("\nlearning rate at the first step after E epochs")
    print(f"{'':<14}{'steps/epoch':>12}" + "".join(f"{f'E = {epoch}':>14}" for epoch in EPOCHS))
    for name in ("paper-f", "paper-g"):
        recipe = load_recipe(name)
        steps = feed.steps_per_epoch(recipe, SIZES[name][2])
        rates = [learning_rate(recipe, epoch * steps, steps) for epoch in EPOCHS]
        for who, row in (("ours", rates), ("timm", timm_rates(name, steps))):
            print(f"{name} {who:<6}{steps:>12}" + "".join(f"{rate:>14.6e}" for rate in row))


if __name__ == "__main__":
    main()
