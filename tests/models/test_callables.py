"""Networks of the user by `package.module:callable`: how they are called, and every way in which they can fail."""

import importlib
import itertools
import subprocess
import sys

import pytest
import torch
from torch import nn

from sugar_search.errors import InputError
from sugar_search.models._model import build_model, find_arch

HEAD = "import torch\nfrom torch import nn\n"
numbers = itertools.count()


@pytest.fixture
def user(tmp_path, monkeypatch):
    """Writes a module of the user into the working folder and returns its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def write(source):
        name = f"my_models_{next(numbers)}"  # Python caches modules by name
        (tmp_path / f"{name}.py").write_text(HEAD + source)
        return name

    return write


NET = "    return nn.Sequential(nn.Flatten(), nn.Linear({inputs}, {outputs}))\n"


@pytest.mark.parametrize(
    ("signature", "inputs", "outputs"),
    [
        ("input_shape, outputs", "input_shape[0] * 64", "outputs"),
        ("*, outputs, input_shape", "input_shape[0] * 64", "outputs"),
        ("num_classes=1000, in_channels=7, depth=3", "in_channels * 64", "num_classes"),
        ("in_chans, num_classes, **rest", "in_chans * 64", "num_classes"),
        ("pretrained=False, **rest", "192", "rest['num_classes']"),
        ("outputs, **rest", "192", "outputs - len(rest)"),
        ("shape, number", "shape[0] * 64", "number"),
        ("shape, number, /", "shape[0] * 64", "number"),
        ("input_shape, depth=3, outputs=1, /", "input_shape[0] * 64", "outputs"),
        ("", "192", "10"),
        ("depth=3", "192", "10"),
    ],
)
def test_a_callable_gets_what_its_signature_names(user, signature, inputs, outputs):
    name = user(f"def build({signature}):\n" + NET.format(inputs=inputs, outputs=outputs))
    found = find_arch(f"{name}:build")
    assert (found.name, found.sites, found.recipe, found.options) == (f"{name}:build", ("relu",), None, ())
    assert build_model(f"{name}:build", (3, 8, 8), 10)(torch.zeros(2, 3, 8, 8)).shape == (2, 10)


def test_classes_nested_names_and_partials_are_callables(user):
    name = user(
        "import functools\n"
        "class Nets:\n"
        "    class Linear(nn.Linear):\n"
        "        def __init__(self, input_shape, outputs, bias=True):\n"
        "            super().__init__(input_shape[0], outputs, bias)\n"
        "bare = functools.partial(Nets.Linear, bias=False)\n"
    )
    assert build_model(f"{name}:Nets.Linear", (64,), 10).bias is not None
    assert build_model(f"{name}:bare", (64,), 10).bias is None


@pytest.mark.parametrize(
    ("reference", "channels"),
    [("torchvision.models:resnet18", 3), ("timm.models:resnet10t", 1), ("timm.models.resnet:resnet10t", 3)],
)
def test_builders_of_torchvision_and_timm_work_as_they_are(reference, channels):
    model = build_model(reference, (channels, 32, 32), 7)
    assert model(torch.zeros(2, channels, 32, 32)).shape == (2, 7)
    assert any(isinstance(module, nn.ReLU) for module in model.modules())


@pytest.mark.parametrize(
    "place",
    [
        "import torchvision\ndef build(num_classes):\n",
        pytest.param("def build(num_classes):\n    import torchvision\n", marks=pytest.mark.long),
    ],
)
def test_a_users_module_may_import_torchvision_beside_a_cpu_build_of_torch(user, place):
    name = user(place + "    return torchvision.models.resnet18(num_classes=num_classes)\n")
    code = f"from sugar_search.models._model import build_model; build_model('{name}:build', (3, 32, 32), 10)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_building_leaves_modes_statistics_and_the_generator_alone(user):
    name = user(
        "def build(outputs):\n"
        "    body = [nn.LazyConv2d(4, 3), nn.BatchNorm2d(4).eval(), nn.Dropout(), nn.Flatten()]\n"
        "    return nn.Sequential(*body, nn.LazyLinear(outputs))\n"
    )
    torch.manual_seed(0)
    model = build_model(f"{name}:build", (3, 8, 8), 10)
    after = torch.rand(1)
    assert model[0].in_channels == 3 and model[4].in_features == 4 * 36  # lazy layers have taken their shapes
    assert model.training and model[2].training and not model[1].training
    assert model[1].num_batches_tracked == 0 and (model[1].running_mean == 0).all()
    torch.manual_seed(0)
    direct = importlib.import_module(name).build(10)
    direct.eval()(torch.zeros(2, 3, 8, 8))  # lazy layers draw their weights here
    assert torch.equal(after, torch.rand(1))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), direct.parameters(), strict=True))


FAULTS = {
    "raises": (
        "def build(outputs):\n    raise KeyError('lost')\n",
        "must build a network .KeyError: 'lost'.*outputs=10",
    ),
    "exits": ("import sys\ndef build():\n    sys.exit('bye')\n", "SystemExit: bye"),
    "several lines": ("def build():\n    raise ValueError('one\\ntwo')\n", "ValueError: one"),
    "no network": ("def build():\n    return 3\n", "must return a torch.nn.Module, got 3"),
    "a network": ("build = nn.Linear(3, 3)\n", "not a network"),
    "the same network": ("net = nn.Linear(64, 10)\ndef build():\n    return net\n", "a new network at each call"),
    "a missing argument": (
        "def build(outputs, depth):\n    return nn.Linear(64, outputs)\n",
        "may require only .*'depth'",
    ),
    "other outputs": ("def build():\n    return nn.Linear(64, 9)\n", "must give 10 outputs .*got 'shape .9,.'"),
    "other inputs": ("def build(outputs):\n    return nn.Linear(65, outputs)\n", r"RuntimeError: mat1.*got \(64,\)"),
    "several answers": (
        "class Net(nn.Linear):\n    def forward(self, x):\n        y = super().forward(x)\n"
        "        return (y, y) if self.training else y\n"
        "build = lambda: Net(64, 10)\n",
        "one tensor of shape",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_callable_that_builds_no_network_is_refused_in_one_line(user, fault):
    source, words = FAULTS[fault]
    reference = f"{user(source)}:build"
    with pytest.raises(InputError, match=words) as caught:
        for _ in range(2):
            build_model(reference, (64,), 10)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "attribute", "words"),
    [
        ("", "build", "has no attribute 'build'"),
        ("build = 3\n", "build", "must name a callable"),
        ("def build(:\n", "build", "SyntaxError"),
        ("1 / 0\n", "build", "ZeroDivisionError"),
        ("", "not a name", "package.module:callable"),
        ("", "", "package.module:callable"),
    ],
)
def test_a_reference_that_cannot_be_imported_is_refused_in_one_line(user, source, attribute, words):
    with pytest.raises(InputError, match=words) as caught:
        find_arch(f"{user(source)}:{attribute}")
    assert "\n" not in str(caught.value)


def test_a_missing_module_and_options_for_a_callable_are_refused(user):
    with pytest.raises(InputError, match="No module named 'no_such_models'"):
        find_arch("no_such_models:build")
    name = user("def build(outputs, depth=3):\n" + NET.format(inputs=64, outputs="outputs"))
    with pytest.raises(InputError, match="takes no options"):
        build_model(f"{name}:build", (64,), 10, depth=4)


def test_the_trial_pass_leaves_the_network_as_it_was_built(user):
    """A network that counts its passes and moves its weights as it runs."""
    name = user(
        "class Net(nn.Module):\n"
        "    def __init__(self, outputs):\n        super().__init__()\n"
        "        self.last = nn.Linear(4, outputs)\n        self.register_buffer('passes', torch.zeros(()))\n\n"
        "    def forward(self, x):\n        self.passes += 1\n"
        "        with torch.no_grad():\n            self.last.weight.mul_(0.5)\n"
        "        return self.last(x.flatten(1))\n\n"
        "def build(outputs):\n    torch.manual_seed(3)\n    return Net(outputs)\n\n"
        "def double(outputs):\n    return Net(outputs).double()\n"
    )
    model = build_model(f"{name}:build", (4,), 2)
    torch.manual_seed(3)
    assert model.passes == 0
    assert torch.equal(model.last.weight, torch.nn.Linear(4, 2).weight)
    with pytest.raises(InputError, match="must have float32 parameters"):
        build_model(f"{name}:double", (4,), 2)


@pytest.mark.parametrize(("shape", "outputs"), [((4,), 2.0), ((4,), True), ((4,), 0), ((2.5,), 2)])
def test_shapes_and_outputs_are_whole_numbers(shape, outputs):
    with pytest.raises(InputError, match=r"1 or more outputs|whole numbers"):
        build_model("mlp", shape, outputs)
