"""A second implementation, written from the papers in their own letters, in numpy and integer time.

Nothing here is shared with the library: alpha_bar, beta and t = 1 ... T as printed, variances by plain subtraction. Every
array that a table gives is indexed by the papers' t, with a value for the data itself at t = 0.
"""

# ruff: noqa: N803

import math

import numpy as np
from scipy.special import ndtr

# ------------------------------------------------------------------------------------------------ tables of betas


def ddpm_betas(T: int = 1000) -> np.ndarray:
    """Ho et al. 2020, section 4: constants increasing linearly from 1e-4 to 0.02."""
    return np.array([1e-4 + (0.02 - 1e-4) * (t - 1) / (T - 1) for t in range(1, T + 1)])


def latent_diffusion_betas(T: int = 1000) -> np.ndarray:
    """Rombach et al. 2022, the released configuration: linear in the square root."""
    return np.array([(0.00085**0.5 + (0.012**0.5 - 0.00085**0.5) * (t - 1) / (T - 1)) ** 2 for t in range(1, T + 1)])


def cosine_alpha_bar(t: float, T: int, s: float = 0.008) -> float:
    """Nichol & Dhariwal 2021, equation 17: f(t) / f(0)."""

    def f(t):
        return math.cos((t / T + s) / (1 + s) * math.pi / 2) ** 2

    return f(t) / f(0)


def cosine_betas(T: int = 1000) -> np.ndarray:
    """Nichol & Dhariwal 2021, below equation 17: beta_t = 1 - alpha_bar_t / alpha_bar_{t-1}, at most 0.999."""
    return np.array([min(1 - cosine_alpha_bar(t, T) / cosine_alpha_bar(t - 1, T), 0.999) for t in range(1, T + 1)])


class Chain:
    """DDPM's chain of T steps: arrays indexed by t = 0 ... T, entry 0 of beta and alpha unused."""

    def __init__(self, betas: np.ndarray):
        self.T = len(betas)
        self.beta = np.concatenate([[np.nan], betas])
        self.alpha = 1 - self.beta
        self.alpha_bar = np.concatenate([[1.0], np.cumprod(1 - betas)])

    def q_sample(self, x_0, t: int, eps):
        """Ho et al. 2020, equation 4."""
        return math.sqrt(self.alpha_bar[t]) * x_0 + math.sqrt(1 - self.alpha_bar[t]) * eps

    def posterior_mean(self, x_0, x_t, t: int):
        """Ho et al. 2020, equation 7: the mean of q(x_{t-1} | x_t, x_0)."""
        before, now = self.alpha_bar[t - 1], self.alpha_bar[t]
        from_x_0 = math.sqrt(before) * self.beta[t] / (1 - now)
        from_x_t = math.sqrt(self.alpha[t]) * (1 - before) / (1 - now)
        return from_x_0 * x_0 + from_x_t * x_t

    def beta_tilde(self, t: int) -> float:
        """Ho et al. 2020, equation 7: the variance of q(x_{t-1} | x_t, x_0)."""
        return (1 - self.alpha_bar[t - 1]) / (1 - self.alpha_bar[t]) * self.beta[t]

    def mean_from_eps(self, x_t, eps, t: int):
        """Ho et al. 2020, equation 11."""
        return (x_t - self.beta[t] / math.sqrt(1 - self.alpha_bar[t]) * eps) / math.sqrt(self.alpha[t])

    def x_0_from_eps(self, x_t, eps, t: int):
        """Ho et al. 2020, equation 15."""
        return (x_t - math.sqrt(1 - self.alpha_bar[t]) * eps) / math.sqrt(self.alpha_bar[t])

    def kl_weight_eps(self, t: int, variance: float | None = None) -> float:
        """Ho et al. 2020, equation 12: beta_t^2 / (2 sigma_t^2 alpha_t (1 - alpha_bar_t)) on |eps - eps_hat|^2."""
        variance = self.beta_tilde(t) if variance is None else variance
        return self.beta[t] ** 2 / (2 * variance * self.alpha[t] * (1 - self.alpha_bar[t]))

    def kl_weight_x(self, t: int) -> float:
        """Half the difference of signal-to-noise ratios, on |x_0 - x_hat|^2."""
        return 0.5 * (self.alpha_bar[t - 1] / (1 - self.alpha_bar[t - 1]) - self.alpha_bar[t] / (1 - self.alpha_bar[t]))

    def step(self, x_t, eps_hat, t: int, z, variance: float):
        """Ho et al. 2020, algorithm 2; z is zero at t = 1."""
        return self.mean_from_eps(x_t, eps_hat, t) + math.sqrt(variance) * (z if t > 1 else 0)

    def ddim_step(self, x_t, eps_hat, t: int, s: int, eta: float, z):
        """Song, Meng & Ermon 2021, equations 12 and 16, from t to any earlier s; their alpha is DDPM's alpha_bar."""
        now, then = self.alpha_bar[t], self.alpha_bar[s]
        sigma = eta * math.sqrt((1 - then) / (1 - now)) * math.sqrt(1 - now / then)
        predicted_x_0 = (x_t - math.sqrt(1 - now) * eps_hat) / math.sqrt(now)
        return math.sqrt(then) * predicted_x_0 + math.sqrt(1 - then - sigma**2) * eps_hat + sigma * z


# ------------------------------------------------------------------------------------------------ terms of the bound


def gaussian_kl(mean_q, variance_q, mean_p, variance_p):
    """KL between one-dimensional Gaussians, q first."""
    return 0.5 * (np.log(variance_p / variance_q) + (variance_q + (mean_q - mean_p) ** 2) / variance_p - 1)


def discretized_mass(x_0, mean, sigma: float, half_bin: float, lowest: float, highest: float):
    """Ho et al. 2020, equation 13: the normal mass on [x_0 - half_bin, x_0 + half_bin], open at the end levels."""
    upper = np.where(np.isclose(x_0, highest), 1.0, ndtr((x_0 + half_bin - mean) / sigma))
    lower = np.where(np.isclose(x_0, lowest), 0.0, ndtr((x_0 - half_bin - mean) / sigma))
    return upper - lower


def log_normal(x, mean, variance):
    return -0.5 * (np.log(2 * np.pi * variance) + (x - mean) ** 2 / variance)


def ddpm_bound_terms(chain: Chain, x_0, eps, predict_x_0, num_levels: int, sigma: float):
    """L_0, [L_1 ... L_{T-1}], L_T of Ho et al. 2020, equation 5, per example, for given noise eps[t - 1] at each t.

    predict_x_0(x_t, t) is the model; the reverse variance is beta_tilde, for which L_{t-1} is a KL of equal variances.
    """
    x_1 = chain.q_sample(x_0, 1, eps[0])
    centre = 1 - 1 / num_levels
    mass = discretized_mass(x_0, predict_x_0(x_1, 1), sigma, 1 / num_levels, -centre, centre)
    middle = []
    for t in range(2, chain.T + 1):
        x_t = chain.q_sample(x_0, t, eps[t - 1])
        q_mean, p_mean = (chain.posterior_mean(x, x_t, t) for x in (x_0, predict_x_0(x_t, t)))
        middle.append(gaussian_kl(q_mean, chain.beta_tilde(t), p_mean, chain.beta_tilde(t)).sum(1))
    last = gaussian_kl(math.sqrt(chain.alpha_bar[-1]) * x_0, 1 - chain.alpha_bar[-1], 0.0, 1.0)
    return -np.log(mass).sum(1), np.stack(middle, 1), last.sum(1)


# ------------------------------------------------------------------------------------------------ VDM, EDM, min-SNR


def sigmoid(value):
    return 1 / (1 + np.exp(-value))


def vdm_latent(x, gamma: float, eps):
    """Kingma et al. 2021, equations 1 to 4: sigma^2 = sigmoid(gamma), alpha^2 = 1 - sigma^2."""
    return np.sqrt(sigmoid(-gamma)) * x + np.sqrt(sigmoid(gamma)) * eps


def vdm_step_loss(eps, eps_hat, gamma_t: float, gamma_s: float):
    """Kingma et al. 2021, equation 14, one summand: half expm1(gamma(t) - gamma(s)) |eps - eps_hat|^2."""
    return 0.5 * (np.exp(gamma_t - gamma_s) - 1) * ((eps - eps_hat) ** 2).sum(1)


def edm_preconditioning(sigma, sigma_data: float):
    """Karras et al. 2022, table 1: c_skip, c_out, c_in."""
    total = sigma**2 + sigma_data**2
    return sigma_data**2 / total, sigma * sigma_data / total**0.5, 1 / total**0.5


def edm_loss_weight(sigma, sigma_data: float):
    """Karras et al. 2022, table 1: lambda(sigma)."""
    return (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2


def edm_steps(n: int, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0):
    """Karras et al. 2022, equation 5, i = 0 ... n - 1 from the largest to the smallest."""
    i = np.arange(n)
    return (sigma_max ** (1 / rho) + i / (n - 1) * (sigma_min ** (1 / rho) - sigma_max ** (1 / rho))) ** rho


def min_snr_weights(snr, clip: float) -> dict[str, np.ndarray]:
    """Hang et al. 2023: the weights on the squared errors of x, eps and v."""
    return {"x": np.minimum(snr, clip), "eps": np.minimum(snr, clip) / snr, "v": np.minimum(snr, clip) / (snr + 1)}


def sigmoid_alpha_bar(t: float, start: float = -3, end: float = 3, tau: float = 1.0) -> float:
    """Chen 2023, algorithm 1: the sigmoid schedule's gamma, which is DDPM's alpha_bar."""
    v_start, v_end = sigmoid(start / tau), sigmoid(end / tau)
    return (v_end - sigmoid((t * (end - start) + start) / tau)) / (v_end - v_start)


# ------------------------------------------------------------------------------------------------ Gaussian data


def gaussian_posterior(mean, covariance, alpha: float, sigma: float, x_t):
    """E and Cov of x given x_t = alpha x + sigma eps by conditioning the joint Gaussian of (x, x_t)."""
    D = len(mean)
    joint = np.block(
        [[covariance, alpha * covariance], [alpha * covariance, alpha**2 * covariance + sigma**2 * np.eye(D)]]
    )
    gain = joint[:D, D:] @ np.linalg.inv(joint[D:, D:])
    return mean + (x_t - alpha * mean) @ gain.T, joint[:D, :D] - gain @ joint[D:, :D]
