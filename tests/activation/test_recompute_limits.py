"""Where an input is not computed again, what raises, and that nothing is kept alive."""

import copy
import gc
import weakref

import pytest
import torch
from recompute_sites import Site, gradients, hidden, norm, with_sites
from torch import nn
from torch.autograd import forward_ad
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from sugar_search.activation.recompute import rerun, source_of


def changed(x):
    with torch.no_grad():
        x.mul_(2)
    return x


def changed_through_a_detached_alias(x):
    x.detach().mul_(2)
    return x


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda x: x.add_(1), id="in place"),
        pytest.param(changed, id="in place without gradient"),
        pytest.param(changed_through_a_detached_alias, id="through an alias"),
        pytest.param(lambda x: x + x.detach(), id="residual sum"),
        pytest.param(lambda x: x.view_as(x), id="view"),
        pytest.param(lambda x: x[1:], id="slice"),
        pytest.param(lambda x: x.clone(), id="clone"),
        pytest.param(lambda x: x.detach(), id="detached"),
        pytest.param(lambda x: x.detach().requires_grad_(), id="leaf"),
        pytest.param(lambda x: x.to(torch.float64), id="cast"),
        pytest.param(lambda x: F.dropout(x, 0.5), id="dropout"),
        pytest.param(lambda x: F.relu_(x), id="overwritten"),
    ],
)
def test_what_is_not_the_output_itself_is_saved(change):
    assert source_of(norm()(hidden())) is not None
    assert source_of(change(norm()(hidden()))) is None


@pytest.mark.parametrize(
    "layer",
    [
        pytest.param(lambda: nn.GroupNorm(2, 4), id="another norm"),
        pytest.param(lambda: norm(affine=False), id="no weights"),
        pytest.param(lambda: norm(bias=False), id="no bias"),
        pytest.param(lambda: norm().requires_grad_(False), id="frozen"),
        pytest.param(lambda: nn.utils.parametrizations.weight_norm(norm(), "bias", dim=None), id="computed bias"),
        pytest.param(lambda: nn.utils.parametrizations.weight_norm(norm(), "weight", dim=None), id="computed weight"),
    ],
)
def test_norms_that_the_graph_does_not_hold_whole(layer):
    """Whatever the norm, the input is saved or exactly computed again."""
    layer = layer()
    y = layer(hidden())
    source = source_of(y)
    if source is not None:
        assert torch.equal(rerun(source.tensors, source.norm), y)
    sites = [nn.Sequential(layer, Site(recompute)) for recompute in (False, True)]
    x = hidden().detach()
    wanted, got = (gradients(site, x)[0] for site in sites)
    assert torch.equal(wanted, got)


def test_synchronized_norms_are_not_run_again():
    """With several processes, which need GPUs, they run a Function of torch, as here."""
    assert issubclass(nn.modules._functions.SyncBatchNorm, torch.autograd.Function)

    class SyncBatchNorm(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad

    assert source_of(SyncBatchNorm.apply(norm()(hidden()))) is None


def test_only_where_a_gradient_is_recorded():
    with torch.no_grad():
        assert source_of(norm()(hidden())) is None
    with torch.inference_mode():
        assert source_of(norm()(torch.randn(3, 4, 5, 5))) is None
    y = norm()(hidden())
    assert source_of(y) is not None
    with torch.no_grad():
        assert source_of(y) is None
    with forward_ad.dual_level():
        assert source_of(y) is None
    y.sum().backward()
    assert source_of(y) is None


def test_a_shared_norm_used_twice():
    shared = norm()

    class Twice(nn.Module):
        def __init__(self, recompute):
            super().__init__()
            self.norm, self.site = copy.deepcopy(shared), Site(recompute)

        def forward(self, x):
            return self.site(self.norm(self.site(self.norm(x))))

    x = hidden().detach()
    wanted, got = gradients(Twice(False), x), gradients(model := Twice(True), x)
    assert model.site.again == 2 and all(torch.equal(a, b) for a, b in zip(wanted, got))


@pytest.mark.parametrize("training", (True, False))
def test_later_passes_do_not_change_the_gradient(training):
    """Running statistics move without a trace in autograd: eager torch gives the norm's own gradients wrong then."""
    layer, x = norm().train(training), hidden()
    y = layer(x)
    wanted = y.clone()
    source = source_of(y)
    layer.train()
    for _ in range(3):
        layer(3 * hidden() + 1)
    assert torch.equal(rerun(source.tensors, source.norm), wanted)


@pytest.mark.parametrize("name", ("weight", "bias"))
def test_weights_changed_before_the_backward_raise(name):
    layer = norm()
    model = nn.Sequential(layer, Site(True))
    y = model(hidden())
    with torch.no_grad():
        getattr(layer, name).add_(0.1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_an_input_changed_before_the_backward_raises():
    x = hidden()
    y = nn.Sequential(norm(), Site(True))(x)
    with torch.no_grad():
        x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_nothing_is_kept_alive():
    model = nn.Sequential(nn.Conv2d(4, 4, 3), norm(), Site(True))
    gc.disable()
    try:
        kept = []
        handle = model[0].register_forward_hook(lambda module, args, output: kept.append(weakref.ref(output)))
        y = model(hidden())
        assert kept[0]() is not None
        y.sum().backward()
        # The output is still there, and what its graph saved is not.
        assert kept[0]() is None
        y = model(hidden())
        del y
        assert kept[1]() is None
        handle.remove()
    finally:
        gc.enable()


def test_second_derivatives_raise():
    x = hidden()
    y = nn.Sequential(norm(), Site(True))(x)
    (first,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="second derivatives"):
        first.sum().backward()


def test_a_batch_of_gradients():
    model, x = nn.Sequential(norm().eval(), Site(True)), hidden()
    directions = torch.randn(3, *x.shape)
    got = torch.autograd.grad(model(x), x, directions, is_grads_batched=True)[0]
    for direction, one in zip(directions, got):
        torch.testing.assert_close(torch.autograd.grad(model(x), x, direction)[0], one)


@pytest.mark.parametrize("reentrant", (True, False))
def test_checkpoints(reentrant):
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU()
    )
    saving, computing = with_sites(net, False), with_sites(net, True)
    x = torch.randn(2, 3, 9, 9)

    def run(model):
        return gradients_of(lambda value: checkpoint(model, value, use_reentrant=reentrant), model, x)

    def gradients_of(function, model, x):
        x = x.clone().requires_grad_()
        function(x).square().sum().backward()
        return [x.grad, *(p.grad for p in model.parameters())]

    assert all(torch.equal(a, b) for a, b in zip(run(saving), run(computing)))
    # A non-reentrant checkpoint keeps nothing of the first pass, so there is nothing to read.
    assert computing[2].again == (1 if reentrant else 0)


def test_offloaded_tensors_are_left_alone():
    y = norm()(hidden())
    with torch.autograd.graph.save_on_cpu():
        assert source_of(y) is None


def test_function_transforms_and_the_compiler_save_the_input():
    model = nn.Sequential(norm().eval(), Site(True))
    x = hidden().detach()
    wanted = gradients(model, x)[0]
    count = model[1].again
    got = torch.func.grad(lambda value: model(value).square().sum())(x)
    torch.testing.assert_close(got, wanted)
    assert model[1].again == count
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(gradients(compiled, x)[0], wanted)
    assert model[1].again == count


def test_copies_and_states_know_nothing_of_it():
    model = nn.Sequential(norm(), Site(True))
    model(hidden())
    assert list(model.state_dict()) == list(nn.Sequential(norm(), nn.ReLU()).state_dict())
    assert not model[0]._forward_hooks
    assert source_of(copy.deepcopy(model)[0](hidden())) is not None
