"""The optimiser: who moves what, how far, and that a saved state goes on bit for bit."""

import subprocess
import sys

import pytest
import torch
from torch.nn import functional

from lowerbound.denoiser import NetworkDenoiser
from lowerbound.nn import MLP, UNet
from lowerbound.schedule.learned import LearnedGamma, MonotoneWarp
from lowerbound.training.config import TrainingConfig
from lowerbound.training.optimizer import DENSE_RATE, MUON_RATE, SCHEDULE, SCHEDULE_RATE, TRUNK, Optimizer

RATE = 0.01


def make(network="mlp"):
    """A denoiser with a learned schedule, its zero weights made random so that every gradient is something."""
    torch.manual_seed(0)
    if network == "mlp":
        made, shape = MLP(3, width=8, depth=2), (3,)
    else:
        settings = {"dense": 6, "spatial": (4, 4)} if network == "dense" else {}
        made = UNet(1, 2, width=8, multipliers=(1, 2), blocks_per_level=1, attention_levels=1, **settings)
        shape = (1, 4, 4)
    denoiser = NetworkDenoiser(made, LearnedGamma(warp=MonotoneWarp(4)), shape)
    with torch.no_grad():
        for parameter in denoiser.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return denoiser


def optimizer_of(denoiser, name="muon", **settings):
    return Optimizer(denoiser, TrainingConfig(steps=1, optimizer=name, **settings))


def backward(denoiser, seed):
    """Gradients of some loss in all parameters."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(5, *denoiser.shape, generator=generator)
    t = torch.rand(5, generator=generator)
    denoiser(x, t).eps.square().mean().backward()


def train(denoiser, optimizer, seeds):
    for seed in seeds:
        optimizer.zero_grad()
        backward(denoiser, seed)
        optimizer.step(RATE)


def weights(denoiser):
    return {name: parameter.detach().clone() for name, parameter in denoiser.named_parameters()}


def is_matrix(name, parameter):
    return TRUNK in name and ".modulate." not in name and ".dense." not in name and parameter.ndim >= 2


@pytest.mark.parametrize("name", ["muon", "adamw"])
@pytest.mark.parametrize("network", ["mlp", "unet", "dense"])
def test_every_parameter_with_a_gradient_moves(network, name):
    denoiser = make(network)
    before = weights(denoiser)
    train(denoiser, optimizer_of(denoiser, name), [0])
    for key, parameter in denoiser.named_parameters():
        moved = not torch.equal(parameter.detach(), before[key])
        assert moved == (parameter.grad is not None and bool(parameter.grad.abs().max() > 0)), key
    trunk = [key for key, parameter in denoiser.named_parameters() if is_matrix(key, parameter)]
    assert len(trunk) >= 4
    assert all(not torch.equal(denoiser.get_parameter(key).detach(), before[key]) for key in trunk)


@pytest.mark.parametrize("network", ["mlp", "unet"])
def test_a_matrix_moves_along_the_nearest_orthogonal_one_to_its_gradient(network):
    """All singular values of the step are alike, its singular vectors the gradient's (a convolution's flattened)."""
    denoiser = make(network)
    before = weights(denoiser)
    train(denoiser, optimizer_of(denoiser), [0])
    for name, parameter in denoiser.named_parameters():
        if not is_matrix(name, parameter):
            continue
        step = (before[name] - parameter.detach()).flatten(1) / (MUON_RATE * RATE)
        rows, columns = step.shape
        step = step / max(1, rows / columns) ** 0.5  # torch's allowance for tall matrices
        U, S, V = torch.linalg.svd(parameter.grad.flatten(1), full_matrices=False)
        large = S / S[0] > 0.05  # the iteration leaves directions that are nearly absent shorter
        along = torch.einsum("ik,ij,kj->k", U, step, V)[large]
        assert ((along > 0.6) & (along < 1.3)).all(), name


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_everything_else_takes_adamw(name):
    """Torch's own on a copy of the model, given the same gradients."""
    ours, theirs = make(), make()
    chosen = [key for key, p in ours.named_parameters() if name == "adamw" or not is_matrix(key, p)]
    settings = {True: {"lr": SCHEDULE_RATE * RATE, "weight_decay": 0.0}, False: {"lr": RATE, "weight_decay": 0.1}}
    groups = [{"params": [theirs.get_parameter(key)], **settings[key.startswith(SCHEDULE)]} for key in chosen]
    reference = torch.optim.AdamW(groups, betas=(0.9, 0.99))
    optimizer = optimizer_of(ours, name, weight_decay=0.1)
    for seed in range(3):
        optimizer.zero_grad()
        backward(ours, seed)
        optimizer.step(RATE)
        for key, parameter in ours.named_parameters():
            theirs.get_parameter(key).grad = None if parameter.grad is None else parameter.grad.clone()
        reference.step()
    for key in chosen:
        torch.testing.assert_close(ours.get_parameter(key), theirs.get_parameter(key), rtol=1e-5, atol=1e-6, msg=key)


@pytest.mark.parametrize("name", ["muon", "adamw"])
@pytest.mark.parametrize("network", ["mlp", "unet"])
def test_a_restored_state_goes_on_bit_for_bit(network, name):
    unbroken = make(network)
    optimizer = optimizer_of(unbroken, name)
    train(unbroken, optimizer, range(3))
    saved, values = optimizer.state(), weights(unbroken)

    resumed = make(network)
    resumed.load_state_dict(values)
    other = optimizer_of(resumed, name)
    other.restore(saved)
    train(unbroken, optimizer, range(3, 6))
    train(resumed, other, range(3, 6))
    for key, value in weights(unbroken).items():
        assert torch.equal(value, weights(resumed)[key]), key
    assert saved.keys() == other.state().keys()
    for key, value in optimizer.state().items():
        assert torch.equal(value, other.state()[key]), key


def test_a_state_is_named_after_its_parameters():
    denoiser = make()
    optimizer = optimizer_of(denoiser)
    assert optimizer.state() == {}
    train(denoiser, optimizer, [0])
    of = {}
    for key in optimizer.state():
        name, _, kind = key.rpartition(".")
        of.setdefault(name, set()).add(kind)
    for name, parameter in denoiser.named_parameters():
        if parameter.grad is not None:
            expected = {"momentum_buffer"} if is_matrix(name, parameter) else {"step", "exp_avg", "exp_avg_sq"}
            assert of[name] == expected
        else:
            assert name not in of


def test_fully_connected_blocks_learn_at_a_rate_of_their_own():
    """AdamW's first step is as long as its rate, whatever the gradient."""
    denoiser = make("dense")
    optimizer, before = optimizer_of(denoiser), weights(denoiser)
    train(denoiser, optimizer, [0])
    moved = {name: (value - before[name]).abs().max().item() for name, value in weights(denoiser).items()}
    assert moved["network.trunk.lower.dense.layer_in.weight"] == pytest.approx(DENSE_RATE * RATE, rel=1e-3)
    assert moved["network.trunk.lower.dense.layer_out.weight"] == pytest.approx(DENSE_RATE * RATE, rel=1e-3)
    assert moved["network.into.weight"] == pytest.approx(RATE, rel=1e-3)


def test_a_parameter_without_gradient_stays_and_starts_afresh_later():
    denoiser = make()
    frozen = denoiser.network.trunk[0]
    frozen.requires_grad_(False)
    denoiser.schedule.requires_grad_(False)
    optimizer, before = optimizer_of(denoiser, weight_decay=0.1), weights(denoiser)
    train(denoiser, optimizer, range(2))
    for name, parameter in denoiser.named_parameters():
        if not parameter.requires_grad:
            assert torch.equal(parameter, before[name]), name
    frozen.requires_grad_(True)
    train(denoiser, optimizer, [2])
    assert any(not torch.equal(p, before[f"network.trunk.0.{name}"]) for name, p in frozen.named_parameters())


def test_gradients_are_forgotten():
    denoiser = make()
    optimizer = optimizer_of(denoiser)
    backward(denoiser, 0)
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in denoiser.parameters())
    before = weights(denoiser)
    train(denoiser, optimizer, [0])
    optimizer.zero_grad()
    middle = weights(denoiser)
    optimizer.step(RATE)
    assert all(torch.equal(value, middle[name]) for name, value in weights(denoiser).items()), "no gradient, no step"
    assert any(not torch.equal(value, before[name]) for name, value in middle.items())


def test_the_schedule_is_clipped_apart():
    """However long its gradient, the network's stays as it is, and the other way round."""
    for long, other in ((SCHEDULE, "network."), ("network.", SCHEDULE)):
        denoiser = make()
        optimizer = optimizer_of(denoiser, clip=2.0)
        backward(denoiser, 0)
        for name, parameter in denoiser.named_parameters():
            if parameter.grad is not None:
                parameter.grad *= 1e4 if name.startswith(long) else 1e-3
        before = {name: p.grad.clone() for name, p in denoiser.named_parameters() if p.grad is not None}
        norms = {
            part: torch.stack([g.norm() for name, g in before.items() if name.startswith(part)]).norm()
            for part in (long, other)
        }
        assert norms[long] > 2 > norms[other]
        assert optimizer.clip_gradients() == pytest.approx(torch.hypot(norms[long], norms[other]).item(), rel=1e-4)
        for name, gradient in before.items():
            kept = 2 / norms[long] if name.startswith(long) else 1.0
            torch.testing.assert_close(denoiser.get_parameter(name).grad, kept * gradient, rtol=1e-4, atol=1e-8)


def test_it_trains():
    """A network learns the noise of one example."""
    denoiser = make()
    denoiser.schedule.requires_grad_(False)
    optimizer, losses = optimizer_of(denoiser), []
    eps = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    for _ in range(60):
        optimizer.zero_grad()
        level = denoiser.schedule.level(0.5)
        loss = functional.mse_loss(denoiser(0.5 * level.alpha + level.sigma * eps, level).eps, eps)
        loss.backward()
        optimizer.step(RATE)
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_torch_s_compiler_stays_where_it_is():
    """Its import takes a second: no command needs it to see how large a network is, and no training to move one."""
    code = (
        "import sys, torch; from lowerbound.nn import MLP, UNet; from lowerbound.blocks import Real\n"
        "from lowerbound.fitted import FittedMixture, FittedWindows; from lowerbound.schedule import Cosine\n"
        "from lowerbound.langevin import EnergyDenoiser\n"
        "from lowerbound.schedule.learned import LearnedGamma, MonotoneWarp\n"
        "from lowerbound.nn.size import check_size\n"
        "from lowerbound.training.config import TrainingConfig; from lowerbound.training.optimizer import Optimizer\n"
        "with torch.device('meta'):\n"
        "    networks = MLP(2, fourier_frequencies=(8.5,)), UNet(1, num_dims=2, fourier_frequencies=(8.5,))\n"
        "    networks = *networks, LearnedGamma(warp=MonotoneWarp())\n"
        "    networks = *networks, FittedMixture(2, (Real(),) * 3), FittedWindows((2, 8), horizon=3)\n"
        "check_size(lambda: UNet(1, num_dims=2, num_classes=10), 1 << 30, 'a network of labels')\n"
        "assert all(parameter.is_meta for network in networks for parameter in network.parameters())\n"
        "network = MLP(2, width=4, depth=1)\n"
        "optimizer = Optimizer(network, TrainingConfig())\n"
        "network(torch.ones(3, 2), torch.zeros(3)).sum().backward()\n"
        "optimizer.clip_gradients()\n"
        "optimizer.step(0.1)\n"
        "assert optimizer.state()\n"
        "Cosine().slope(torch.rand(3))\n"
        "EnergyDenoiser(MLP(2, width=4, depth=1), Cosine(), (2,))(torch.ones(3, 2), torch.rand(3))\n"
        "assert not {'torch._dynamo', 'sympy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
