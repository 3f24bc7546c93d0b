"""Training images per second of our loop over a plain PyTorch loop with a DataLoader: same data, network, recipe.

The plain loop is a user's ordinary script: a Dataset of PIL images with torchvision's RandomCrop(32, padding=4), flip,
ToTensor and Normalize, a DataLoader with (persistent) worker processes, torch.optim.SGD, `loss.item()` at each step.
Both use the same precision. Epochs of the two alternate after one warm-up epoch each; the A/A row has the plain loop on
both sides. The bound is a 95 % interval of the median of the paired ratios, from 2,000 resamples.

    python benchmarks/loop.py [--pairs N] [--threads T] [--workers W] [--images N] [--net NAME ...]
"""

import argparse
import statistics
import tempfile
from functools import partial

import torch
from paired import interval, machine, ratios, rounds, seconds
from torch import nn
from torch.nn import functional as F

from sugar_search.data._dataset import Dataset, Split
from sugar_search.models._model import build_model
from sugar_search.training import network
from sugar_search.training.epoch import run_epoch
from sugar_search.training.network import autocast
from sugar_search.training.recipe import Recipe
from sugar_search.training.run import RunSpec
from sugar_search.training.state import start
from sugar_search.vision import load

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
RECIPE = Recipe.model_validate(
    {
        "epochs": 1000,
        "batch_size": 128,
        "optimizer": {"name": "sgd", "lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4},
        "validation": {"split": "test"},
        "augment": {"crop": "padded", "flip": 0.5},
    }
)


def small_conv(input_shape, outputs):
    """Four convolutions, 0.07 M parameters: small enough that the input path matters."""
    layers, width = [], input_shape[0]
    for wider in (16, 32, 64, 64):
        layers += [nn.Conv2d(width, wider, 3, stride=2, padding=1), nn.BatchNorm2d(wider), nn.ReLU()]
        width = wider
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, outputs))


NETS = {"small-conv": small_conv, "resnet18": partial(build_model, "resnet18")}
IMAGES = {"cpu": {"small-conv": 2048, "resnet18": 512}, "cuda": {"small-conv": 50_000, "resnet18": 50_000}}


def dataset(samples):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (samples, 3, 32, 32), generator=generator, dtype=torch.uint8)
    split = Split(images, torch.randint(0, 10, (samples,), generator=generator))
    return Dataset("random bytes", "classification", 10, split, None, split, MEAN, STD)


class Pictures(torch.utils.data.Dataset):
    """What torchvision's CIFAR10 class does, on the same bytes."""

    def __init__(self, data):
        transforms = load("torchvision.transforms")
        steps = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
        self.transform = transforms.Compose([*steps, transforms.Normalize(MEAN, STD)])
        self.images = data.train.inputs.permute(0, 2, 3, 1).contiguous().numpy()
        self.targets = data.train.targets.tolist()
        self.picture = load("PIL.Image").fromarray

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, row):
        return self.transform(self.picture(self.images[row])), self.targets[row]


def plain_loop(build, data, device, workers):
    """Returns a function that trains one epoch."""
    model = build(data.input_shape, data.outputs).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    loader = torch.utils.data.DataLoader(
        Pictures(data),
        batch_size=128,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
    )

    def epoch():
        model.train()
        total = 0.0
        for inputs, targets in loader:
            inputs, targets = inputs.to(device, non_blocking=True), targets.to(device, non_blocking=True)
            with autocast(RECIPE, device):
                outputs = model(inputs)
            loss = F.cross_entropy(outputs.float(), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(inputs)
        return total

    return epoch


def our_loop(build, data, device, threads, folder):
    network._on_device = lambda name, data_dir, where: data.to(where)
    network.build_model = lambda arch, shape, outputs, **options: build(shape, outputs)
    spec = RunSpec("resnet18", "random", RECIPE, 1, None, device=str(device), threads=threads, folder=folder)
    training = start(spec)
    epochs = iter(range(1, 1000))
    return lambda: run_epoch(training, next(epochs), training.model)


def main():
    parser = argparse.ArgumentParser(description="Our training loop over a plain one")
    parser.add_argument("--pairs", type=int, default=7, help="paired epochs (default 7)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default 2)")
    parser.add_argument("--workers", type=int, default=2, help="DataLoader workers of the plain loop (default 2)")
    parser.add_argument("--images", type=int, help="training images (default: by network and device)")
    parser.add_argument("--net", choices=NETS, action="append", help="default: all")
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(arguments.threads)
    print(f"{machine(device, arguments.threads)}, {arguments.workers} DataLoader workers")
    print(f"{'network':<12}{'images':>8}  {'pair':<16}{'images/s':>10}{'plain':>10}{'ratio':>8}   95 % of the median")
    for name in arguments.net or NETS:
        data = dataset(arguments.images or IMAGES[device.type][name])
        with tempfile.TemporaryDirectory() as folder:
            ours = our_loop(NETS[name], data, device, arguments.threads, folder)
            plain = plain_loop(NETS[name], data, device, arguments.workers)
            same = plain_loop(NETS[name], data, device, arguments.workers)
            for each in (ours, plain, same):
                seconds(each)
            for label, first in (("A/A: plain", same), ("ours", ours)):
                times = rounds({label: first, "plain": plain}, arguments.pairs)
                faster = ratios(times, "plain", label)
                speeds = [len(data.train) / statistics.median(column) for column in times.values()]
                low, high = interval(faster)
                print(
                    f"{name:<12}{len(data.train):>8}  {label:<16}{speeds[0]:>10,.0f}{speeds[1]:>10,.0f}"
                    f"{statistics.median(faster):>8.2f}   {low:.2f} to {high:.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
