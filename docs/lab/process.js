/* Noise put in, noise taken out: from_scratch/noise_schedule.py and diffusion.py once
   more, and flow matching beside them. Names and results are those of Python.

   A process is {signal, noise, target, step, ...}, functions of single numbers: what
   happens to one coordinate of one point. x_t = signal(t) x_0 + noise(t) eps in both;
   they differ in what the network is asked for, and in how its answer makes a step. */

"use strict";

function labProcess() {
  // --- Chance -----------------------------------------------------------------

  /** Even numbers from 0 to below 1, the same for the same seed (mulberry32). */
  function uniformFrom(seed) {
    return () => {
      seed = (seed + 0x6d2b79f5) | 0;
      let r = Math.imul(seed ^ (seed >>> 15), 1 | seed);
      r = (r + Math.imul(r ^ (r >>> 7), 61 | r)) ^ r;
      return ((r ^ (r >>> 14)) >>> 0) / 2 ** 32;
    };
  }

  /** A standard normal number out of two even ones (Box and Muller 1958). */
  const normal = (uniform) =>
    Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());

  const normals = (count, uniform) =>
    Float64Array.from({ length: count }, () => normal(uniform));

  // --- The schedule -------------------------------------------------------------

  /** beta growing evenly from 0.0001 to 0.02, times 1000 / T (Ho et al. 2020). */
  const linearBeta = (T) =>
    Array.from({ length: T }, (_, t) => {
      const beta = 0.0001 + ((0.02 - 0.0001) * t) / (T - 1);
      return Math.min(0.999, (1000 / T) * beta);
    });

  /** beta for which alpha_bar falls as a squared cosine: Nichol & Dhariwal (2021). */
  function cosineBeta(T) {
    const f = (t) => Math.cos(((t / T + 0.008) / 1.008) * (Math.PI / 2)) ** 2;
    return Array.from({ length: T }, (_, t) => Math.min(0.999, 1 - f(t + 1) / f(t)));
  }

  /** The product of 1 - beta up to each t: the factor on the variance of the data. */
  function alphaBarOf(beta) {
    let product = 1;
    return beta.map((b) => (product *= 1 - b));
  }

  // --- Two processes --------------------------------------------------------------

  /** Diffusion: t counts from 0 to T - 1, and t = -1 stands for the data. */
  function diffusion(beta) {
    const T = beta.length;
    const alphaBar = alphaBarOf(beta);
    const at = (t) => (t < 0 ? 1 : alphaBar[t]);
    return {
      alphaBar: at,
      signal: (t) => Math.sqrt(at(t)),
      noise: (t) => Math.sqrt(1 - at(t)),
      drawTime: (uniform) => Math.floor(T * uniform()),
      angle: (t) => (Math.PI * t) / T, // how the network is told t

      /** From T - 1 to -1 in even strides: [t, ...], steps + 1 of them. */
      times: (steps) =>
        Array.from({ length: steps + 1 }, (_, i) =>
          Math.trunc(T - 1 - (i * T) / steps),
        ),

      /** The network is asked for the noise (Ho et al. 2020, eq. 14). */
      target: (x0, eps) => eps,

      /** From x_t to x_s, s < t. The predicted x_0 is held in [-clip, clip].

          ddim keeps the noise that x_t has (Song et al. 2021, eq. 12 with sigma = 0);
          ddpm draws x_s from the posterior q(x_s | x_t, x_0) with fresh noise z (Ho et
          al. 2020, eq. 6 and 7). */
      step(x, eps, t, s, { sampler, clip, z }) {
        const [a, b] = [at(t), at(s)];
        const guess = (x - Math.sqrt(1 - a) * eps) / Math.sqrt(a);
        const x0 = Math.max(-clip, Math.min(clip, guess));
        if (sampler === "ddim") {
          const held = (x - Math.sqrt(a) * x0) / Math.sqrt(1 - a);
          return Math.sqrt(b) * x0 + Math.sqrt(1 - b) * held;
        }
        const alpha = a / b; // of all steps from s to t together
        const mean =
          (Math.sqrt(b) * (1 - alpha) * x0 + Math.sqrt(alpha) * (1 - b) * x) / (1 - a);
        return mean + Math.sqrt(((1 - b) / (1 - a)) * (1 - alpha)) * z;
      },
    };
  }

  /** Flow matching on straight paths (Lipman et al. 2023; Liu et al. 2023).

      t is a number from 0, the data, to 1, the noise: x_t = (1 - t) x_0 + t eps. */
  const flow = () => ({
    signal: (t) => 1 - t,
    noise: (t) => t,
    drawTime: (uniform) => uniform(),
    angle: (t) => Math.PI * t,
    times: (steps) => Array.from({ length: steps + 1 }, (_, i) => 1 - i / steps),

    /** The network is asked for the velocity of the path, d x_t / d t. */
    target: (x0, eps) => eps - x0,

    /** A step of Euler's method. */
    step: (x, v, t, s) => x + (s - t) * v,
  });

  // --- Learning and sampling --------------------------------------------------------

  /** x0, eps (B, 2) and t (B,) -> x_t (B, 2). */
  const mix = (process, x0, eps, t) =>
    x0.map((x, i) => process.signal(t[i >> 1]) * x + process.noise(t[i >> 1]) * eps[i]);

  /** The loss, a mean over the batch, and its gradient, a network.

      mlp: of labMlp(). x0, eps: (B, 2); t: (B,), each point its own. */
  function lossAndGradient(mlp, net, process, x0, eps, t) {
    const seen = mlp.forward(net, mix(process, x0, eps, t), t.map(process.angle));
    const error = seen.out.map((answer, i) => answer - process.target(x0[i], eps[i]));
    const loss = error.reduce((sum, e) => sum + e * e, 0) / error.length;
    const dOut = error.map((e) => (2 * e) / error.length);
    return { loss, gradient: mlp.backward(net, seen, dOut) };
  }

  /** Walk from noise x (N, 2) to data: [{t, x}, ...], the last of them the sample.

      predict: (x, t) -> what the network answers, (N, 2). how: {steps, sampler, clip,
      uniform}, where only ddpm needs chance. */
  function walk(process, predict, x, { steps, sampler, clip, uniform }) {
    const times = process.times(steps);
    const states = [{ t: times[0], x }];
    for (const s of times.slice(1)) {
      const { t, x: from } = states.at(-1);
      const answer = predict(from, t);
      const x = from.map((xi, i) => {
        const z = sampler === "ddpm" ? normal(uniform) : 0;
        return process.step(xi, answer[i], t, s, { sampler, clip, z });
      });
      states.push({ t: s, x });
    }
    return states;
  }

  /** Where arrows stand: 13 x 13 places in the square from -2.64 to 2.64, (169, 2). */
  function grid() {
    const places = Array.from({ length: 13 }, (_, i) => -2.64 + 0.44 * i);
    return Float64Array.from(places.flatMap((y) => places.flatMap((x) => [x, y])));
  }

  // --- Is it any good? ------------------------------------------------------------

  /** How far numbers a must be moved to lie as numbers b do; both are sorted.

      The mean distance of equal quantiles: each piece of the way from 0 to 1 has one
      number of a and one of b. */
  function wasserstein(a, b) {
    let sum = 0;
    for (let i = 0, j = 0, from = 0; i < a.length && j < b.length;) {
      const [endA, endB] = [(i + 1) / a.length, (j + 1) / b.length];
      const to = Math.min(endA, endB);
      sum += (to - from) * Math.abs(a[i] - b[j]);
      if (endA <= to) i++;
      if (endB <= to) j++;
      from = to;
    }
    return sum;
  }

  /** The mean of `wasserstein` over views from all sides (Rabin et al. 2011).

      a (N, 2), b (M, 2), as in from_scratch/metrics.py. */
  function slicedWasserstein(a, b, directions = 64) {
    let sum = 0;
    for (let d = 0; d < directions; d++) {
      const [cosine, sine] = [Math.cos, Math.sin].map((f) =>
        f((Math.PI * d) / directions),
      );
      const view = (points) =>
        new Float64Array(points.length / 2)
          .map((_, i) => cosine * points[2 * i] + sine * points[2 * i + 1])
          .sort();
      sum += wasserstein(view(a), view(b));
    }
    return sum / directions;
  }

  return {
    uniformFrom,
    normals,
    linearBeta,
    cosineBeta,
    diffusion,
    flow,
    lossAndGradient,
    walk,
    grid,
    slicedWasserstein,
  };
}
