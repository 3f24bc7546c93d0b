"""A table is a tensor of its module: it is changed in place, moved, batched, and never saved."""

import copy

import pytest
import torch
from default_form import default_form
from gradients import gradient_from
from recompute_sites import storages
from torch import nn
from torch.func import functional_call, grad, vmap

import sugar_search as ss
from sugar_search.activation.convert import convert
from sugar_search.activation.module import SugarReLU
from sugar_search.activation.tabled import table_relu
from sugar_search.errors import InputError
from sugar_search.symbolic.surrogate import surrogate

X = torch.linspace(-6, 6, 194).reshape(2, 97)
backward = gradient_from(X)
# No table holds it to 1e-6: its slope at 0 is infinite.
STEEP = "where(x > 0, 1, sqrt(sqrt(abs(x)))*exp(x))"


def wanted(text, x=X, **parameters):
    return default_form(surrogate(text, **parameters).tape)(x)


def test_another_surrogate_compiles_nothing_again():
    torch._dynamo.reset()
    net = nn.Sequential(SugarReLU("bsilu"))
    compiled = torch.compile(net, fullgraph=True)
    assert torch.equal(backward(compiled), wanted("bsilu"))
    with torch._dynamo.config.patch(error_on_recompile=True):
        for text in ("nelu", "x/(1 + x**2)", "hardswish", "bsilu(alpha=0.5)", "relu"):
            convert(net, text)
            assert torch.equal(backward(compiled), wanted(text))
        net[0].use("nelu", alpha=0.5)
        assert torch.equal(backward(compiled), wanted("nelu", alpha=0.5))


def test_a_schedule_of_a_parameter_changes_the_gradient():
    activation = SugarReLU("bsilu")
    for alpha in (0.5, 1.0, 1.67):
        activation.use("bsilu", alpha=alpha)
        assert torch.equal(backward(activation), wanted("bsilu", alpha=alpha))
        assert f"α={alpha:g}" in repr(activation)


def test_a_refused_surrogate_leaves_the_old_one():
    activation = SugarReLU("bsilu", method="table")
    for text in ("x**2", "nothing", STEEP):
        with pytest.raises(InputError):
            activation.use(text)
    assert torch.equal(backward(activation), wanted("bsilu"))


def test_what_no_table_holds_runs_as_a_formula():
    activation = SugarReLU(STEEP)
    assert activation.table is None
    exact = SugarReLU(STEEP, method="exact")
    assert torch.equal(backward(activation), backward(exact))
    with pytest.raises(InputError, match=r"a table must hold the surrogate to 1e-06 of max \|g\|"):
        SugarReLU(STEEP, method="table")
    # And back again.
    assert torch.equal(backward(activation.use("bsilu")), wanted("bsilu"))
    assert torch.equal(backward(activation.use(STEEP)), backward(exact))


def test_float64_takes_the_formula_unless_told():
    x = X.double()
    exact = backward(SugarReLU("bsilu", method="exact"), x)
    assert torch.equal(backward(SugarReLU("bsilu"), x), exact)
    table = backward(SugarReLU("bsilu", method="table"), x)
    assert not torch.equal(table, exact)
    torch.testing.assert_close(table, exact, rtol=0, atol=1.3e-6)


def test_every_member_of_a_batch_reads_its_own_table():
    names = ("bsilu", "nelu", "elu", "relu")
    tables = torch.stack([SugarReLU(name, method="table").table for name in names])
    rows = torch.stack([wanted(name, X[0]) for name in names])
    x = X[0].expand(4, -1)
    total = lambda x, words: table_relu(x, words).sum()  # noqa: E731
    assert torch.equal(vmap(grad(total))(x, tables), rows)
    assert torch.equal(vmap(grad(total), in_dims=(None, 0))(X[0], tables), rows)
    assert torch.equal(backward(lambda x: table_relu(x, tables), x.contiguous()), rows)
    assert torch.equal(backward(lambda x: vmap(table_relu)(x, tables), x), rows)
    # A batch of such batches.
    twice = vmap(vmap(grad(total)))(torch.stack([x, -x]), torch.stack([tables, tables.flip(0)]))
    assert torch.equal(twice[0], rows)
    assert torch.equal(twice[1], torch.stack([wanted(name, -X[0]) for name in names[::-1]]))


def test_members_of_a_network_have_tables_of_their_own():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(97, 4), SugarReLU("bsilu", method="table"), nn.Linear(4, 1))
    tables = torch.stack([SugarReLU(name, method="table").table for name in ("elu", "nelu")])
    weights = {name: value.detach() for name, value in net.named_parameters()}

    def loss(weights, table):
        return functional_call(net, {**weights, "1.table": table}, (X,)).sum()

    each = vmap(grad(loss), in_dims=(None, 0))(weights, tables)
    for row, name in enumerate(("elu", "nelu")):
        alone = nn.Sequential(net[0], SugarReLU(name), net[2])
        one = torch.autograd.grad(alone(X).sum(), list(alone.parameters()))
        for got, expected in zip(each.values(), one):
            torch.testing.assert_close(got[row], expected)


def test_a_batch_of_gradients():
    x = X.clone().requires_grad_()
    upstream = torch.stack([torch.ones_like(X), -2 * torch.ones_like(X)])
    (got,) = torch.autograd.grad(SugarReLU("bsilu")(x), x, upstream, is_grads_batched=True)
    assert torch.equal(got, upstream * wanted("bsilu"))


def test_half_and_meta_moves_leave_the_table_whole():
    activation = SugarReLU("bsilu")
    before = activation.table.clone()
    for move in (nn.Module.half, nn.Module.double, nn.Module.bfloat16):
        assert torch.equal(move(activation).table, before)
    with torch.device("meta"):
        net = nn.Sequential(nn.Linear(3, 3), SugarReLU("bsilu"))
    assert torch.equal(net.to_empty(device="cpu")[1].table, before)
    assert torch.equal(backward(net.to("meta").to_empty(device="cpu")[1]), wanted("bsilu"))


def test_a_run_on_the_meta_device_or_in_inference_mode_changes_nothing():
    class Net(nn.Module):
        def forward(self, x):
            return nn.functional.relu(x)

    for make in (lambda: SugarReLU("gelu"), lambda: convert(Net(), "gelu")):
        with torch.inference_mode():
            net = make()
            net(X.clone())
        assert net(torch.empty(3, device="meta")).is_meta
        assert torch.equal(backward(net), wanted("gelu"))
    with torch.inference_mode():
        net = SugarReLU("nelu").use("gelu")
    assert torch.equal(backward(net), wanted("gelu"))


def test_moving_a_module_between_the_passes_is_no_change():
    activation, x = SugarReLU("bsilu"), X.clone().requires_grad_()
    y = activation(x)
    activation.float().cpu()
    y.backward(torch.ones_like(y))
    assert torch.equal(x.grad, wanted("bsilu"))


def test_what_the_kernels_do_not_take_runs_as_before():
    activation = SugarReLU("bsilu")
    nested = torch.nested.nested_tensor([X[0], X[1, :5]])
    for x in (nested, X.to_sparse(), torch.tensor([[-1, 2]])):
        assert torch.equal(activation(x).to_padded_tensor(0) if x.is_nested else activation(x).to_dense(),
                           torch.relu(x).to_padded_tensor(0) if x.is_nested else torch.relu(x).to_dense())  # fmt: skip
    layer = nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True)
    encoder = convert(nn.TransformerEncoder(layer, 2), "bsilu", sites=("gelu",)).eval()
    mask = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    with torch.no_grad():
        assert torch.isfinite(encoder(torch.randn(2, 5, 8), src_key_padding_mask=mask)).all()


def test_traces_hold_the_plain_operator():
    net = nn.Sequential(nn.Linear(97, 3), SugarReLU("bsilu"))
    traced = torch.fx.symbolic_trace(net)
    assert torch.ops.aten.relu.default in {node.target for node in traced.graph.nodes}
    script = torch.jit.trace(net, X)
    for made in (traced, script):
        assert torch.equal(made(X), net(X))


def test_averages_of_weights_leave_tables_alone():
    net = nn.Sequential(nn.Linear(3, 3), SugarReLU("bsilu"))
    average = torch.optim.swa_utils.AveragedModel(net, use_buffers=True)
    net[1].use("nelu")
    for _ in range(3):
        average.update_parameters(net)
    assert torch.equal(backward(average.module[1]), wanted("bsilu"))
    assert not list(net.buffers())


def test_use_keeps_the_region():
    activation = SugarReLU("bsilu", region="negative")
    activation.use("bsilu", alpha=1.2)
    assert backward(activation)[X > 0].unique().tolist() == [1.0]
    activation.use("bsilu", region="all")
    assert len(backward(activation)[X > 0].unique()) > 1
    assert activation.use(surrogate("nelu").restricted("negative")).surrogate.region == "negative"


def test_the_table_is_no_part_of_a_checkpoint():
    net = convert(nn.Sequential(nn.Linear(3, 3), nn.ReLU()), "bsilu")
    assert list(net.state_dict()) == ["0.weight", "0.bias"]
    twin = copy.deepcopy(net)
    twin[1].use("nelu")
    assert torch.equal(backward(net[1]), wanted("bsilu"))


MODES = ("exact", "recompute", "bits4")


def _train(rank, folder):
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    for memory in MODES:
        torch.manual_seed(rank)
        net = nn.Sequential(nn.Linear(97, 8), nn.BatchNorm1d(8), ss.SugarReLU("bsilu", memory=memory), nn.Linear(8, 1))
        wrapped = nn.parallel.DistributedDataParallel(net)
        torch.manual_seed(rank)
        inputs = torch.randn(16, 97)
        y = wrapped(inputs)
        kept = torch.tensor(sum(storages(y, net).values()))
        y.mean().backward()
        weights = [p.detach().clone() for p in net.parameters()]
        torch.save([kept, *weights, *(p.grad for p in net.parameters())], f"{folder}/{memory}-{rank}")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def trained_by_two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("distributed")
    torch.multiprocessing.spawn(_train, (str(folder),), nprocs=2)
    return folder


@pytest.mark.parametrize("memory", MODES)
def test_two_processes_of_distributed_data_parallel(trained_by_two_processes, memory):
    first, second = (torch.load(trained_by_two_processes / f"{memory}-{rank}") for rank in range(2))
    assert all(map(torch.equal, first, second))
    kept, weights, grads = first[0], first[1:7], first[7:]
    for got, expected in zip(grads, _mean_gradients(weights, memory)):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-7)
    # Codes are rounded at random: alike, but not the same.
    for got, expected in zip(grads, _mean_gradients(weights, "exact")):
        assert (got - expected).norm() <= (0.6 if memory == "bits4" else 1e-5) * expected.norm() + 1e-7
    # The input of the activation: 16 by 8 in 32 bits, in 4 bits, or none.
    exact = torch.load(trained_by_two_processes / "exact-0")[0]
    assert exact - kept == {"exact": 0, "recompute": 512, "bits4": 512 - 64}[memory]


def _mean_gradients(weights, memory):
    """Those of the two processes, one after the other."""
    net = nn.Sequential(nn.Linear(97, 8), nn.BatchNorm1d(8), SugarReLU("bsilu", memory=memory), nn.Linear(8, 1))
    total = [torch.zeros_like(p) for p in net.parameters()]
    for rank in range(2):
        net.zero_grad()
        for parameter, value in zip(net.parameters(), weights):
            parameter.data.copy_(value)
        torch.manual_seed(rank)
        net(torch.randn(16, 97)).mean().backward()
        total = [t + p.grad / 2 for t, p in zip(total, net.parameters())]
    return total
