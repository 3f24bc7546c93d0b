"""`surrogate_gradients`: what runs inside the block gets the surrogate, what runs outside does not."""

import threading

import pytest
import torch
import torch.nn.functional as F
from default_form import default_form
from gradients import gradient_from
from torch import nn
from torch.utils.checkpoint import checkpoint

import sugar_search as ss
from sugar_search.activation.convert import convert
from sugar_search.activation.exact import compile_tape
from sugar_search.activation.kinds import FUNCTIONS, KINDS
from sugar_search.errors import InputError, SugarError

X = torch.tensor([[-3.0, -1.0, -0.1], [0.0, 0.5, 4.0]])
backward = gradient_from(X)
G = default_form(ss.surrogate("bsilu").tape)(X)
FORMULA = compile_tape(ss.surrogate("nelu", alpha=0.5).tape)(X)
NELU = default_form(ss.surrogate("nelu", alpha=0.5).tape)(X)
PLAIN = (X > 0).float()
BLOCK = ss.surrogate_gradients("bsilu")
REFUSED = (InputError, torch._dynamo.exc.Unsupported, torch._dynamo.exc.InternalTorchDynamoError)


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    yield
    assert torch.overrides._len_torch_function_stack() == 0


def call(x):
    return F.relu(x + 0)


def inside(x):
    with BLOCK:
        return call(x)


def makes_its_block(x):
    with ss.surrogate_gradients("bsilu", alpha=1.67):
        return call(x)


def within(function):
    """`function` called in a block of plain Python."""

    def run(x):
        with BLOCK:
            return function(x)

    return run


def compiled(function, fullgraph=True, backend="aot_eager"):
    return torch.compile(function, fullgraph=fullgraph, backend=backend)


def test_calls_and_modules_inside_and_outside():
    for function in (call, nn.ReLU(), lambda x: nn.ReLU(inplace=True)(x + 0), lambda x: x.relu(), torch.relu):
        assert torch.equal(backward(within(function)), G)
        assert torch.equal(backward(function), PLAIN)
    assert torch.equal(inside(X), X.relu())


def test_a_block_is_a_decorator_and_may_be_used_again():
    decorated = BLOCK(call)
    assert decorated.__name__ == "call"
    for _ in range(2):
        assert torch.equal(backward(decorated), G) and torch.equal(backward(inside), G)
    assert torch.equal(backward(call), PLAIN)


def test_the_innermost_block_counts():
    def nested(x):
        with BLOCK:
            first = call(x)
            with ss.surrogate_gradients("nelu", alpha=0.5):
                second = call(x)
            with BLOCK:
                return first + 10 * second + 100 * call(x)

    torch.testing.assert_close(backward(nested), 101 * G + 10 * NELU)
    torch.testing.assert_close(backward(compiled(nested)), 101 * G + 10 * NELU)


def test_sugar_modules_and_converted_models_keep_their_surrogate():
    net = convert(nn.Sequential(nn.ReLU()), "nelu", alpha=0.5)
    assert torch.equal(backward(within(net)), NELU)

    class Net(nn.Module):
        def forward(self, x):
            return F.relu(x)

    assert torch.equal(backward(within(convert(Net(), "nelu", alpha=0.5))), NELU)
    assert torch.equal(backward(within(ss.SugarReLU("nelu", alpha=0.5, sugar=False))), FORMULA)
    with ss.surrogate_gradients("elu", sugar=False):
        assert torch.equal(ss.SugarReLU("bsilu")(X), X.clamp(min=0))


def test_an_error_inside_leaves_the_block():
    def fails(x):
        with BLOCK:
            if (call(x) @ x.T).sum() != 0:
                raise ValueError

    for function in (fails, compiled(fails, fullgraph=False)):
        with pytest.raises(ValueError):
            function(X)
    with pytest.raises(ValueError), BLOCK:
        raise ValueError
    assert torch.equal(backward(call), PLAIN)


def test_other_threads_are_not_affected():
    seen = []
    with BLOCK:
        thread = threading.Thread(target=lambda: seen.append(backward(call)))
        thread.start()
        thread.join()
        seen.append(backward(call))
    assert torch.equal(seen[0], PLAIN) and torch.equal(seen[1], G)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("backend", (None, "eager", "aot_eager"))
def test_every_function_of_every_kind(function, backend):
    known = FUNCTIONS[function]
    bounds = [value for _, value in known.needs]

    def run(x):
        return function(x + 0, *bounds)

    block = ss.surrogate_gradients("bsilu", sites=known.kind)
    wrapped = block(run) if backend is None else compiled(block(run), backend=backend)
    torch.testing.assert_close(backward(wrapped), G)
    other = next(kind for kind in KINDS if kind != known.kind)
    assert not torch.equal(backward(ss.surrogate_gradients("bsilu", sites=other)(run)), G)


@pytest.mark.parametrize("kind", KINDS)
def test_the_modules_of_every_kind(kind):
    with ss.surrogate_gradients("bsilu", sites=(kind,)):
        assert torch.equal(backward(KINDS[kind].module()), G)
    with ss.surrogate_gradients("bsilu", sites=("relu6",)):
        assert torch.equal(F.hardtanh(X), X.clamp(-1, 1))


@pytest.mark.parametrize("backend", ("eager", "aot_eager"))
def test_compiled_with_the_block_inside(backend):
    for function in (inside, makes_its_block, BLOCK(call)):
        torch.testing.assert_close(backward(compiled(function, backend=backend)), G)


@pytest.mark.parametrize("backend", ("eager", "aot_eager"))
def test_compiled_code_called_in_blocks_keeps_them_apart(backend):
    run = compiled(call, backend=backend)
    for _ in range(2):
        torch.testing.assert_close(backward(run), PLAIN)
        torch.testing.assert_close(backward(within(run)), G)
        with ss.surrogate_gradients("nelu", alpha=0.5):
            torch.testing.assert_close(backward(run), NELU)


@pytest.mark.long
def test_compiled_with_inductor():
    torch.testing.assert_close(backward(compiled(inside, backend="inductor")), G)
    torch.testing.assert_close(backward(within(compiled(call, backend="inductor"))), G)


@pytest.mark.parametrize("reentrant", (False, True))
def test_a_checkpoint_of_a_block_is_right(reentrant):
    for function in (makes_its_block, BLOCK(call)):
        assert torch.equal(backward(lambda x, f=function: checkpoint(f, x, use_reentrant=reentrant)), G)
    torch.testing.assert_close(backward(within(lambda x: checkpoint(BLOCK(call), x, use_reentrant=reentrant))), G)


@pytest.mark.parametrize("reentrant", (False, True))
def test_a_checkpoint_inside_a_block_raises(reentrant):
    def run(x):
        return checkpoint(call, x, use_reentrant=reentrant)

    with pytest.raises(InputError, match=r"checkpoint must recompute .* decorate the checkpointed function"):
        backward(within(run))
    for backend in ("eager", "aot_eager"):
        for fullgraph in (True, False):
            for function in (within(compiled(run, fullgraph, backend)), compiled(within(run), fullgraph, backend)):
                with pytest.raises(
                    (InputError, torch._dynamo.exc.Unsupported, torch._dynamo.exc.InternalTorchDynamoError)
                ):
                    backward(function)


def test_saved_tensor_hooks_are_no_checkpoint():
    with torch.autograd.graph.save_on_cpu():
        assert torch.equal(backward(inside), G)
    with BLOCK, torch.autograd.graph.save_on_cpu():
        assert torch.equal(backward(call), G)
    with BLOCK, torch.no_grad():
        assert torch.equal(call(X), X.relu())


@pytest.mark.parametrize("dtype", (torch.bfloat16, torch.float16))
def test_autocast(dtype):
    linear = nn.Linear(3, 3)
    with torch.autocast("cpu", dtype=dtype), BLOCK:
        hidden = linear(X)
        hidden.retain_grad()
        y = F.relu(hidden)
    y.backward(torch.ones_like(y))
    assert y.dtype == dtype
    assert torch.equal(hidden.grad, default_form(ss.surrogate("bsilu").tape)(hidden.detach()))


def under_grad(x):
    with BLOCK:
        return torch.func.grad(lambda v: call(v).sum())(x)


@BLOCK
def in_place(x):
    return (x * 1).relu_()


TRANSFORMS = {
    "block in grad": torch.func.grad(lambda x: inside(x).sum()),
    "grad in block": under_grad,
    "vmap(grad)": torch.vmap(torch.func.grad(lambda x: inside(x).sum())),
    "in place": torch.func.grad(lambda x: in_place(x).sum()),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_function_transforms(name):
    torch.testing.assert_close(TRANSFORMS[name](X), G)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_compiling_a_transform_raises_or_is_right(name):
    with pytest.raises(torch._dynamo.exc.Unsupported):
        compiled(TRANSFORMS[name])(X)
    torch.testing.assert_close(compiled(TRANSFORMS[name], fullgraph=False)(X), G)


def test_second_derivatives_raise():
    with pytest.raises(RuntimeError, match="second derivatives"):
        torch.func.grad(lambda x: torch.func.grad(lambda v: inside(v).sum())(x).sum())(X)


def test_options():
    with ss.surrogate_gradients("bsilu", region="negative"):
        torch.testing.assert_close(backward(call), torch.where(X > 0, torch.ones(()), G))
    with ss.surrogate_gradients("elu", sugar=False):
        torch.testing.assert_close(call(X), F.elu(X))
    for method in ("direct", "indirect"):
        with ss.surrogate_gradients("bsilu", method=method):
            torch.testing.assert_close(backward(call), G)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("bsillu",), {}, "bsilu"),
        (("bsilu",), {"sites": ("tanh",)}, "choose from relu"),
        (("bsilu",), {"beta": 1.0}, "beta"),
        (("bsilu",), {"method": "eq4"}, "exact, indirect, direct"),
    ],
)
def test_bad_arguments_raise_when_the_block_is_made(arguments, options, message):
    with pytest.raises(SugarError, match=message):
        ss.surrogate_gradients(*arguments, **options)


def test_arguments_that_cannot_be_honoured_raise_in_the_block():
    with ss.surrogate_gradients("bsilu", sites="gelu"), pytest.raises(InputError, match="out"):
        F.gelu(X, out=torch.empty(2, 3))
