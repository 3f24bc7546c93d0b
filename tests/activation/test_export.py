"""The exported file: stand-alone, correct, honest about failures, and safe against hostile text."""

import ast
import importlib.util
import os
import re
import subprocess
import sys

import pytest
import torch
from torch import nn

from sugar_search import catalog
from sugar_search.activation.export import POINTS, export, source
from sugar_search.activation.module import SugarReLU
from sugar_search.errors import FileError
from sugar_search.symbolic.surrogate import surrogate

FAMILIES = catalog.names("surrogates")
FORMULAS = (
    "sigmoid(x)*(1 + 0.3*exp(-x**2))",
    "where(x > 0, 1, 0.25*sqrt(1 + tanh(x))*atan(x)**2/(1 + softplus(-x)))",
    "1/(1 + abs(x)**2.5)",
    "2.5",
)


def load(path):
    spec = importlib.util.spec_from_file_location(f"exported_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # torch.compile looks modules up by name
    spec.loader.exec_module(module)
    return module


def run(path):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-W", "error", path.name], cwd=path.parent, env=environment, capture_output=True, text=True
    )


def gradient(activation, x):
    x = x.clone().requires_grad_()
    activation(x).backward(torch.ones_like(x))
    return x.grad


@pytest.mark.parametrize("text", FAMILIES + FORMULAS)
def test_exported_code_is_ours_and_checks_itself(text, tmp_path):
    path = export(surrogate(text), tmp_path / "best.py")
    module = load(path)
    assert "float16" in module.self_check()
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        x = torch.cat([torch.linspace(-30, 30, 601), torch.tensor([float("inf"), float("-inf"), -0.0])]).to(dtype)
        ours, theirs = gradient(SugarReLU(text), x), gradient(module.SugarReLU(), x)
        torch.testing.assert_close(
            theirs, ours, rtol=0, atol=max(1e-6, 4 * torch.finfo(dtype).eps) * float(ours.abs().max())
        )
    assert torch.isnan(gradient(module.SugarReLU(), torch.tensor([float("nan")]))).all()


def test_the_points_are_exact_in_every_type():
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        assert torch.tensor(POINTS, dtype=dtype).tolist() == list(POINTS)
    assert len(POINTS) == 65 and sorted(POINTS) == list(POINTS)


def test_running_the_file_passes_with_torch_alone(tmp_path):
    path = export(surrogate("bsilu"), tmp_path / "best_surrogate.py")
    imports = {n.names[0].name for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Import)}
    assert imports == {"sys", "torch"}
    done = run(path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("self-check passed: forward equal to torch.relu") and not done.stderr


def test_a_changed_constant_fails_the_check(tmp_path):
    path = export(surrogate("bsilu"), tmp_path / "best_surrogate.py")
    text = path.read_text()
    body = text[text.index("def surrogate_derivative") :]
    path.write_text(text.replace(body, body.replace("1.67", "1.6700001", 1)))
    done = run(path)
    assert done.returncode == 1 and "self-check failed: the gradient in float64 is off by" in done.stderr


def test_a_changed_forward_fails_the_check(tmp_path):
    path = tmp_path / "changed.py"
    path.write_text(source(surrogate("bsilu")).replace("return torch.relu(x)", "return torch.relu(x) + 0 * x"))
    with pytest.raises(RuntimeError, match="forward"):
        load(path).self_check()


def test_the_docstring_tells_formula_parameters_provenance_and_results(tmp_path):
    path = export(
        surrogate("nelu(alpha=0.05)"),
        tmp_path / "best.py",
        results={"test accuracy": 0.914, "seeds": (1, 10)},
        provenance={"study": "resnet18-digits", "versions": {"torch": "2.13.0"}},
    )
    text = load(path).__doc__
    for part in (
        "NeLU(α=0.05)",
        "parameter alpha: 0.05",
        "test accuracy: 0.914",
        "study: resnet18-digits",
        "torch 2.13.0",
    ):
        assert part in text
    assert "value at 0: 0.0" in text and surrogate("nelu(alpha=0.05)").text in text


HOSTILE = (
    '"""\nimport os; os.abort()\n"""',
    'ends with quote"',
    'four """" and six """"""',
    "backslash \\",
    '\\"""',
    "\\N{BULLET} \\x41 \\u0041",
    "carriage\rreturn\x00null\x0cform\u2028line\u202ebidi",
    "\udc80 lone surrogate",
    "</code> # <code>\n# </points>",
    "x" * 5000,
)


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_text_stays_in_the_docstring(value, tmp_path):
    clean = ast.parse(source(surrogate("bsilu"), results={"a": "b"}))
    path = export(
        surrogate("bsilu"), tmp_path / "best.py", results={"note": value, value: 1}, provenance={value: value}
    )
    parsed = ast.parse(path.read_bytes())
    assert ast.dump(ast.Module(parsed.body[1:], [])) == ast.dump(ast.Module(clean.body[1:], []))
    compile(path.read_bytes(), "best.py", "exec", dont_inherit=True)
    assert all(c.isprintable() or c == "\n" for c in path.read_text(encoding="utf-8"))


def test_the_files_are_clean(tmp_path):
    for i, text in enumerate(FAMILIES + FORMULAS):
        export(surrogate(text), tmp_path / f"best_{i}.py", results={"accuracy": 0.9})
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "ruff",
            "check",
            "--isolated",
            "--line-length=120",
            "--select=E,F,W,I,UP,S,RUF100,PLE",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, re.sub(r"\s+", " ", done.stdout)


def test_convert_in_the_file(tmp_path):
    module = load(export(surrogate("bsilu"), tmp_path / "best.py"))
    shared = nn.ReLU()
    net = module.convert(nn.Sequential(shared, nn.Sequential(shared, nn.ReLU(inplace=True)), nn.ReLU6()))
    assert net[0] is net[1][0] and isinstance(net[1][1], module.SugarReLU) and isinstance(net[2], nn.ReLU6)
    assert isinstance(module.convert(nn.ReLU()), module.SugarReLU)
    assert [net[0].inplace, net[1][1].inplace] == [False, True]
    with pytest.raises(ValueError, match=r"nn\.ReLU .*F\.relu.* sugar_search\.convert"):
        module.convert(nn.Linear(2, 2))
    assert "not covered" in module.convert.__doc__


def test_in_place_in_the_file(tmp_path):
    module = load(export(surrogate("bsilu"), tmp_path / "best.py"))
    activation, x = module.SugarReLU(inplace=True), torch.tensor([-1.0, -0.5, 2.0])

    def again(v):
        h = v * 1
        return activation(h) + h

    torch.testing.assert_close(gradient(again, x), 2 * gradient(SugarReLU("bsilu"), x))
    assert torch.equal(again(x), 2 * x.relu()) and torch.equal(activation(x), x)
    torch._dynamo.reset()
    compiled = torch.compile(again, fullgraph=True, backend="aot_eager")
    x = torch.tensor([-1.0, -0.5, 2.0])
    torch.testing.assert_close(gradient(compiled, x), 2 * gradient(SugarReLU("bsilu"), x))


def test_the_exported_activation_composes(tmp_path):
    activation = load(export(surrogate("bsilu"), tmp_path / "best.py")).SugarReLU()
    x = torch.tensor([-1.0, -0.5, 2.0])
    wanted = gradient(SugarReLU("bsilu"), x)

    def total(v):
        return activation(v).sum()

    torch.testing.assert_close(torch.func.grad(total)(x), wanted)
    torch.testing.assert_close(torch.vmap(torch.func.grad(activation))(x), wanted)
    torch._dynamo.reset()
    torch.testing.assert_close(gradient(torch.compile(activation, fullgraph=True, backend="aot_eager"), x), wanted)
    with pytest.raises(torch._dynamo.exc.Unsupported):
        torch.compile(torch.func.grad(total), fullgraph=True, backend="aot_eager")(x)
    with pytest.raises(RuntimeError, match="second derivatives"):
        torch.func.grad(lambda v: torch.func.grad(total)(v).sum())(x)


def test_an_existing_file_is_replaced_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "best.py"
    path.write_text("old")
    assert export(surrogate("relu"), str(path)) == path
    assert "ReLU" in path.read_text() and list(tmp_path.iterdir()) == [path]


def test_paths_that_cannot_be_written(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    for bad in (tmp_path / "missing" / "best.py", tmp_path / "folder", tmp_path / "file" / "best.py"):
        with pytest.raises(FileError, match="exported file must be writable") as caught:
            export(surrogate("relu"), bad)
        assert "\n" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]
