"""What the user types, on small files in the formats of the real datasets: studies, and refusals before any work."""

import shutil
import subprocess
import sys

import makers
import pytest

from sugar_search import catalog
from sugar_search.errors import InputError
from sugar_search.search.plan import build_plan
from sugar_search.search.preflight import preflight
from sugar_search.search.view import read_study

MODULE = """
import torch
from torch import nn

def no_sites(input_shape, outputs):
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, outputs))

def gelu_only(input_shape, outputs):
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 8), nn.GELU(), nn.Linear(8, outputs))

def functional(num_classes):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(48, 16), nn.Linear(16, num_classes)

        def forward(self, x):
            return self.last(torch.relu(self.first(x.flatten(1))))

    return Net()

def hidden(num_classes):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.act, self.last = nn.Linear(3072, 16), nn.ReLU(), nn.Linear(16, num_classes)

        def forward(self, x):
            return self.last(self.act(eval("torch.re" + "lu")(self.first(x.flatten(1)) - 1)))

    return Net()

def halves(seed):
    x = torch.randn(90, 3, 4, 4)  # too small for a ResNet
    y = (x.mean(dim=(1, 2, 3)) > 0).long()
    return (x[:60], y[:60]), (x[60:], y[60:])

broken = 3
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module of the user in the working folder."""
    (tmp_path / "my_parts.py").write_text(MODULE)
    (tmp_path / "my_bad.py").write_text("import no_such_module")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("my_parts", None)


def study(tmp_path, *words, trials=1, epochs=1, workers=1):
    """A short study in a process of its own, as typed."""
    command = [sys.executable, "-c", "from sugar_search.cli import main; main()", *words, "--offline"]
    command += ["--trials", str(trials), "--epochs", str(epochs), "--no-baselines", "--confirm", "0"]
    command += ["--space", "families", "--study", "small", "--workers", str(workers)]
    command += ["--out", str(tmp_path / "results")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return read_study("small", tmp_path / "results"), done.stdout


def test_resnet18_on_cifar100_is_the_papers_network_and_recipe(tmp_path):
    makers.make_cifar100(tmp_path / "data", train=100, test=10)
    words = ["--arch", "resnet18", "--dataset", "cifar100", "--data-dir", "data"]
    found, said = study(tmp_path, *words, workers=0)
    assert "11,220,132 parameters" in said and "converted 17 ReLU sites" in said
    assert found.identity["recipe"].startswith("paper-b (1 epochs")
    (trial,) = found.trials
    assert trial.state == "COMPLETE" and trial.runs[1].peak_memory > 10**8
    assert not list((tmp_path / "data").glob("*.draft*"))


@pytest.mark.long
@pytest.mark.parametrize(
    ("arch", "dataset", "recipe", "said"),
    [
        ("vgg16", "cifar10", "paper-b", "converted 13 ReLU sites"),
        ("conv2next", "cifar100", "paper-g", "converted 18 GELU sites"),
        ("swin_t", "tiny-imagenet-200", "paper-f", "converted 12 GELU sites"),
    ],
)
def test_the_papers_other_networks_with_their_recipes(tmp_path, arch, dataset, recipe, said):
    make = {"cifar10": makers.make_cifar10, "cifar100": makers.make_cifar100}.get(dataset, makers.make_tiny_imagenet)
    make(tmp_path)
    found, out = study(tmp_path, "--arch", arch, "--dataset", dataset, "--data-dir", str(tmp_path))
    assert said in out
    assert found.identity["recipe"].startswith(f"{recipe} (1 epochs")
    assert found.trials[0].state == "COMPLETE", found.trials[0].reason


def test_parts_of_the_user_are_searched_by_name(mine, tmp_path):
    words = ["--arch", "my_parts:functional", "--dataset", "my_parts:halves"]
    found, said = study(tmp_path, *words, trials=2, epochs=2)
    assert "1 functional call" in said
    assert found.identity["recipe"].startswith("own-data")
    assert (found.identity["arch"], found.identity["dataset"]) == ("my_parts:functional", "my_parts:halves")
    # Two surrogates end differently: the functional call really trains with them.
    assert len({t.values for t in found.trials}) == 2


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path):
    content = bytearray(path.read_bytes())
    content[0] ^= 0xFF
    path.write_bytes(content)


CIFAR = {"arch": "mlp", "dataset": "cifar100"}


@pytest.mark.parametrize(
    ("damage", "changes", "said"),
    [
        (lambda d: shutil.rmtree(d / "cifar-100-python"), CIFAR, "needs its files.*--data-dir"),
        (lambda d: truncated(d / "cifar-100-python" / "train"), CIFAR, "train.*download it again|extract"),
        (lambda d: flipped(d / "cifar-100-python" / "test"), CIFAR, "test"),
        (lambda d: (d / "cifar-100-python" / "meta").unlink(), CIFAR, "must be complete.*no meta"),
        (
            lambda d: makers.make_tiny_imagenet(d, classes=7, val=7),
            {"arch": "mlp", "dataset": "tiny-imagenet-200"},
            "200",
        ),
        (None, {"arch": "my_parts:no_sites"}, "no sites|must hold|holds no"),
        (None, {"arch": "my_parts:gelu_only"}, "gelu"),
        (None, {"arch": "my_parts:hidden"}, "some stay plain.*1 x relu"),
        (None, {"arch": "my_parts:missing"}, "must be importable"),
        (None, {"arch": "my_bad:net"}, "ModuleNotFoundError"),
        (None, {"arch": "my_parts:broken"}, "must name a callable"),
        (None, {"dataset": "my_parts:missing"}, "dataset my_parts:missing must be importable"),
        (None, {"arch": "resnet18", "dataset": "my_parts:halves"}, "at least 8x8"),
        (None, {"arch": "mlp", "dataset": "digits", "sites": "gelo"}, "gelu"),
        (None, {"arch": "conv2next", "dataset": "digits/32", "recipe": "paper-g"}, "uint8|RGB|images"),
        (None, {"arch": "mlp", "dataset": "cifar100", "recipe": "digits"}, 'split = "share"'),
        (None, {"arch": "resnet18", "dataset": "cifar100", "sites": "gelu"}, "relu"),
    ],
)
def test_refused_before_any_work_in_one_line(mine, tmp_path, damage, changes, said):
    makers.make_cifar100(tmp_path / "data", train=20, test=10)
    if damage:
        damage(tmp_path / "data")
    options = {"arch": "mlp", "dataset": "cifar100", "out": tmp_path / "results", "gpus": 0, "offline": True} | changes
    with pytest.raises(InputError, match=said) as error:
        preflight(build_plan(data_dir=tmp_path / "data", **options))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "results").exists()
    assert not list((tmp_path / "data").rglob("*.draft*"))


def test_a_recipe_that_validates_on_test_data_is_no_recipe_for_a_search(tmp_path):
    recipe = tmp_path / "mine.toml"
    shipped = catalog.find("recipes")["digits"].read_text()
    recipe.write_text(shipped.replace('split = "fixed"', 'split = "test"'))
    with pytest.raises(InputError, match="may not choose by test data"):
        build_plan(arch="mlp", dataset="digits", recipe=str(recipe))


def test_the_default_recipe_belongs_to_the_network_on_photographs_and_to_the_data_elsewhere():
    def recipe(arch, dataset):
        return build_plan(arch=arch, dataset=dataset).recipe_name

    assert recipe("conv2next", "cifar100") == recipe("conv2next/tiny", "cifar10") == "paper-g"
    assert recipe("swin_t", "tiny-imagenet-200") == "paper-f"
    assert recipe("resnet18", "cifar100") == recipe("vgg16", "cifar10") == "paper-b"
    assert recipe("conv2next", "digits/32") == recipe("resnet18", "digits") == "digits"


def test_two_folders_of_images_are_two_studies_and_a_copy_is_the_same(tmp_path):
    for name, seed in (("one", 0), ("two", 7)):
        makers.make_image_folder(tmp_path / name, seed=seed)
    shutil.copytree(tmp_path / "one", tmp_path / "copy")

    def name(folder, dataset="image_folder"):
        return build_plan(arch="mlp", dataset=dataset, data_dir=tmp_path / folder).name

    assert name("one") == name("copy") == name("one", "Image-Folder/64")
    assert len({name("one"), name("two"), name("one", "image_folder/32")}) == 3
