"""Functional activation calls in the code of modules: found, intercepted, and right in every way a module is used.

Gradients are seen at points with x < 0, where plain ReLU's is 0.
"""

import copy
import io
import logging
import pickle
import threading

import pytest
import torch
import torch.nn.functional as F
from default_form import default_form
from spellings import NOT_CALLS, SPELLINGS, Base, Block, Net, gradients, network, spelled
from torch import nn
from torch.utils.checkpoint import checkpoint

from sugar_search.activation.convert import convert, sites
from sugar_search.errors import InputError
from sugar_search.symbolic.surrogate import surrogate

X = torch.tensor([[-3.0, -1.0, -0.1], [0.0, 0.5, 4.0]])
G = default_form(surrogate("bsilu").tape)(X)


def gradient(function, x=X):
    x = x.clone().requires_grad_()
    y = function(x)
    y.backward(torch.ones_like(y))
    return x.grad


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_is_found_and_converted(name):
    net = SPELLINGS[name]()
    before = net(X.clone())
    (site,) = sites(net)
    assert site.names == ("",) and site.kind == "ReLU" and site.place
    assert convert(net, "bsilu") is net
    assert torch.equal(gradient(net), G)
    assert torch.equal(net(X.clone()), before)
    assert [s.kind for s in sites(net)] == ["SugarReLU"]
    assert torch.equal(gradient(copy.deepcopy(net)), G)
    convert(net, "nelu", alpha=0.5)
    assert torch.equal(gradient(net), default_form(surrogate("nelu", alpha=0.5).tape)(X))
    assert net(X).sum() == before.sum()


@pytest.mark.parametrize("name", NOT_CALLS)
def test_what_is_no_call_is_not_reported(name):
    net = NOT_CALLS[name]()
    assert sites(net) == ()
    with pytest.raises(InputError, match=r"must hold ReLU"):
        convert(net, "bsilu")


def reference():
    """The same network written with modules."""

    class Written(Net):
        def forward(self, x):
            return self.head(self.drop(self.last(self.blocks(x))))

    class WrittenBlock(Block):
        def forward(self, x):
            return self.last(x + self.out(self.act(self.linear(x))))

    torch.manual_seed(0)
    net = Written()
    for module in (net, *net.blocks):
        module.last = nn.ReLU()
    for block in net.blocks:
        block.__class__ = WrittenBlock
    return convert(net, "bsilu")


def test_a_network_equals_the_one_written_with_modules():
    net, plain = convert(network(), "bsilu"), network()
    for got, wanted in zip(gradients(net), gradients(reference())):
        assert torch.equal(got, wanted)
    assert any(not torch.equal(a, b) for a, b in zip(gradients(net), gradients(plain)))
    torch.manual_seed(5)
    forward = net(X)
    torch.manual_seed(5)
    assert torch.equal(forward, plain(X))


def test_the_sites_and_the_report(caplog):
    net = network()
    assert [(s.names, s.place.partition(" (")[0]) for s in sites(net)] == [
        (("",), "Net.forward"),
        (("blocks.0",), "Block.forward"),
        (("blocks.0.act",), ""),
        (("blocks.1",), "Block.forward"),
        (("blocks.1.act",), ""),
    ]
    line = Block.forward.__code__.co_firstlineno + 1
    assert sites(net)[1].place == f"Block.forward (spellings.py:{line})"
    with caplog.at_level(logging.INFO, logger="sugar_search"):
        convert(net, "bsilu")
        convert(spelled(lambda self, x: F.relu(x)), "relu")
    assert caplog.messages == [
        "converted 5 ReLU sites (2 modules, 3 functional calls) to B-SiLU(α=1.67)",
        "converted 1 ReLU site (1 functional call) to ReLU",
    ]


def test_state_names_and_classes_stay():
    net, plain = convert(network(), "bsilu"), network()
    assert list(net.state_dict()) == list(plain.state_dict())
    assert isinstance(net, Net) and isinstance(net.blocks[0], Block)
    assert repr(net).replace("SugarReLU(B-SiLU(α=1.67))", "ReLU()") == repr(plain)
    assert type(net).__name__ == "Net" and type(net.blocks[0]) is type(net.blocks[1])
    net.load_state_dict(plain.state_dict())


def through_torch_save(net):
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize(
    "clone", (copy.copy, copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n)), through_torch_save)
)
def test_copies_stay_converted(clone):
    net = convert(network(), "bsilu")
    twin = clone(net)
    assert twin is not net and isinstance(twin, Net)
    for got, wanted in zip(gradients(twin), gradients(net)):
        assert torch.equal(got, wanted)
    assert {s.kind for s in sites(twin)} == {"SugarReLU"}
    convert(twin, "relu")
    assert any(not torch.equal(a, b) for a, b in zip(gradients(net), gradients(twin))) or clone is copy.copy


def test_a_second_conversion_replaces_the_first():
    net = convert(convert(network(), "nelu", alpha=0.3), "bsilu")
    for got, wanted in zip(gradients(net), gradients(reference())):
        assert torch.equal(got, wanted)


def test_parts_may_have_surrogates_of_their_own():
    net = network()
    convert(net, "relu")
    convert(net.blocks, "bsilu")
    inner = default_form(surrogate("bsilu").tape)
    net.blocks[0].linear = net.blocks[0].out = nn.Identity()
    got = gradient(net.blocks[0])
    torch.testing.assert_close(got, inner(X + X.relu()) * (1 + inner(X)))


@pytest.mark.parametrize("backend", ("eager", "aot_eager"))
def test_compile_fullgraph(backend):
    torch._dynamo.reset()
    net = convert(network().eval(), "bsilu")
    wanted = gradients(net)
    compiled = torch.compile(net, fullgraph=True, backend=backend)
    net.zero_grad()
    compiled(X).square().sum().backward()
    for p, w in zip(net.parameters(), wanted):
        torch.testing.assert_close(p.grad, w)
    convert(net, "relu")
    plain = gradients(net)
    net.zero_grad()
    compiled(X).square().sum().backward()
    for p, w in zip(net.parameters(), plain):
        torch.testing.assert_close(p.grad, w)


@pytest.mark.long
def test_compile_fullgraph_with_inductor():
    torch._dynamo.reset()
    net = convert(network().eval(), "bsilu")
    wanted = gradients(net)
    net.zero_grad()
    torch.compile(net, fullgraph=True)(X).square().sum().backward()
    for p, w in zip(net.parameters(), wanted):
        torch.testing.assert_close(p.grad, w, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ("x.relu_", "attribute", "attribute partial", "helper", "F.relu inplace"))
def test_compile_fullgraph_of_spellings(name):
    torch._dynamo.reset()
    net = convert(SPELLINGS[name](), "bsilu")
    torch.testing.assert_close(gradient(torch.compile(net, fullgraph=True, backend="aot_eager")), G)


def test_a_graph_break_keeps_the_surrogate():
    def broken(self, x):
        y = F.relu(x)
        torch._dynamo.graph_break()
        return F.relu(y - 0.2)

    torch._dynamo.reset()
    net = convert(spelled(broken), "bsilu")
    torch.testing.assert_close(gradient(torch.compile(net, backend="aot_eager")), gradient(net))


@pytest.mark.parametrize("reentrant", (False, True))
def test_checkpointing(reentrant):
    net = convert(network().eval(), "bsilu")
    wanted = gradients(net)
    net.zero_grad()
    checkpoint(net, X.clone().requires_grad_(), use_reentrant=reentrant).square().sum().backward()
    for p, w in zip(net.parameters(), wanted):
        assert torch.equal(p.grad, w)


@pytest.mark.parametrize("reentrant", (False, True))
def test_a_checkpoint_inside_a_method(reentrant):
    def closure_run(self, x):
        return checkpoint(lambda v: F.relu(v), x, use_reentrant=reentrant)

    def method_run(self, x):
        return checkpoint(self.act, x, use_reentrant=reentrant)

    with pytest.raises(InputError, match="checkpoint"):
        gradient(convert(spelled(closure_run), "bsilu"))
    net = type("Net", (Base,), {"run": method_run, "act": lambda self, x: F.relu(x)})()
    assert torch.equal(gradient(convert(net, "bsilu")), G)


def test_no_grad_inside_a_method_is_no_checkpoint():
    def run(self, x):
        with torch.no_grad():
            mask = F.relu(x) > 0
        return F.relu(x) * (1 + mask)

    net = convert(spelled(run), "bsilu")
    assert torch.equal(gradient(net), G * (1 + (X > 0)))
    with torch.no_grad():
        assert torch.equal(net(X), X.relu() * 2)


@pytest.mark.parametrize("dtype", (torch.bfloat16, torch.float16))
def test_autocast(dtype):
    net = convert(network().eval(), "bsilu")
    with torch.autocast("cpu", dtype=dtype):
        for got, wanted in zip(gradients(net), gradients(reference().eval())):
            assert torch.equal(got, wanted)


def test_function_transforms():
    net = convert(SPELLINGS["helper"](), "bsilu")
    torch.testing.assert_close(torch.func.grad(lambda x: net(x).sum())(X), G)
    torch.testing.assert_close(torch.vmap(torch.func.grad(lambda x: net(x).sum()))(X), G)
    with pytest.raises(RuntimeError, match="second derivatives"):
        torch.func.grad(lambda x: torch.func.grad(lambda v: net(v).sum())(x).sum())(X)


def test_threads():
    net, plain, results = convert(SPELLINGS["F.relu"](), "bsilu"), SPELLINGS["F.relu"](), {}

    def work(name, module):
        results[name] = [gradient(module) for _ in range(20)]

    threads = [threading.Thread(target=work, args=pair) for pair in (("net", net), ("plain", plain), ("again", net))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(g, G) for g in results["net"] + results["again"])
    assert all(torch.equal(g, (X > 0).float()) for g in results["plain"])


def test_a_class_that_makes_its_own_copies():
    class Own(Base):
        def run(self, x):
            return F.relu(x)

        def twin(self):
            return type(self)()

    assert torch.equal(gradient(convert(Own(), "bsilu").twin()), G)


def test_sugar_false_runs_the_activation_forward_everywhere():
    inner = spelled(lambda self, x: self.act(F.relu(x)), act=nn.ReLU())
    net = convert(spelled(lambda self, x: F.relu(self.inner(x)), inner=inner), "elu", sugar=False)
    elu = nn.ELU()
    assert torch.allclose(net(X), elu(elu(elu(X))))


def test_the_literal_forms_reach_functional_calls():
    for method in ("indirect", "direct"):
        net = convert(SPELLINGS["x.relu_"](), "bsilu", method=method)
        torch.testing.assert_close(gradient(net), G)
