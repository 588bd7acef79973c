"""The words of a report, explained to those who meet them for the first time: only those that occur in it."""

import re
from collections.abc import Iterable

GLOSSARY = {
    "bits/dim": "The negative log likelihood in bits, divided by the number of entries of an example: fewer are better. A "
    "model with b bits/dim would compress the data to b bits for each entry.",
    "bound": "A figure that the true bits/dim do not exceed: what a model says of itself by the evidence lower bound.",
    "exact": "The likelihood itself, not a bound on it, up to the error that is given.",
    "reconstruction": "The bound's first term: what it takes to name the data once the least noisy latent is known.",
    "prior": "The bound's second term: by how much the noisiest latent still differs from pure noise.",
    "diffusion": "The bound's third term: what all steps of denoising between the two ends cost. As a model: one that "
    "undoes noise that was added step by step.",
    "standard error": "The spread that a figure would have if other examples had been taken: about 95% of the time the "
    "truth lies within two of them.",
    "baseline": "A simple model, such as a histogram of each entry, which a good model has to beat.",
    "Frechet distance": "How far apart two sets of features are, as if both were Gaussian: 0 for equal means and "
    "covariances.",
    "FID": "Frechet inception distance: the Frechet distance in the features of Inception-v3, as papers give it; to be "
    "compared at equal numbers of images only.",
    "KID": "Kernel inception distance: the kernel distance in the features of Inception-v3.",
    "kernel distance": "How far apart two sets of features are, by their mean similarity (squared maximum mean "
    "discrepancy).",
    "precision": "The share of samples that lie near some data: whether samples look like data.",
    "recall": "The share of data that lie near some sample: whether all kinds of data are drawn.",
    "density": "As a figure of samples: how many data lie around each sample, relative to what is expected; of a model: the "
    "probability for each unit of volume.",
    "coverage": "The share of data that have a sample among their nearest neighbours.",
    "guidance": "Pushing samples towards their label, by the difference of what the model says with and without it.",
    "network calls": "How often the network is evaluated for one sample: what sampling costs.",
    "SNR": "Signal-to-noise ratio: the squared scale of the data over that of the noise.",
    "gamma": "Minus the logarithm of the signal-to-noise ratio: the noise level.",
    "CRPS": "Continuous ranked probability score: the mean error of a whole distribution, in the units of the data.",
    "RMSE": "Root mean square error.",
    "MAE": "Mean absolute error.",
    "area under the curve": "How well two sets are told apart: 0.5 is chance, 1 is always.",
    "z": "A difference in units of its standard error: beyond 2 it is a hint, beyond 3 it is taken for a fact.",
    "p": "The probability of a difference as large or larger by chance alone.",
    "held-out": "Data that the model was not trained on.",
    "autoregressive": "A model that draws one entry after the other, each given those before it.",
    "vae": "Variational autoencoder: one vector of latents, from which the data are decoded.",
    "flow": "A density that is followed along an invertible map from noise to data; of a diffusion model, along its "
    "deterministic way.",
    "gan": "Generative adversarial network: samples that a second network cannot tell from data; it has no likelihood.",
    "energy": "A model that is known up to its normaliser.",
}
"""What each word means, in the order in which they are listed."""


def glossary(texts: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """The words that occur in texts, each with what it means."""
    text = "\n".join(texts)
    return tuple((word, meaning) for word, meaning in GLOSSARY.items() if _occurs(word, text))


def _occurs(word: str, text: str) -> bool:
    """Whether it stands there as a word; those of one letter only where a figure follows."""
    if len(word) == 1:
        return re.search(rf"\b{word} = ", text) is not None
    return re.search(rf"(?<![\w-]){re.escape(word)}s?(?![\w-])", text, re.IGNORECASE) is not None
