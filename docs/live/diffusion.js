/* The lesson's mathematics once more, in JavaScript: noise, walk, samplers, guidance,
   families, slerp. steering.js has what Exercise 4 adds.

   Read it beside ddpm/sampling.py, ddpm/steering.py and ddpm/pictures.py: names and
   results are the same. A picture is a Float32Array of 3 * 64 * 64 numbers in [-1, 1],
   channel by channel. */

"use strict";

const Diffusion = (() => {
  const SIZE = 64;
  const LENGTH = 3 * SIZE * SIZE;

  /** The 32-bit numbers of the Mersenne Twister (Matsumoto and Nishimura 1998). */
  function* mersenneTwister(seed) {
    const N = 624;
    const M = 397;
    const state = new Uint32Array(N);
    state[0] = seed;
    for (let i = 1; i < N; i++) {
      const s = state[i - 1] ^ (state[i - 1] >>> 30);
      state[i] = Math.imul(1812433253, s) + i;
    }
    for (;;) {
      for (let i = 0; i < N; i++) {
        const y = (state[i] & 0x80000000) | (state[(i + 1) % N] & 0x7fffffff);
        state[i] = state[(i + M) % N] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
      }
      for (let y of state) {
        y ^= y >>> 11;
        y ^= (y << 7) & 0x9d2c5680;
        y ^= (y << 15) & 0xefc60000;
        yield (y ^ (y >>> 18)) >>> 0;
      }
    }
  }

  /** The next standard normal noise from a Mersenne Twister, as torch.randn makes it.

      torch fills a large tensor with uniform numbers of 24 bits, then turns each
      sixteen of them into normal ones, the first eight with the last eight (Box and
      Muller 1958). */
  function normal(random) {
    const noise = new Float32Array(LENGTH);
    for (let i = 0; i < LENGTH; i++) {
      noise[i] = (random.next().value & 0xffffff) / 0x1000000;
    }
    for (let i = 0; i < LENGTH; i += 16) {
      for (let j = i; j < i + 8; j++) {
        const radius = Math.sqrt(-2 * Math.log(1 - noise[j])); // 1 - u is never 0
        const angle = 2 * Math.PI * noise[j + 8];
        noise[j] = radius * Math.cos(angle);
        noise[j + 8] = radius * Math.sin(angle);
      }
    }
    return noise;
  }

  /** The noise of a seed, the very numbers of draw_noise([seed]) in Python.

      seed: 0 to 2^53 - 1; the state, whose numbers have 32 bits, takes the lowest 32
      of it, as in torch. */
  const drawNoise = (seed) => normal(mersenneTwister(seed));

  /** Fresh noise without end, as more_noise([seed]) in Python. */
  function* moreNoise(seed) {
    const random = mersenneTwister(seed);
    normal(random); // the walk begins with this one
    for (;;) yield normal(random);
  }

  /** `count` evenly spaced numbers from first to last, rounded as torch rounds them. */
  function linspace(first, last, count, round) {
    if (count === 1) return [first];
    const step = round((last - first) / (count - 1));
    return Array.from({ length: count }, (_, i) =>
      i < Math.floor(count / 2)
        ? round(first + step * i)
        : round(last - step * (count - 1 - i)),
    );
  }

  /** The walk from noise to picture: [[t, next], ...], ending with next = -1.

      T timesteps, of which `steps` are visited, evenly spaced. resamplings: how often
      each step but the last is gone; in between the walk climbs back, to next > t. */
  function timestepPairs(T, steps, resamplings = 1) {
    const times = linspace(-1, T - 1, steps + 1, Math.fround)
      .map(Math.trunc)
      .reverse();
    const pairs = times.slice(0, -1).map((t, i) => [t, times[i + 1]]);
    const last = pairs.pop();
    const climbing = pairs.flatMap(([t, next]) => {
      const again = Array(resamplings - 1).fill([[t, next], [next, t]]);
      return [...again.flat(), [t, next]];
    });
    return [...climbing, last];
  }

  /** How much of a noisy picture is picture, how much noise: square roots. */
  const shares = (alphaBar) => [Math.sqrt(alphaBar), Math.sqrt(1 - alphaBar)];

  /** The picture x0 under noise: x as it is at some timestep. Ho et al. (2020), eq. 4. */
  function addNoise(x0, noise, alphaBar) {
    const [signal, sigma] = shares(alphaBar);
    return x0.map((xi, i) => signal * xi + sigma * noise[i]);
  }

  /** The other way round: the noise in x, if x0 is the picture in it. */
  function noiseIn(x, x0, alphaBar) {
    const [signal, sigma] = shares(alphaBar);
    return x.map((xi, i) => (xi - signal * x0[i]) / sigma);
  }

  const clamp = (number) => Math.max(-1, Math.min(1, number));

  /** From velocity(x, t) -> v to predict(x, t) -> {x0, eps}, what samplers ask. */
  function predictor(velocity, alphaBar) {
    return async (x, t) => {
      const [signal, sigma] = shares(alphaBar[t]);
      const v = await velocity(x, t);
      const x0 = x.map((xi, i) => clamp(signal * xi - sigma * v[i]));
      return { x0, eps: noiseIn(x, x0, alphaBar[t]) };
    };
  }

  /** From noise to picture, step by step: yields {t, x, x0}, at last t = -1, x = x0.

      x is the noisy picture at timestep t, x0 the picture predicted from it.
      predict: (x, t) -> {x0, eps}, or its promise.
      sampler: ddim (Song et al. 2021, eq. 12 with sigma = 0) or dpmpp,
      DPM-Solver++(2M) (Lu et al. 2022, Algorithm 2).
      resamplings: as above; then `fresh` is noise for climbing, as from moreNoise. */
  async function* sample(
    predict,
    noise,
    alphaBar,
    steps,
    sampler,
    resamplings = 1,
    fresh = null,
  ) {
    let x = noise;
    let before = null; // x0 and step of log-SNR of the step before, for dpmpp
    for (const [t, next] of timestepPairs(alphaBar.length, steps, resamplings)) {
      if (next > t) {
        x = addNoise(x, fresh.next().value, alphaBar[next] / alphaBar[t]);
        before = null;
        continue;
      }
      const { x0, eps } = await predict(x, t);
      yield { t, x, x0 };
      if (next < 0) {
        yield { t: -1, x: x0, x0 };
        return;
      }
      const [signal, sigma] = shares(alphaBar[t]);
      const [signalNext, sigmaNext] = shares(alphaBar[next]);
      if (sampler === "dpmpp") {
        const h = Math.log(signalNext / sigmaNext) - Math.log(signal / sigma);
        const bend = before ? h / (2 * before.h) : 0;
        const pull = signalNext * Math.expm1(-h);
        const old = before ? before.x0 : x0;
        x = x.map((xi, i) => {
          const d = x0[i] + bend * (x0[i] - old[i]);
          return (sigmaNext / sigma) * xi - pull * d;
        });
        before = { x0, h };
      } else {
        x = addNoise(x0, eps, alphaBar[next]);
      }
    }
  }

  /** From network(x, t, label) -> v to velocity(x, t) -> v, which asks more firmly.

      Classifier-free guidance (Ho and Salimans 2022, eq. 6): the difference that the
      label makes is taken `weight` times; 1 is the label alone, in one pass and not
      two. x0 depends linearly on v, so v may be weighed where Python weighs x0.
      label: as from labelFor. taught: whether the network follows a label that is
      `weight` times as large (Meng et al. 2023), which takes one pass, too. */
  function guided(network, label, weight, taught) {
    if (weight === 1 || !label) return (x, t) => network(x, t, label);
    if (taught) {
      const larger = label.map((part) => weight * part);
      return (x, t) => network(x, t, larger);
    }
    const unasked = label.map((_, k) => +(k === label.length - 1));
    return async (x, t) => {
      const withLabel = await network(x, t, label);
      const without = await network(x, t, unasked);
      return without.map((v, i) => v + weight * (withLabel[i] - v));
    };
  }

  const gcd = (a, b) => (b ? gcd(b, a % b) : a);

  /** The family that a seed draws where none is asked for by name. */
  function familyOf(seed, families) {
    const n = families.length;
    let [fives, threes] = [5, 3]; // or the next that has no divisor in common with n
    while (gcd(fives, n) > 1) fives += 1;
    while (gcd(threes, n) > 1) threes += 1;
    const place = seed % n;
    const block = (seed - place) / n; // exact, as all whole numbers below 2^53
    return families[(fives * place + threes * (block % n)) % n];
  }

  /** 1 in the row of a name, the last of which asks for none: (families + 1). */
  function oneHot(name, families) {
    return Float32Array.from([...families, "none"], (row) => +(row === name));
  }

  /** What to ask the network for, as labels_for in Python: a label, or null.

      family: a name; any, where the seed draws one; or none. */
  function labelFor(families, family, seed) {
    if (families.length === 0) return null;
    return oneHot(family === "any" ? familyOf(seed, families) : family, families);
  }

  /** label, and beside it in how many steps the walk goes, as in_steps in Python.

      few: the numbers of steps that the network was taught to walk in; steps: one of
      them, or 0 for any walk. */
  const inSteps = (label, steps, few) =>
    Float32Array.from([...label, ...few.map((count) => +(count === steps))]);

  /** Great circle from noise a (t = 0) to noise b (t = 1) (Shoemake 1985, section 3.3).

      The direction turns evenly, the length goes straight from |a| to |b|. */
  function slerp(t, a, b) {
    const dot = (u, w) => u.reduce((sum, ui, i) => sum + ui * w[i], 0);
    const [lengthA, lengthB] = [Math.sqrt(dot(a, a)), Math.sqrt(dot(b, b))];
    const cosine = dot(a, b) / (lengthA * lengthB);
    const angle = Math.acos(Math.max(-1, Math.min(1, cosine)));
    if (t === 0 || angle === 0) return a;
    if (t === 1) return b;
    const length = (1 - t) * lengthA + t * lengthB;
    const weightA = (length * Math.sin((1 - t) * angle)) / Math.sin(angle) / lengthA;
    const weightB = (length * Math.sin(t * angle)) / Math.sin(angle) / lengthB;
    return a.map((ai, i) => weightA * ai + weightB * b[i]);
  }

  return {
    SIZE,
    drawNoise,
    moreNoise,
    timestepPairs,
    addNoise,
    noiseIn,
    clamp,
    predictor,
    sample,
    guided,
    familyOf,
    labelFor,
    inSteps,
    slerp,
  };
})();
