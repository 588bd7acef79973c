r"""Why is form B of the bound closed to a general hierarchical VAE?

Form B compares the model with $q(z_{t-1} | z_t, x)$, which by Bayes' rule needs $q(z_t | x)$: an integral over all latents
below. Through a learned network it has no closed form, and the library refuses; form A needs only draws of the path and
runs. A diffusion model is the same hierarchy with an encoder that is fixed and linear-Gaussian, so that the integral is a
Gaussian: there form B runs too, is the diffusion bound to rounding on the same noise (2.6e-14 nats at T = 100), and has the
smaller spread: 1.29 nats for an example against form A's 1.66, where the bounds are -0.969 ± 0.020 and -0.982 ± 0.026.

    python docs/questions/form_b_closed.py
"""

import torch

import lowerbound as lb
from lowerbound import InputError, mean_and_error
from lowerbound.models.hierarchical import HierarchicalVAE, as_hvae, form_a, form_b


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    general, x = HierarchicalVAE((2,), None, num_latents=3, latent_dims=4, width=32), torch.randn(1000, 2)
    print("a hierarchical VAE of 3 levels with learned encoders, untrained")
    with torch.no_grad():
        show("form A", form_a(general, x, lb.Stream(0)).nats)
    try:
        form_b(general, x, lb.Stream(0))
    except InputError as error:
        print(f"form B  refused: {error}\n")

    eye = torch.eye(2, dtype=torch.float64)
    data = lb.GaussianMixture(
        torch.tensor([0.5, 0.5], dtype=torch.float64),
        torch.tensor([[-1.0, 0.0], [1.0, 0.5]], dtype=torch.float64),
        torch.stack([0.04 * eye, 0.1 * eye]),
        lb.LinearGamma(-6.0, 5.0),
    )
    x = data.sample(4000, lb.Stream(1))
    print(
        "the exact denoiser of a mixture in the plane as a hierarchical VAE of T levels; nats, and its standard error"
    )
    show("log p(x)", data.log_prob(x))
    for num_latents in (10, 100):
        chain = torch.linspace(0, 1, num_latents, dtype=torch.float64)
        hvae = as_hvae(data, lb.GaussianDecoder(), chain)
        bounds = {
            "form A": form_a(hvae, x, lb.Stream(2)).nats,
            "form B": form_b(hvae, x, lb.Stream(3)).nats,
            "diffusion bound": lb.elbo(data, lb.GaussianDecoder(), x, chain, noise=lb.Stream(3)).nats,
        }
        print(f"T = {num_latents}")
        for name, nats in bounds.items():
            show(name, nats)
        apart = (bounds["form B"] - bounds["diffusion bound"]).abs().max().item()
        print(f"  form B and the diffusion bound on the same noise differ by at most {apart:.1e} nats")


def show(name: str, nats: torch.Tensor) -> None:
    """One line: a mean over examples, its standard error, and the spread of an example."""
    mean, error = mean_and_error(nats)
    print(f"  {name:<16}{mean:9.3f} ± {error:.3f}   standard deviation {nats.std().item():.2f}")


if __name__ == "__main__":
    main()
