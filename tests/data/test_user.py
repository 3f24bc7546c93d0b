"""Datasets of the user's own: every form that is taken, and every fault as one line before any work."""

import inspect
import sys
import types
from pathlib import Path

import makers
import numpy as np
import pytest
import torch
from PIL import Image

from sugar_search.data._dataset import Dataset, Split
from sugar_search.data._load import load_dataset
from sugar_search.errors import FileError, InputError

COUNT = iter(range(10**6))


@pytest.fixture
def own(monkeypatch):
    """Loads what a function gives, as a user's module would; the module is new for each call."""

    def load(build, **options):
        name = f"own_data_{next(COUNT)}"
        module = types.ModuleType(name)
        module.build = build
        monkeypatch.setitem(sys.modules, name, module)
        return load_dataset(f"{name}:build", **options)

    return load


def floats(samples=6, shape=(5,), seed=0):
    return torch.randn(samples, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
PIXELS = torch.from_numpy(makers.make_images(6, 3, 8)[0])


class Mapped(torch.utils.data.Dataset):
    def __init__(self, *samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        return self.samples[i]


def test_pairs_of_float_tensors_become_a_dataset(own):
    dataset = own(lambda: ((floats(), LABELS), (floats(4, seed=1), LABELS[:4].to(torch.int16))))
    assert dataset.task == "classification" and dataset.outputs == 3 and dataset.input_shape == (5,)
    assert dataset.train.inputs.dtype == torch.float32 and dataset.test.targets.dtype == torch.int64
    assert torch.equal(dataset.train.inputs, floats().float()) and dataset.validation is None and dataset.mean is None
    assert dataset.name.startswith("own_data_") and dataset.name.endswith(":build") and len(dataset.test) == 4
    assert load_dataset(dataset.name) is dataset


def test_three_parts_and_arrays(own):
    part = (floats().numpy(), np.array([0, 1, 1, 0, 1, 5], np.uint8))
    dataset = own(lambda: [part, part, part])
    assert len(dataset.validation) == 6 and dataset.outputs == 6
    assert dataset.with_validation(0.5, 0).validation.targets is dataset.train.targets


def test_float_targets_make_a_regression(own):
    dataset = own(lambda: ((floats(), floats()[:, 0]), (floats(), floats()[:, :1].numpy())))
    assert dataset.task == "regression" and dataset.outputs == 1 and dataset.train.targets.shape == (6, 1)
    assert dataset.test.targets.dtype == torch.float32


@pytest.mark.parametrize(
    ("given", "shape"),
    [
        (PIXELS, (3, 8, 8)),
        (PIXELS.permute(0, 2, 3, 1).numpy(), (3, 8, 8)),
        (PIXELS[:, 0], (1, 8, 8)),
        (PIXELS[:, :1].permute(0, 2, 3, 1), (1, 8, 8)),
    ],
)
def test_bytes_are_images_with_mean_and_deviation_of_the_training_part(own, given, shape):
    dataset = own(lambda: ((given, LABELS), (given[:2], LABELS[:2])))
    assert dataset.is_images and dataset.input_shape == shape
    assert torch.equal(dataset.train.inputs[:, 0], PIXELS[:, 0])
    assert dataset.mean == pytest.approx((PIXELS / 255.0).mean(dim=(0, 2, 3)).tolist()[: shape[0]], abs=1e-6)


def test_rows_of_a_split_count_for_the_statistics(own):
    rows = torch.tensor([1, 4])
    dataset = own(lambda: (Split(PIXELS, LABELS, rows), Split(PIXELS, LABELS)))
    assert len(dataset.train) == 2
    assert dataset.mean == pytest.approx((PIXELS[rows] / 255.0).mean(dim=(0, 2, 3)).tolist(), abs=1e-6)


def picture(i, mode="RGB"):
    return Image.fromarray(PIXELS[i].permute(1, 2, 0).numpy()).convert(mode)


@pytest.mark.parametrize(
    ("image", "shape", "images"),
    [
        (lambda i: picture(i), (3, 8, 8), True),
        (lambda i: picture(i, "L"), (1, 8, 8), True),
        (lambda i: picture(i, "P"), (3, 8, 8), True),
        (lambda i: PIXELS[i].permute(1, 2, 0).numpy(), (3, 8, 8), True),
        (lambda i: PIXELS[i], (3, 8, 8), True),
        (lambda i: PIXELS[i].float() / 255, (3, 8, 8), False),
        (lambda i: floats()[i].numpy(), (5,), False),
    ],
)
def test_map_style_datasets_of_torch_are_read_into_memory(own, image, shape, images):
    part = Mapped(*((image(i), int(LABELS[i])) for i in range(6)))
    dataset = own(lambda: (part, part))
    assert (
        dataset.input_shape == shape and dataset.is_images == images and dataset.train.targets.tolist() == [0, 1, 2] * 2
    )
    if images and shape[0] == 3 and image(0) is not None and getattr(image(0), "mode", "RGB") == "RGB":
        assert torch.equal(dataset.train.inputs, PIXELS)


def test_torchvisions_own_datasets_work(own, tmp_path):
    from sugar_search.vision import load as load_vision

    makers.make_image_folder(tmp_path, size=(8, 8))
    folder = load_vision("torchvision.datasets").ImageFolder
    dataset = own(lambda data_dir: (folder(data_dir / "train"), folder(data_dir / "test")), data_dir=tmp_path)
    assert dataset.input_shape == (3, 8, 8) and dataset.outputs == 3 and len(dataset.train) == 12
    subset = own(lambda: (torch.utils.data.TensorDataset(floats(), LABELS), Mapped(*((floats()[0], 1),) * 2)))
    assert subset.input_shape == (5,) and len(subset.test) == 2


def test_the_callable_gets_what_its_signature_names(own, tmp_path):
    seen = []

    def build(offline, *, seed, data_dir, other=3):
        seen.append((offline, seed, data_dir, other))
        return (floats(), LABELS), (floats(), LABELS)

    own(build, data_dir=tmp_path, seed=7, offline=False)
    own(lambda seed=5: build(True, seed=seed, data_dir=None))
    assert seen == [(False, 7, tmp_path, 3), (True, 0, None, 3)]


def test_a_dataset_of_ones_own_keeps_what_it_says(own):
    given = Dataset(
        "mine", "classification", 5, Split(PIXELS, LABELS), None, Split(PIXELS, LABELS), (0.5,) * 3, (2.0,) * 3
    )
    dataset = own(lambda: given)
    assert dataset.outputs == 5 and dataset.mean == (0.5,) * 3 and dataset.std == (2.0,) * 3
    assert dataset.name.endswith(":build")  # so that a worker process finds it again
    cut = own(lambda: given.with_validation(0.5, 1))
    assert len(cut.validation) == 3 and cut.nbytes == PIXELS.nbytes + LABELS.nbytes + 2 * 3 * 8 + 0 * len(cut.test)


def test_a_memory_mapped_array_stays_on_the_disk(own, tmp_path):
    array = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.uint8, (6, 3, 8, 8))
    array[:] = PIXELS.numpy()
    dataset = own(lambda: ((array, LABELS), (array, LABELS)))
    assert dataset.train.inputs.data_ptr() == array.ctypes.data
    still = np.load(tmp_path / "x.npy", mmap_mode="r")  # read only: torch cannot share it
    assert torch.equal(own(lambda: ((still, LABELS), (array[::-1], LABELS))).test.inputs, PIXELS.flip(0))


GOOD = (floats(), LABELS)
FAULTS = {
    "nothing": (lambda: None, "must give two or three splits, got 'NoneType'; return a Dataset, "),
    "one pair": (lambda: GOOD, r"train split of own.* must be \(inputs, targets\) or a torch dataset, got 'Tensor'"),
    "four": (lambda: (GOOD,) * 4, "must give two or three splits"),
    "no train": (lambda: (None, GOOD), "must give train and test splits"),
    "lengths": (lambda: ((floats(), LABELS[:5]), GOOD), "must have one target per input, got '6 and 5'"),
    "nan": (lambda: (GOOD, (torch.full((6, 5), torch.nan), LABELS)), "test split .* must be finite, .*in sample 0"),
    "infinite targets": (
        lambda: ((floats(), torch.tensor([0.0, 1, 2, 3, torch.inf, 5])), GOOD),
        "targets of the train split .* must be finite, got 'NaN or infinity in sample 4'",
    ),
    "negative": (lambda: ((floats(), LABELS - 1), GOOD), "labels of the train split .* must be 0 or more, got -1"),
    "one class": (lambda: ((floats(), LABELS * 0), (floats(), LABELS * 0)), "must have two classes or more, got 1"),
    "shapes": (lambda: (GOOD, (floats(6, (4,)), LABELS)), r"must be like those of train, \(5,\) float32, got '\(4,\)"),
    "kinds": (lambda: (GOOD, (floats(), floats()[:, 0])), "targets of the test split .* like those of train"),
    "bytes and floats": (lambda: ((PIXELS, LABELS), (PIXELS.float(), LABELS)), r"must be like .*uint8, got .* float32"),
    "whole inputs": (
        lambda: ((LABELS[:, None], LABELS), GOOD),
        r"must be floats or bytes \(uint8\), got 'torch.int64'",
    ),
    "bytes in rows": (lambda: ((PIXELS[:, 0, 0], LABELS), GOOD), r"must be images \(samples, channels, height"),
    "flat": (lambda: ((floats()[:, 0], LABELS), GOOD), r"must be \(samples, \.\.\.\), got \(6,\)"),
    "one-hot": (lambda: ((floats(), LABELS[:, None]), GOOD), r"labels of the train split .* must be \(samples,\)"),
    "boolean": (lambda: ((floats(), LABELS > 0), GOOD), "must be whole numbers or floats, got 'torch.bool'"),
    "cubes": (lambda: ((floats(), floats(6, (2, 2))), GOOD), r"targets .* must be \(samples, outputs\)"),
    "text": (lambda: ((np.array(["a"] * 6), LABELS), GOOD), "inputs of the train split .* must be numbers"),
    "objects": (lambda: ((floats(), np.array([{}] * 6)), GOOD), "targets of the train split .* must be numbers"),
    "no samples": (lambda: ((floats(0), LABELS[:0]), GOOD), "train split .* must have samples, got 0"),
    "an empty dataset": (lambda: (Mapped(), GOOD), "train split .* must have samples, got 0"),
    "no rows": (lambda: (Split(*GOOD, LABELS[:0]), GOOD), "train split .* must have samples"),
    "rows outside": (lambda: (Split(*GOOD, LABELS + 5), GOOD), "rows of the train split .* must be int64 row numbers"),
    "unequal images": (
        lambda: (Mapped((PIXELS[0], 0), (PIXELS[0][:, :7], 1)), GOOD),
        r"must have one shape and type, \(3, 8, 8\), got '\(3, 7, 8\) at sample 1'; resize them",
    ),
    "unequal labels": (
        lambda: (Mapped((PIXELS[0], 0), (PIXELS[0], 1.5)), GOOD),
        "labels of .* must have one shape and type",
    ),
    "no pair": (lambda: (Mapped(PIXELS[0], PIXELS[1]), GOOD), "sample 0 of the train split .* must be .image, label"),
    "raises": (lambda: [][0], "must load, got 'IndexError: list index out of range'; mend the callable"),
    "asks for more": (lambda path: None, "must load, got .TypeError: .*path"),
    "raises in a sample": (lambda: (Mapped(1), GOOD), "sample 0 of .* must be .image, label., got 'TypeError"),
    "declared task": (
        lambda: Dataset("x", "regression", 3, Split(*GOOD), None, Split(*GOOD)),
        "make a classification, got 'regression'",
    ),
    "declared outputs": (
        lambda: Dataset("x", "classification", 2, Split(*GOOD), None, Split(*GOOD)),
        "must fit its targets, which need 3, got 2",
    ),
    "declared mean": (
        lambda: Dataset("x", "classification", 3, *[Split(PIXELS, LABELS)] * 3, mean=(0.5,), std=(1.0,) * 3),
        "mean of .* must have one number per channel",
    ),
    "declared std": (
        lambda: Dataset("x", "classification", 3, *[Split(PIXELS, LABELS)] * 3, mean=(0.5,) * 3, std=(0.0,) * 3),
        "std of .* must be above 0",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line(own, fault):
    build, message = FAULTS[fault]
    with pytest.raises(InputError, match=message) as error:
        own(build)
    assert "\n" not in str(error.value) and "own_data_" in str(error.value)


def test_an_error_of_ours_inside_the_callable_is_shown_as_it_is(own):
    with pytest.raises(FileError, match="cifar10 needs its files"):
        own(lambda: load_dataset("cifar10", data_dir=Path("/none")))


def test_a_module_in_the_working_folder_is_found_and_a_missing_one_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    build = "import torch\ndef build(seed):\n    x = torch.ones(4, 2)\n    y = torch.tensor([0, 1, 0, 1])\n"
    Path("my_own_numbers.py").write_text(build + "    return (x, y), (x, y)\n")
    assert load_dataset("my_own_numbers:build").outputs == 2
    for text in ("my_own_numbers:other", "no_such_module_here:build", "my_own_numbers:"):
        with pytest.raises(InputError, match="dataset"):
            load_dataset(text)


def test_what_is_documented_is_what_is_offered():
    from sugar_search.data import _user

    assert all(f"`{name}`" in inspect.getdoc(_user) for name in ("data_dir", "seed", "offline"))
