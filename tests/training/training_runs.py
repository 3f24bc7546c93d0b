"""What tests of training share: what two runs must have alike, and a small network."""

import dataclasses
from pathlib import Path

from torch import nn

from sugar_search.training.state import WEIGHTS


def curve(records):
    """What a record says, less its times and its memory."""
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


class Drawing(nn.Module):
    """A network that draws from torch's global generator in training."""

    def __init__(self, inputs):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(inputs, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 10))

    def forward(self, x):
        return self.net(x)
