/* The network of from_scratch/denoisers.py once more, in JavaScript: a small MLP, its
   gradient by hand, and Adam. Names and results are those of torch.

   A batch is a Float64Array, row after row: B points are 2 B numbers. All is inside one
   function, because lab.js hands its text to a worker. */

"use strict";

function labMlp() {
  const OCTAVES = 4;
  const FEATURES = 1 + 2 * OCTAVES; // of one number
  const DEPTH = 3;

  /** theta (P,) -> a network: {width, theta, projIn, time0, time2, layers, projOut}.

      Each part is {inputs, outputs, weight (outputs, inputs), bias (outputs)}, and both
      are windows on theta: what moves all parameters at once, as Adam, is one loop.
      Without theta it holds zeros. */
  function network(width, theta) {
    width |= 0; // engines count with whole numbers twice as fast
    const shapes = [
      [2 * FEATURES, width],
      [FEATURES, width],
      [width, 2 * width],
      ...Array(DEPTH).fill([width, width]),
      [width, 2],
    ];
    theta ??= new Float64Array(shapes.reduce((sum, [i, o]) => sum + o * (i + 1), 0));
    let start = 0;
    const take = (count) => theta.subarray(start, (start += count));
    const parts = shapes.map(([inputs, outputs]) => ({
      inputs,
      outputs,
      weight: take(outputs * inputs),
      bias: take(outputs),
    }));
    const [projIn, time0, time2] = parts;
    const [layers, projOut] = [parts.slice(3, -1), parts.at(-1)];
    return { width, theta, parts, projIn, time0, time2, layers, projOut };
  }

  /** First weights as torch draws them: evenly in +- 1 / sqrt(inputs). */
  function randomNetwork(width, uniform) {
    const net = network(width);
    for (const { inputs, weight, bias } of net.parts) {
      const draw = () => (2 * uniform() - 1) / Math.sqrt(inputs);
      weight.forEach((_, i) => (weight[i] = draw()));
      bias.forEach((_, i) => (bias[i] = draw()));
    }
    return net;
  }

  /** u (B, k) -> (B, k FEATURES): u, its sines, its cosines; each wave twice as fast as
      the one before (Tancik et al. 2020). */
  function fourierFeatures(u, k) {
    const rows = u.length / k;
    const waves = k * OCTAVES;
    const out = new Float64Array(rows * k * FEATURES);
    for (let b = 0; b < rows; b++) {
      const row = b * k * FEATURES;
      for (let c = 0; c < k; c++) {
        out[row + c] = u[b * k + c];
        for (let j = 0; j < OCTAVES; j++) {
          const angle = u[b * k + c] * 2 ** j;
          out[row + k + c * OCTAVES + j] = Math.sin(angle);
          out[row + k + waves + c * OCTAVES + j] = Math.cos(angle);
        }
      }
    }
    return out;
  }

  /** (n, m) -> (m, n). */
  function transpose(a, n, m) {
    const out = new Float64Array(n * m);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < m; j++) out[j * n + i] = a[i * m + j];
    }
    return out;
  }

  /** Four rows of `addProduct`, from `row` on. All the time of training goes into this
      loop: each number of b is read once for four, and four sums grow side by side. */
  function addFourRows(c, a, b, k, m, row) {
    const r0 = row * k;
    const r1 = r0 + k;
    const r2 = r1 + k;
    const r3 = r2 + k;
    for (let j = 0; j < m; j++) {
      let s0 = 0;
      let s1 = 0;
      let s2 = 0;
      let s3 = 0;
      for (let i = 0; i < k; i++) {
        const bi = b[j * k + i];
        s0 += a[r0 + i] * bi;
        s1 += a[r1 + i] * bi;
        s2 += a[r2 + i] * bi;
        s3 += a[r3 + i] * bi;
      }
      const at = row * m + j;
      c[at] += s0;
      c[at + m] += s1;
      c[at + 2 * m] += s2;
      c[at + 3 * m] += s3;
    }
  }

  /** c (n, m) += a (n, k) b^T, of b (m, k): each number of c is a row times a row. */
  function addProduct(c, a, b, k) {
    const [n, m] = [a.length / k, b.length / k];
    let row = 0;
    for (; row + 4 <= n; row += 4) addFourRows(c, a, b, k, m, row);
    for (; row < n; row++) {
      for (let j = 0; j < m; j++) {
        for (let i = 0; i < k; i++) c[row * m + j] += a[row * k + i] * b[j * k + i];
      }
    }
  }

  /** x (B, inputs) -> y = x W^T + b, (B, outputs). */
  function linear({ inputs, outputs, weight, bias }, x) {
    const y = new Float64Array((x.length / inputs) * outputs);
    for (let i = 0; i < y.length; i += outputs) y.set(bias, i);
    addProduct(y, x, weight, inputs);
    return y;
  }

  /** The chain rule through `linear`: dy (B, outputs) -> dx = dy W, (B, inputs).

      Adds dW = dy^T x and db, the sum of dy over the batch, to `gradient`. */
  function linearBackward({ inputs, outputs, weight }, gradient, x, dy) {
    const rows = x.length / inputs;
    const dx = new Float64Array(x.length);
    addProduct(dx, dy, transpose(weight, outputs, inputs), outputs);
    addProduct(
      gradient.weight,
      transpose(dy, rows, outputs),
      transpose(x, rows, inputs),
      rows,
    );
    for (let i = 0; i < dy.length; i++) gradient.bias[i % outputs] += dy[i];
    return dx;
  }

  const sigmoid = (a) => 1 / (1 + Math.exp(-a));

  /** a sigmoid(a), for each of a (Elfwing et al. 2018). */
  function silu(a) {
    const y = new Float64Array(a.length);
    for (let i = 0; i < a.length; i++) y[i] = a[i] * sigmoid(a[i]);
    return y;
  }

  /** The chain rule through `silu`: dy sigmoid(a) (1 + a (1 - sigmoid(a))). */
  function siluBackward(a, dy) {
    const da = new Float64Array(a.length);
    for (let i = 0; i < a.length; i++) {
      const s = sigmoid(a[i]);
      da[i] = dy[i] * s * (1 + a[i] * (1 - s));
    }
    return da;
  }

  /** x (B, 2), u (B,) or (1,) for all -> {out (B, 2), and what `backward` needs}.

      u: the time, from 0 to pi. It scales and shifts what each layer gets:
      h <- h + layer(silu(h (1 + scale) + shift)). */
  function forward(net, x, u) {
    const { width: w } = net;
    const seen = { x: fourierFeatures(x, 2), u: fourierFeatures(u, 1), inner: [] };
    seen.t0 = linear(net.time0, seen.u);
    seen.t1 = silu(seen.t0);
    seen.condition = linear(net.time2, seen.t1); // (B, 2 w): scale, shift
    const stride = u.length === 1 ? 0 : 2 * w;
    let h = linear(net.projIn, seen.x);
    for (const layer of net.layers) {
      const a = new Float64Array(h.length);
      for (let b = 0; b < h.length / w; b++) {
        for (let i = 0; i < w; i++) {
          const scale = seen.condition[b * stride + i];
          const shift = seen.condition[b * stride + w + i];
          a[b * w + i] = h[b * w + i] * (1 + scale) + shift;
        }
      }
      const s = silu(a);
      seen.inner.push({ h, a, s });
      const y = linear(layer, s);
      for (let i = 0; i < y.length; i++) y[i] += h[i];
      h = y;
    }
    seen.h = h;
    seen.s = silu(h);
    seen.out = linear(net.projOut, seen.s);
    return seen;
  }

  /** The gradient of a loss, as a network of the same shape: its theta.

      seen: of forward, each row with a time of its own. dOut (B, 2): of the loss by
      what the network answered. The steps of forward, from the last to the first. */
  function backward(net, seen, dOut) {
    const { width: w } = net;
    const gradient = network(w);
    const dCondition = new Float64Array(seen.condition.length);
    const ds = linearBackward(net.projOut, gradient.projOut, seen.s, dOut);
    let dh = siluBackward(seen.h, ds);
    for (let l = DEPTH - 1; l >= 0; l--) {
      const { h, a, s } = seen.inner[l];
      const da = siluBackward(
        a,
        linearBackward(net.layers[l], gradient.layers[l], s, dh),
      );
      dh = dh.slice();
      for (let b = 0; b < h.length / w; b++) {
        for (let i = 0; i < w; i++) {
          const scale = b * 2 * w + i;
          dCondition[scale] += da[b * w + i] * h[b * w + i];
          dCondition[scale + w] += da[b * w + i];
          dh[b * w + i] += da[b * w + i] * (1 + seen.condition[scale]);
        }
      }
    }
    const dt1 = linearBackward(net.time2, gradient.time2, seen.t1, dCondition);
    linearBackward(net.time0, gradient.time0, seen.u, siluBackward(seen.t0, dt1));
    linearBackward(net.projIn, gradient.projIn, seen.x, dh);
    return gradient;
  }

  /** What Adam remembers: means of the gradient and of its square, and the step. */
  const adam = (net) => ({
    m: net.theta.map(() => 0),
    v: net.theta.map(() => 0),
    k: 0,
  });

  /** One step of Adam (Kingma & Ba 2015, Algorithm 1), with torch's defaults. */
  function adamStep({ theta }, gradient, memory, rate) {
    const [beta1, beta2, tiny] = [0.9, 0.999, 1e-8];
    const { m, v } = memory;
    memory.k += 1;
    const [c1, c2] = [1 - beta1 ** memory.k, 1 - beta2 ** memory.k];
    for (let i = 0; i < theta.length; i++) {
      const g = gradient.theta[i];
      m[i] = beta1 * m[i] + (1 - beta1) * g;
      v[i] = beta2 * v[i] + (1 - beta2) * g * g;
      theta[i] -= (rate * (m[i] / c1)) / (Math.sqrt(v[i] / c2) + tiny);
    }
  }

  /** ema <- decay ema + (1 - decay) net; decay rises to `most` as in training.py. */
  function emaUpdate(ema, net, step, most) {
    const decay = Math.min(most, (1 + step) / (10 + step));
    for (let i = 0; i < ema.theta.length; i++) {
      ema.theta[i] = decay * ema.theta[i] + (1 - decay) * net.theta[i];
    }
  }

  return { network, randomNetwork, forward, backward, adam, adamStep, emaUpdate };
}
