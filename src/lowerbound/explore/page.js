// The page around diffusion.js: canvases, sliders, and nothing that is not on the page.
"use strict";

const HALF = 3; // the plane goes from -3 to 3
const MOST_POINTS = 400, NUM_DRAWS = 48, NUM_PATHS = 70, CHAINS = [1, 2, 4, 8, 16, 32, 64, 128, 256], SEED = 1;
const CELLS = 90, CELLS_IN_MOTION = 45, ARROWS = 17, SECONDS = 4;
const CONTOURS = [0.5, 1, 2, 3.5, 5.5]; // nats below the highest
const $ = (id) => document.getElementById(id);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const state = { means: /*POINTS*/ [], frame: null, cross: [0, 0], last: null };

const mixture = () => ({ means: state.means, std: Number($("std").value) });
const schedule = () => ({ gammaMin: Number($("gammaMin").value), gammaMax: Number($("gammaMax").value) });
const numSteps = () => CHAINS[Number($("steps").value)];

const SHAPES = {
  moons: () => Array.from({ length: 60 }, (_, i) => {
    const angle = (Math.PI * (i % 30)) / 29, sign = i < 30 ? 1 : -1;
    return [1.4 * (sign * Math.cos(angle) + (i < 30 ? 0 : 1) - 0.5), 1.4 * (sign * Math.sin(angle) + (i < 30 ? 0 : 0.5) - 0.25)];
  }),
  ring: () => Array.from({ length: 48 }, (_, i) => [2 * Math.cos((i * Math.PI) / 24), 2 * Math.sin((i * Math.PI) / 24)]),
  grid: () => Array.from({ length: 16 }, (_, i) => [1.3 * ((i % 4) - 1.5), 1.3 * (Math.floor(i / 4) - 1.5)]),
  spiral: () => Array.from({ length: 80 }, (_, i) => [(0.3 + i / 36) * Math.cos(i / 6), (0.3 + i / 36) * Math.sin(i / 6)]),
  clear: () => [],
};

/** A canvas's context in its own pixels, cleared. */
function context(canvas) {
  const ratio = window.devicePixelRatio || 1, { width, height } = canvas.getBoundingClientRect();
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const ctx = canvas.getContext("2d");
  ctx.scale(ratio, ratio);
  ctx.font = "13px system-ui, sans-serif";
  return { ctx, width, height };
}

const toPixels = ([x, y], size) => [((x + HALF) / (2 * HALF)) * size, ((HALF - y) / (2 * HALF)) * size];

/** The plane at a time: the density there, its contours and its score, and the samples that far on their way. */
function drawPlane(t = Number($("time").value), cells = CELLS) {
  const { ctx, width } = context($("plane"));
  if (!state.means.length) {
    ctx.fillStyle = colour("--soft");
    ctx.fillText("Draw here, or take a shape below.", 16, 28);
    drawCross(ctx, width);
    return;
  }
  const at = t > 0 ? level(schedule(), t) : NO_NOISE;
  const values = densities(at, cells), cell = width / cells, heat = colour("--heat");
  const edge = Array.from({ length: cells + 1 }, (_, i) => Math.round(i * cell)); // cells that overlap would be seen as lines
  const most = values.reduce((a, b) => Math.max(a, b));
  values.forEach((value, i) => {
    ctx.fillStyle = `rgba(${heat}, ${0.6 * Math.pow(Math.exp(value - most), 0.6)})`;
    const x = i % cells, y = Math.floor(i / cells);
    ctx.fillRect(edge[x], edge[y], edge[x + 1] - edge[x], edge[y + 1] - edge[y]);
  });
  ctx.strokeStyle = `rgba(${heat}, 0.55)`;
  for (const below of CONTOURS) {
    ctx.beginPath();
    for (const [x1, y1, x2, y2] of contour(values, cells, most - below)) {
      ctx.moveTo((x1 + 0.5) * cell, (y1 + 0.5) * cell);
      ctx.lineTo((x2 + 0.5) * cell, (y2 + 0.5) * cell);
    }
    ctx.stroke();
  }
  drawScore(ctx, width, t > 0 ? at : level(schedule(), 0));
  ctx.fillStyle = colour("--ink");
  if (t === 0) {
    for (const mean of state.means) {
      const [px, py] = toPixels(mean, width);
      ctx.fillRect(px - 1, py - 1, 2, 2);
    }
  }
  if (!state.paths) state.paths = paths();
  ctx.strokeStyle = ctx.fillStyle = colour("--bound");
  for (const path of state.paths) {
    const upTo = Math.max(0, Math.round((1 - t) * (path.length - 1)));
    ctx.globalAlpha = 0.25;
    ctx.beginPath();
    path.slice(0, upTo + 1).forEach((point, i) => ctx[i ? "lineTo" : "moveTo"](...toPixels(point, width)));
    ctx.stroke();
    ctx.globalAlpha = 0.9;
    const [px, py] = toPixels(path[upTo], width);
    ctx.beginPath();
    ctx.arc(px, py, 2.4, 0, 2 * Math.PI);
    ctx.fill();
  }
  ctx.globalAlpha = 1;
  drawCross(ctx, width);
}

/** Arrows along the score, longer where it is larger, but none longer than the way to the next. */
function drawScore(ctx, width, at) {
  const gap = (2 * HALF) / ARROWS;
  ctx.strokeStyle = colour("--soft");
  ctx.globalAlpha = 0.8;
  ctx.beginPath();
  for (let i = 0; i < ARROWS * ARROWS; i++) {
    const from = [-HALF + ((i % ARROWS) + 0.5) * gap, HALF - (Math.floor(i / ARROWS) + 0.5) * gap];
    const arrow = score(mixture(), from, at), size = Math.hypot(...arrow);
    if (!(size > 0)) continue;
    const along = arrow.map((value) => (0.8 * gap * value) / (size + 2)), head = 0.3;
    const [x, y] = toPixels(from, width), [u, v] = [along[0], -along[1]].map((value) => (value / (2 * HALF)) * width);
    ctx.moveTo(x - u / 2, y - v / 2);
    ctx.lineTo(x + u / 2, y + v / 2);
    ctx.lineTo(x + u / 2 - head * (u - v / 2), y + v / 2 - head * (v + u / 2));
    ctx.moveTo(x + u / 2, y + v / 2);
    ctx.lineTo(x + u / 2 - head * (u + v / 2), y + v / 2 - head * (v - u / 2));
  }
  ctx.stroke();
  ctx.globalAlpha = 1;
}

function drawCross(ctx, width) {
  if (document.activeElement !== $("plane")) return;
  const [px, py] = toPixels(state.cross, width);
  ctx.strokeStyle = colour("--ink");
  ctx.beginPath();
  ctx.moveTo(px - 8, py); ctx.lineTo(px + 8, py); ctx.moveTo(px, py - 8); ctx.lineTo(px, py + 8);
  ctx.stroke();
}

/** The density's logarithm at a level, at the centres of so many cells in each direction. */
function densities(at, cells) {
  const now = mixture(), side = (2 * HALF) / cells;
  return Array.from({ length: cells * cells }, (_, i) =>
    logDensity(now, [-HALF + ((i % cells) + 0.5) * side, HALF - (Math.floor(i / cells) + 0.5) * side], at));
}

function paths() {
  const noise = normalPoints(SEED);
  return Array.from({ length: NUM_PATHS }, () =>
    trajectory($("sampler").value, mixture(), schedule(), noise.normal(), numSteps(), noise.normal));
}

/** The bound of each chain and the exact figure, over the same draws: means and their standard errors. */
function measured() {
  const now = mixture(), x = draws(now, NUM_DRAWS, normalPoints(SEED + 1));
  const exact = x.map((point) => logDensity(now, point));
  const chains = CHAINS.map((length) => {
    const { normal } = normalPoints(SEED + 2);
    const terms = x.map((point) => bound(now, schedule(), point, Array.from({ length }, normal)));
    const mean = (name) => terms.reduce((sum, term) => sum + term[name], 0) / x.length;
    const gaps = terms.map((term, i) => exact[i] - term.total), gap = gaps.reduce((a, b) => a + b) / x.length;
    const spread = gaps.reduce((sum, each) => sum + (each - gap) ** 2, 0) / (x.length - 1);
    return { length, reconstruction: mean("reconstruction"), prior: mean("prior"), diffusion: mean("diffusion"),
      total: mean("total"), gap, error: Math.sqrt(spread / x.length) };
  });
  return { exact: exact.reduce((a, b) => a + b) / x.length, chains };
}

function drawCurve({ exact, chains }) {
  const { ctx, width, height } = context($("curve"));
  const left = 56, right = 20, top = 14, bottom = 46;
  const low = Math.max(exact - 12, Math.min(...chains.map((chain) => chain.total))), high = exact + 0.06 * (exact - low) + 0.02;
  const px = (i) => left + (i / (chains.length - 1)) * (width - left - right);
  const py = (value) => top + ((high - value) / (high - low)) * (height - top - bottom);
  ctx.strokeStyle = colour("--rule");
  ctx.fillStyle = colour("--soft");
  ctx.textAlign = "right";
  for (let k = 0; k <= 4; k++) {
    const value = low + ((high - low) * k) / 4;
    ctx.fillText(value.toFixed(2), left - 8, py(value) + 4);
    ctx.beginPath(); ctx.moveTo(left, py(value)); ctx.lineTo(width - right, py(value)); ctx.stroke();
  }
  ctx.textAlign = "center";
  chains.forEach((chain, i) => ctx.fillText(chain.length, px(i), height - 28));
  ctx.fillText("steps T; nats on the left", (left + width - right) / 2, height - 8);
  ctx.strokeStyle = colour("--exact");
  ctx.lineWidth = 2;
  ctx.beginPath(); ctx.moveTo(left, py(exact)); ctx.lineTo(width - right, py(exact)); ctx.stroke();
  ctx.beginPath(); ctx.rect(left - 6, 0, width, height - bottom + 1); ctx.clip(); // what is far below is left out
  ctx.strokeStyle = ctx.fillStyle = colour("--bound");
  ctx.beginPath();
  chains.forEach((chain, i) => ctx[i ? "lineTo" : "moveTo"](px(i), py(chain.total)));
  ctx.stroke();
  chains.forEach((chain, i) => {
    ctx.beginPath();
    ctx.arc(px(i), py(chain.total), chain.length === numSteps() ? 6 : 3, 0, 2 * Math.PI);
    ctx.fill();
  });
}

function drawTerms({ exact, chains }) {
  const { ctx, width, height } = context($("terms"));
  const chain = chains.find((each) => each.length === numSteps());
  const costs = [["reconstruction", -chain.reconstruction, "--one"], ["prior", chain.prior, "--two"],
    ["diffusion", chain.diffusion, "--three"], ["-log p", -exact, "--exact"]];
  const most = Math.max(...costs.map(([, value]) => value), 0), least = Math.min(...costs.map(([, value]) => value), 0);
  const left = 104, right = 70, px = (value) => left + ((value - least) / (most - least || 1)) * (width - left - right);
  const bar = height / costs.length;
  costs.forEach(([name, value, tone], i) => {
    ctx.fillStyle = colour("--ink");
    ctx.textAlign = "right";
    ctx.fillText(name, left - 8, (i + 0.5) * bar + 4);
    ctx.fillStyle = colour(tone);
    ctx.fillRect(Math.min(px(0), px(value)), i * bar + 3, Math.abs(px(value) - px(0)) + 1, bar - 6);
    ctx.fillStyle = colour("--ink");
    ctx.textAlign = "left";
    ctx.fillText(value.toFixed(3), Math.max(px(0), px(value)) + 6, (i + 0.5) * bar + 4);
  });
  $("told").innerHTML = `<span class="exact">log p = ${exact.toFixed(3)}</span> nats on average over ${NUM_DRAWS} draws, ` +
    `<span class="bound">bound of ${chain.length} step${chain.length > 1 ? "s" : ""} = ${chain.total.toFixed(3)}</span>: ` +
    `${chain.gap.toFixed(3)} &plusmn; ${chain.error.toFixed(3)} nats are lost.`;
}

function showValues() {
  for (const id of ["std", "time", "gammaMin", "gammaMax"]) $(id).nextElementSibling.textContent = $(id).value;
  $("steps").nextElementSibling.textContent = numSteps();
}

function refresh() {
  showValues();
  state.paths = null;
  drawPlane();
  if (!state.means.length) {
    context($("curve")); context($("terms"));
    $("told").textContent = "";
    return;
  }
  clearTimeout(state.timer);
  state.timer = setTimeout(() => {
    state.last = measured();
    drawCurve(state.last);
    drawTerms(state.last);
  }, 60);
}

function add(point) {
  if (state.means.length < MOST_POINTS) state.means.push(point);
}

function pointer(event) {
  const box = $("plane").getBoundingClientRect();
  const point = [((event.clientX - box.left) / box.width) * 2 * HALF - HALF, HALF - ((event.clientY - box.top) / box.height) * 2 * HALF];
  const previous = state.means[state.means.length - 1];
  if (state.isDrawing && previous && Math.hypot(point[0] - previous[0], point[1] - previous[1]) < 0.08) return;
  state.isDrawing = true;
  add(point);
  state.paths = null;
  drawPlane();
}

$("plane").addEventListener("pointerdown", (event) => { event.target.setPointerCapture(event.pointerId); pointer(event); });
$("plane").addEventListener("pointermove", (event) => state.isDrawing && pointer(event));
for (const name of ["pointerup", "pointercancel"]) {
  $("plane").addEventListener(name, () => { state.isDrawing = false; refresh(); });
}
$("plane").addEventListener("keydown", (event) => {
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  if (event.key in moves) {
    state.cross = state.cross.map((value, j) => Math.max(-HALF, Math.min(HALF, value + 0.1 * moves[event.key][j])));
    drawPlane();
  } else if (event.key === " ") {
    add([...state.cross]);
    refresh();
  } else return;
  event.preventDefault();
});
for (const name of ["focus", "blur"]) $("plane").addEventListener(name, () => drawPlane());
document.querySelectorAll("[data-shape]").forEach((button) =>
  button.addEventListener("click", () => { state.means = SHAPES[button.dataset.shape](); refresh(); }));
for (const id of ["gammaMin", "gammaMax", "steps", "sampler", "std"]) $(id).addEventListener("input", refresh);
$("play").addEventListener("click", () => {
  cancelAnimationFrame(state.frame);
  const begun = performance.now();
  const animate = (now) => {
    const t = Math.max(0, 1 - (now - begun) / (1000 * SECONDS));
    $("time").value = t;
    showValues();
    drawPlane(t, t > 0 ? CELLS_IN_MOTION : CELLS);
    if (t > 0) state.frame = requestAnimationFrame(animate);
  };
  state.frame = requestAnimationFrame(animate);
});
$("time").addEventListener("input", () => { cancelAnimationFrame(state.frame); showValues(); drawPlane(); });
window.addEventListener("resize", refresh);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", refresh);
if (!state.means.length) state.means = SHAPES.moons();
refresh();
