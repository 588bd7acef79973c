"""The diffusion model around a denoiser."""

import torch

import lowerbound as lb


def test_a_model_without_a_decoder_leaves_its_denoiser_as_it_was():
    denoiser, x = lb.Gaussian(torch.zeros(2), torch.eye(2), lb.LinearGamma()), torch.zeros(3, 2)
    model = lb.Diffusion(denoiser, None)
    assert model.likelihood == "none"
    assert "no decoder" in (model.no_likelihood or "")
    assert model.around(lb.ClassifierFree(denoiser, 1.0)).likelihood == "none"
    assert denoiser.no_likelihood is None
    assert torch.isfinite(lb.log_prob(denoiser, x).nats).all()
    assert lb.Diffusion(denoiser, lb.GaussianDecoder()).likelihood == "bound"
