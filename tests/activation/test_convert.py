"""Which modules a conversion replaces, and what it leaves alone."""

import logging

import pytest
import torch
from torch import nn

from sugar_search.activation.convert import Site, convert, sites
from sugar_search.activation.module import SugarReLU
from sugar_search.errors import InputError


class Residual(nn.Module):
    def __init__(self, activation):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.activation, self.twin = activation, activation

    def forward(self, x):
        return self.twin(x + self.second(self.activation(self.first(x))))


def network():
    torch.manual_seed(0)
    shared = nn.ReLU(inplace=True)
    return nn.Sequential(
        nn.Linear(3, 4),
        nn.ReLU(inplace=True),
        Residual(shared),
        nn.ReLU(),
        nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.5), nn.ReLU()),
    )


def test_every_relu_is_replaced_and_the_forward_stays():
    net = network().eval()
    x = torch.randn(8, 3)
    before, keys = net(x), list(net.state_dict())
    assert convert(net, "bsilu") is net
    assert not any(isinstance(m, nn.ReLU) for m in net.modules())
    assert torch.equal(net(x), before) and list(net.state_dict()) == keys


def test_the_gradient_changes_where_units_are_off():
    net = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    with torch.no_grad():
        net[0].weight.fill_(1.0)
        net[0].bias.fill_(-1.0)
    convert(net, "straight_through")(torch.zeros(1, 1)).sum().backward()
    assert net[0].bias.grad.tolist() == [1.0]


def test_shared_modules_stay_shared_and_count_once():
    net = network()
    assert Site(("2.activation", "2.twin"), "ReLU") in sites(net)
    assert len(sites(net)) == 4
    convert(net, "bsilu")
    assert net[2].activation is net[2].twin and net[2].activation is not net[1]
    assert [s.kind for s in sites(net)] == ["SugarReLU"] * 4


def test_shared_parents_are_converted_once():
    block = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    net = convert(nn.Sequential(block, block), "bsilu")
    assert net[0] is net[1] and sites(net) == (Site(("0.1", "1.1"), "SugarReLU"),)


def test_containers_with_awkward_names():
    net = nn.ModuleDict({"relu": nn.ReLU(), "inner": nn.ModuleList([nn.ReLU(), nn.Identity()])})
    convert(net, "bsilu")
    assert isinstance(net["relu"], SugarReLU) and isinstance(net["inner"][0], SugarReLU)


@pytest.mark.parametrize("root", (nn.ReLU(), nn.ReLU(inplace=True), SugarReLU("nelu")))
def test_a_root_relu_is_returned_replaced(root):
    made = convert(root.eval(), "bsilu", alpha=1.2)
    # One of ours takes the new surrogate where it is.
    assert isinstance(made, SugarReLU) and not made.training
    assert (made is root) == isinstance(root, SugarReLU)
    assert repr(made) == f"SugarReLU(B-SiLU(α=1.2){', inplace=True' if getattr(root, 'inplace', False) else ''})"
    assert sites(root) == (Site(("",), type(root).__name__),)


def test_a_second_conversion_replaces_the_first():
    net = convert(convert(network(), "bsilu"), "nelu", alpha=0.05, region="negative")
    assert {m.surrogate.name for m in net.modules() if isinstance(m, SugarReLU)} == {"nelu"}


def test_options_reach_every_site():
    net = convert(network(), "elu", sugar=False)
    assert all(not m.sugar for m in net.modules() if isinstance(m, SugarReLU))
    net = convert(network(), "elu", method="direct")
    assert all(m.method == "direct" for m in net.modules() if isinstance(m, SugarReLU))


def test_other_activations_are_left_alone():
    class Own(nn.ReLU):
        def forward(self, x):
            return x.clamp(-1)

    net = convert(nn.Sequential(nn.ReLU(), nn.ReLU6(), Own(), nn.GELU()), "bsilu")
    assert [type(m) for m in net] == [SugarReLU, nn.ReLU6, Own, nn.GELU]


def test_no_site_is_an_error():
    with pytest.raises(InputError, match=r"must hold ReLU .* with 1 GELU site'; give sites=\('gelu',\) for those"):
        convert(nn.Sequential(nn.Linear(2, 2), nn.GELU()), "bsilu")
    with pytest.raises(InputError, match=r"'Linear'; write the activations as modules .* surrogate_gradients"):
        convert(nn.Linear(2, 2), "bsilu")


def test_a_bad_surrogate_leaves_the_model_unchanged():
    net = network()
    with pytest.raises(InputError):
        convert(net, "bsilu", alpha=float("inf"))
    assert {s.kind for s in sites(net)} == {"ReLU"}


def test_the_report_counts_the_sites(caplog):
    with caplog.at_level(logging.INFO, logger="sugar_search"):
        convert(network(), "bsilu")
        convert(nn.ReLU(), "relu")
    assert caplog.messages == ["converted 4 ReLU sites to B-SiLU(α=1.67)", "converted 1 ReLU site to ReLU"]


def test_checkpoints_load_on_either_side():
    weights = network().state_dict()
    assert not any(convert(network(), "bsilu").load_state_dict(weights))
