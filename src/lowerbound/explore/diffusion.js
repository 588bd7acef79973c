// Diffusion of a mixture of equal round Gaussians in the plane, in closed form. The names are those of the library.
// A point is [x, y]; a mixture {means: [point], std}; a schedule {gammaMin, gammaMax}, gamma linear in t.
"use strict";

const sigmoid = (a) => 1 / (1 + Math.exp(-a));

/** The noise level at t in [0, 1]: gamma = -log SNR, and the scales of signal and noise, variance preserving. */
function level(schedule, t) {
  const gamma = schedule.gammaMin + (schedule.gammaMax - schedule.gammaMin) * t;
  return { gamma, alpha: Math.sqrt(sigmoid(-gamma)), sigma: Math.sqrt(sigmoid(gamma)) };
}

/** The logarithms of each component's part of q(x_t), and their logarithmic sum. */
function components(mixture, x, { alpha, sigma }) {
  const variance = (alpha * mixture.std) ** 2 + sigma ** 2;
  const constant = -Math.log(mixture.means.length) - Math.log(2 * Math.PI * variance);
  const parts = mixture.means.map(
    ([mx, my]) => constant - ((x[0] - alpha * mx) ** 2 + (x[1] - alpha * my) ** 2) / (2 * variance));
  const most = parts.reduce((a, b) => Math.max(a, b), -Infinity);
  const total = most + Math.log(parts.reduce((sum, part) => sum + Math.exp(part - most), 0));
  return { parts, total, variance };
}

const NO_NOISE = { gamma: -Infinity, alpha: 1, sigma: 0 };

/** log p(x), or log q(x_t) at a level, in nats. */
const logDensity = (mixture, x, at = NO_NOISE) => components(mixture, x, at).total;

/** The exact denoiser: E[x | x_t]. */
function denoise(mixture, x, at) {
  const { parts, total, variance } = components(mixture, x, at);
  const gain = (mixture.std ** 2 * at.alpha) / variance;
  const mean = [0, 0];
  mixture.means.forEach((centre, k) => {
    const share = Math.exp(parts[k] - total);
    for (const j of [0, 1]) mean[j] += share * (centre[j] + gain * (x[j] - at.alpha * centre[j]));
  });
  return mean;
}

/** The score: the gradient of log q(x_t), by Tweedie's formula. */
const score = (mixture, x, at) => denoise(mixture, x, at).map((m, j) => (at.alpha * m - x[j]) / at.sigma ** 2);

/**
 * The bound of a chain of eps.length steps, in its three terms, in nats; eps is one normal point for each step.
 *   log p(x) >= reconstruction - prior - diffusion
 */
function bound(mixture, schedule, x, eps) {
  const first = level(schedule, 0), last = level(schedule, 1);
  const reconstruction = -(1 + Math.log(2 * Math.PI) + first.gamma);
  const prior = x.reduce(
    (sum, value) => sum + 0.5 * (last.sigma ** 2 + (last.alpha * value) ** 2 - 1 - Math.log(last.sigma ** 2)), 0);
  let diffusion = 0;
  eps.forEach((noise, i) => {
    const s = level(schedule, i / eps.length), t = level(schedule, (i + 1) / eps.length);
    const noisy = x.map((value, j) => t.alpha * value + t.sigma * noise[j]);
    const guess = denoise(mixture, noisy, t);
    const error = (x[0] - guess[0]) ** 2 + (x[1] - guess[1]) ** 2;
    diffusion += 0.5 * (Math.exp(-s.gamma) - Math.exp(-t.gamma)) * error;
  });
  return { reconstruction, prior, diffusion, total: reconstruction - prior - diffusion };
}

/** One step from the level t to the level s of less noise; eps is a normal point, which DDIM takes none of. */
function step(sampler, mixture, x, t, s, eps) {
  const guess = denoise(mixture, x, t);
  if (sampler === "ddim") {
    return x.map((value, j) => s.alpha * guess[j] + (s.sigma * (value - t.alpha * guess[j])) / t.sigma);
  }
  const share = -Math.expm1(s.gamma - t.gamma);
  return x.map((value, j) =>
    s.alpha * ((1 - share) * (value / t.alpha) + share * guess[j]) + s.sigma * Math.sqrt(share) * eps[j]);
}

/** The way of a sample from noise x to the data: numSteps + 2 points, the last one the denoiser's at the least noise. */
function trajectory(sampler, mixture, schedule, x, numSteps, normal) {
  const path = [x];
  for (let i = numSteps; i > 0; i--) {
    x = step(sampler, mixture, x, level(schedule, i / numSteps), level(schedule, (i - 1) / numSteps), normal());
    path.push(x);
  }
  path.push(denoise(mixture, x, level(schedule, 0)));
  return path;
}

/**
 * Lines of equal value on a grid of values, row by row from the top: pieces [x1, y1, x2, y2] in units of its cells, between the
 * cells' centres (marching squares).
 */
function contour(values, cells, at) {
  const pieces = [];
  const cut = (i, j, a, k, l, b) => { const share = (at - a) / (b - a); return [i + share * (k - i), j + share * (l - j)]; };
  for (let j = 0; j + 1 < cells; j++) {
    for (let i = 0; i + 1 < cells; i++) {
      const corners = [[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]].map(([x, y]) => [x, y, values[y * cells + x]]);
      const cuts = [];
      corners.forEach((one, k) => {
        const next = corners[(k + 1) % 4];
        if ((one[2] >= at) !== (next[2] >= at)) cuts.push(cut(...one, ...next));
      });
      for (let k = 0; k + 1 < cuts.length; k += 2) pieces.push([...cuts[k], ...cuts[k + 1]]);
    }
  }
  return pieces;
}

/** Normal points from a seed: the same seed, the same points. */
function normalPoints(seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (((mixed ^ (mixed >>> 14)) >>> 0) + 0.5) / 4294967296;
  };
  const normal = () => {
    const radius = Math.sqrt(-2 * Math.log(uniform())), angle = 2 * Math.PI * uniform();
    return [radius * Math.cos(angle), radius * Math.sin(angle)];
  };
  return { normal, uniform };
}

/** Draws of a mixture. */
function draws(mixture, num, { normal, uniform }) {
  return Array.from({ length: num }, () => {
    const [mx, my] = mixture.means[Math.floor(uniform() * mixture.means.length)], eps = normal();
    return [mx + mixture.std * eps[0], my + mixture.std * eps[1]];
  });
}

if (typeof module !== "undefined") {
  module.exports = { level, contour, logDensity, denoise, score, bound, step, trajectory, normalPoints, draws };
}
