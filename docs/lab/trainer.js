/* What learns, in a worker or in slices in the page itself: two models, diffusion and
   flow, step by step side by side, from the same points, the same first weights and the
   same noise. It is told what to do by messages, and answers by reports. */

"use strict";

/** mlp, process: of labMlp() and labProcess(). post: a function of a report.

    Returns a function of a message, whose parts may all be left out:
    settings  {schedule, T, width}: begin with new networks
    epoch     the number of these networks, which all reports about them bear
    points    (N, 2), the data
    how       {sampler, steps} of sampling
    go        how many steps to learn from now on; 0 pauses

    A report is {epoch, step, left, losses}; with data, {walks, distance}, too. */
function labTrainer(mlp, process, post) {
  const BATCH = 128;
  const RATE = 3e-3;
  const MOST = 0.99; // decay of the moving average of weights
  const SAMPLES = 600;
  const SLICE = 50; // ms of learning between two looks at the messages
  const SHARE = 4; // learning takes so many times as long as drawing samples

  const GRID = process.grid();
  const NOISE = process.normals(2 * SAMPLES, process.uniformFrom(1));

  const models = {};
  let [points, how] = [new Float64Array(0), null];
  let [epoch, step, left, uniform] = [0, 0, 0, null];
  let [stale, timer, due] = [false, null, 0];

  function begin({ schedule, T, width }) {
    const beta = schedule === "cosine" ? process.cosineBeta(T) : process.linearBeta(T);
    const kinds = { diffusion: process.diffusion(beta), flow: process.flow() };
    for (const [name, kind] of Object.entries(kinds)) {
      const net = mlp.randomNetwork(width, process.uniformFrom(2));
      const ema = mlp.network(width, net.theta.slice());
      models[name] = { kind, net, ema, memory: mlp.adam(net), loss: 0 };
    }
    uniform = process.uniformFrom(3);
    step = 0;
  }

  /** One step of each model: Algorithm 1 of Ho et al. (2020), on one batch. */
  function learn() {
    const x0 = new Float64Array(2 * BATCH);
    for (let i = 0; i < x0.length; i += 2) {
      const chosen = 2 * Math.floor((points.length / 2) * uniform());
      x0.set(points.subarray(chosen, chosen + 2), i);
    }
    const eps = process.normals(2 * BATCH, uniform);
    for (const model of Object.values(models)) {
      const { kind, net, ema, memory } = model;
      const t = new Float64Array(BATCH).map(() => kind.drawTime(uniform));
      const { loss, gradient } = process.lossAndGradient(mlp, net, kind, x0, eps, t);
      mlp.adamStep(net, gradient, memory, RATE);
      mlp.emaUpdate(ema, net, step, MOST);
      model.loss += (step ? 0.03 : 1) * (loss - model.loss); // a steadier mean
    }
    step += 1;
    left -= 1;
  }

  /** What the averaged weights draw: [{t, factor, x (N, 2), arrows (169, 2)}, ...].

      The arrows are the network's answers, turned round: from noise to data. At the
      data, it is asked as at the last t before them. */
  function walk({ kind, ema }, clip) {
    const predict = (x, t) =>
      mlp.forward(ema, x, Float64Array.of(kind.angle(Math.max(t, 0)))).out;
    const options = { ...how, clip, uniform: process.uniformFrom(4) };
    return process.walk(kind, predict, NOISE, options).map(({ t, x }) => {
      const arrows = predict(GRID, t).map((answer) => -answer);
      return { t, factor: kind.alphaBar?.(t), x, arrows };
    });
  }

  function look() {
    const clip = points.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    const [walks, distance] = [{}, {}];
    for (const [name, model] of Object.entries(models)) {
      walks[name] = walk(model, clip);
      const sample = walks[name].at(-1).x;
      distance[name] = process.slicedWasserstein(sample, points);
    }
    distance.noise = process.slicedWasserstein(NOISE, points);
    return { walks, distance };
  }

  function slice() {
    timer = null;
    const start = performance.now();
    while (left > 0 && performance.now() < start + SLICE) learn();
    const now = performance.now();
    if (stale || now > due || left === 0) {
      const losses = Object.values(models).map(({ loss }) => loss);
      post({ epoch, step, left, losses, ...(points.length ? look() : {}) });
      due = now + SHARE * (performance.now() - now);
      stale = false;
    }
    if (left > 0) wait();
  }

  const wait = () => (timer ??= setTimeout(slice, 0));

  return (message) => {
    ({ points = points, how = how, epoch = epoch, go: left = left } = message);
    if (message.settings) begin(message.settings);
    stale = true;
    wait();
  };
}
