"""Where tables lie: on the devices of the model, never shared by copies, and another tensor only where one was given.

The meta device stands for a second one.
"""

import copy
import io
import pickle

import pytest
import torch
from default_form import default_form
from gradients import gradient_from
from torch import nn
from torch.func import functional_call

from sugar_search.activation.convert import convert
from sugar_search.activation.intercept import Injected, Injection, activations_of
from sugar_search.activation.module import SugarReLU
from sugar_search.symbolic.surrogate import surrogate

X = torch.linspace(-6, 6, 97)
backward = gradient_from(X)
CPU, META = torch.device("cpu"), torch.device("meta")


def wanted(text):
    return default_form(surrogate(text).tape)(X)


class Calls(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(97, 97)

    def forward(self, x):
        return torch.relu(self.linear(x))


def modules():
    return nn.Sequential(nn.Linear(97, 97), nn.ReLU())


def copies_in_graphs(net, x):
    """How many times the graphs of the compiled `net` copy a tensor between devices."""
    torch._dynamo.reset()
    found = []

    def backend(graph, inputs):
        found.extend(str(node.target) for node in graph.graph.nodes)
        return graph

    torch.compile(net, fullgraph=True, backend=backend)(x)
    assert any("Function" in name or "autograd" in name for name in found)
    return sum(name in ("to", "cpu", "aten._to_copy.default") for name in found)


@pytest.mark.parametrize("make", (modules, Calls))
@pytest.mark.parametrize("order", ("move, convert", "convert, move"))
def test_a_compiled_network_copies_no_table(make, order):
    net = make()
    # Values of their own: networks with the same surrogate share the tables of functional calls.
    if order == "convert, move":
        convert(net, "bsilu", alpha=1.1).to("meta")
    else:
        convert(net.to("meta"), "bsilu", alpha=1.2)
    assert copies_in_graphs(net, torch.randn(2, 97, device="meta")) == 0


def test_without_a_table_at_hand_a_graph_copies_one():
    assert copies_in_graphs(SugarReLU("bsilu"), torch.randn(97, device="meta", requires_grad=True)) == 1


def test_tables_lie_where_the_model_does():
    net = convert(modules().to("meta"), "bsilu")
    assert net[1].table.device == META
    split = nn.Sequential(nn.Linear(97, 97, device="meta"), nn.ReLU(), nn.Linear(97, 97))
    held = convert(split, "bsilu")[1]._tables
    assert set(held.by_device) == {CPU, META}
    layer = nn.TransformerEncoderLayer(8, 2, 16, activation=nn.functional.relu, device="meta")
    convert(layer, "bsilu")
    assert isinstance(layer.activation, Injected)
    assert all(META in activation._tables.by_device for activation in activations_of(layer))
    again = convert(convert(modules(), "bsilu").to("meta"), "nelu", memory="bits4")
    assert again[1].table.device == META
    assert net[1].like().table.device == META


def test_a_new_surrogate_is_written_on_all_devices():
    activation = SugarReLU("bsilu")
    moved = activation.to("meta").table
    home = activation.cpu().table
    activation.use("nelu")
    assert activation.table is home and activation._tables.by_device[META] is moved
    assert moved._version and torch.equal(backward(activation), wanted("nelu"))


def test_two_devices_in_turn_make_no_new_tables():
    activation = SugarReLU("bsilu")
    with torch.inference_mode():
        activation(X.to("meta"))
    assert not activation._tables.on(META).is_inference()
    held = dict(activation._tables.by_device)
    for _ in range(2):
        activation(X.to("meta").requires_grad_())
        backward(activation)
    assert {device: id(table) for device, table in held.items()} == {
        device: id(table) for device, table in activation._tables.by_device.items()
    }
    assert set(held) == {CPU, META}
    replica = activation._replicate_for_data_parallel()
    assert replica._tables is activation._tables


def test_back_from_a_formula_the_table_lies_where_it_lay():
    activation = SugarReLU("bsilu").to("meta")
    activation.use("where(x > 0, 1, sqrt(sqrt(abs(x)))*exp(x))")
    assert activation.table is None
    assert activation.use("nelu").table.device == META


def test_a_table_given_on_another_device_is_read():
    activation = SugarReLU("bsilu", method="table")
    # Its values are gone on the meta device, so it is the copy that shows.
    given, seen = SugarReLU("nelu", method="table").table.to("meta"), []

    class Spy(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            if getattr(func, "__name__", "") == "to":
                seen.append(args[1])
                return SugarReLU("nelu", method="table").table
            return super().__torch_function__(func, types, args, kwargs or {})

    got = backward(lambda x: functional_call(activation, {"table": given.as_subclass(Spy)}, (x,)))
    assert seen == [CPU] and torch.equal(got, wanted("nelu"))
    assert torch.equal(backward(activation), wanted("bsilu"))


def test_a_table_set_by_hand_lasts_until_the_next_use(caplog):
    activation, other = SugarReLU("bsilu"), SugarReLU("nelu").table.clone()
    before = other.clone()
    activation.table = other
    assert torch.equal(backward(activation), wanted("nelu"))
    assert torch.equal(backward(copy.deepcopy(activation)), wanted("bsilu"))
    assert "a copy of SugarReLU holds the table of B-SiLU" in caplog.text
    assert torch.equal(backward(activation.use("gelu")), wanted("gelu"))
    assert torch.equal(other, before)


def through_torch(module):
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = (copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), through_torch)


@pytest.mark.parametrize("clone", COPIES)
@pytest.mark.parametrize("memory", ("exact", "bits4"))
def test_copies_share_no_table_and_train_wherever_they_are_made(clone, memory):
    activation = SugarReLU("bsilu", memory=memory)
    with torch.inference_mode():
        twin = clone(activation)
    assert not twin.table.is_inference()
    twin.use("relu")
    assert torch.equal(backward(twin), (X > 0).float())
    assert backward(activation)[X < 0].any()
    assert clone(activation.to("meta")).table.device == META


def test_a_load_puts_the_table_where_it_is_told():
    file = io.BytesIO()
    torch.save(convert(modules(), "bsilu"), file)
    assert file.tell() < 97 * 97 * 4 + 16_000
    file.seek(0)
    assert torch.load(file, weights_only=False, map_location="meta")[1].table.device == META


def test_pickles_of_earlier_versions():
    activation = SugarReLU("bsilu")
    state = activation.__getstate__()
    for name in ("memory", "inplace", "kind", "table"):
        del state[name]
    old = SugarReLU.__new__(SugarReLU)
    old.__setstate__(state)
    assert torch.equal(backward(old), wanted("bsilu")) and repr(old) == repr(activation)
    # One that still held its table, of whatever words.
    old.__setstate__(state | {"table": torch.zeros(4096, dtype=torch.int32)})
    assert torch.equal(backward(old), wanted("bsilu"))
    injection = Injection("relu", surrogate("bsilu"), True, "auto", "exact")
    earlier = Injection.__new__(Injection)
    earlier.__dict__.update({name: value for name, value in vars(injection).items() if name != "memory"})
    assert earlier == injection and hash(earlier) == hash(injection)


class Tagged(torch.Tensor):
    """A class of the user's."""


@pytest.mark.parametrize("memory", ("bits4", "recompute"))
def test_a_memory_mode_that_cannot_apply_says_so_once(memory, caplog):
    activation = SugarReLU("bsilu", memory=memory)
    for _ in range(2):
        x = X.clone().as_subclass(Tagged).requires_grad_()
        activation(x)
    assert caplog.text.count(f"memory='{memory}' does not apply to Tagged of layout torch.strided") == 1
    caplog.clear()
    backward(activation)
    SugarReLU("bsilu")(X.clone().as_subclass(Tagged).requires_grad_())
    assert not caplog.text
