/* Exercise 4 once more, in JavaScript: kept pixels, kept colours, a picture to start from.

   Read it beside ddpm/steering.py: names and results are the same. Each of keeping and
   tinted makes of a function predict(x, t) -> {x0, eps} another one, which steers. */

"use strict";

const Steering = (() => {
  const { SIZE, addNoise, noiseIn, clamp, sample } = Diffusion;

  /** known where mask is 1, drawn where it is 0. Lugmayr et al. (2022), eq. 8c.

      mask: SIZE * SIZE numbers, one for all three channels of a pixel. */
  const putBack = (drawn, known, mask) =>
    drawn.map((pixel, i) => (mask[i % mask.length] ? known[i] : pixel));

  /** predict that keeps known pixels, and fills in the others: RePaint (Lugmayr et al.
      2022, eq. 8). fresh: noise without end, as from Diffusion.moreNoise. */
  function keeping(predict, known, mask, alphaBar, fresh) {
    return async (x, t) => {
      const noise = fresh.next().value;
      const knownT = addNoise(known, noise, alphaBar[t]);
      const { x0, eps } = await predict(putBack(x, knownT, mask), t);
      return { x0: putBack(x0, known, mask), eps: putBack(eps, noise, mask) };
    };
  }

  /** What of a picture is left when it is averaged over patches and enlarged again. */
  function coarse(picture, patch) {
    const side = SIZE / patch;
    const small = new Float32Array(3 * side * side);
    const place = (c, row, column) => (c * side + row) * side + column;
    const channel = (i) => Math.floor(i / (SIZE * SIZE));
    const row = (i) => Math.floor(i / SIZE) % SIZE;
    picture.forEach((pixel, i) => {
      const [y, x] = [row(i), i % SIZE].map((at) => Math.floor(at / patch));
      small[place(channel(i), y, x)] += pixel / (patch * patch);
    });
    // Between the middles of which two patches along a side, and how far from the first,
    // each pixel lies: on the torus that the network draws on.
    const between = Array.from({ length: SIZE }, (_, i) => {
      const at = (i + 0.5) / patch - 0.5;
      const first = Math.floor(at);
      return [(first + side) % side, (first + 1) % side, at - first];
    });
    return picture.map((_, i) => {
      const c = channel(i);
      const [top, bottom, down] = between[row(i)];
      const [left, right, over] = between[i % SIZE];
      const along = (y) =>
        (1 - over) * small[place(c, y, left)] + over * small[place(c, y, right)];
      return (1 - down) * along(top) + down * along(bottom);
    });
  }

  const LUMA = [0.299, 0.587, 0.114]; // of red, green and blue (ITU-R BT.601)

  /** predict whose x0 has, coarsely, the colours of `picture`: the low-pass filter of
      ILVR (Choi et al. 2021, Algorithm 1), on x0. patch: its pixels a side. light: which
      part of the difference in lightness is taken over, 0 to 1. */
  function tinted(predict, picture, alphaBar, patch, light) {
    const wanted = coarse(picture, patch);
    const pixels = SIZE * SIZE;
    return async (x, t) => {
      const { x0: seen } = await predict(x, t);
      const lost = coarse(seen, patch);
      const change = wanted.map((colour, i) => colour - lost[i]);
      const lighter = (i) =>
        LUMA.reduce((sum, part, c) => sum + part * change[c * pixels + i], 0);
      const x0 = seen.map((pixel, i) =>
        clamp(pixel + change[i] - (1 - light) * lighter(i % pixels)),
      );
      return { x0, eps: noiseIn(x, x0, alphaBar[t]) };
    };
  }

  /** Of `steps` from all noise, how many lead from t. */
  const stepsFrom = (t, steps, alphaBar) =>
    Math.max(1, Math.round((steps * (t + 1)) / alphaBar.length));

  /** Walk from a picture mixed with noise as at t: SDEdit (Meng et al. 2022, section 3).
      Yields as Diffusion.sample. */
  function redraw(predict, picture, noise, alphaBar, t, steps, sampler) {
    const x = addNoise(picture, noise, alphaBar[t]);
    const count = stepsFrom(t, steps, alphaBar);
    return sample(predict, x, alphaBar.slice(0, t + 1), count, sampler);
  }

  return { keeping, tinted, redraw, stepsFrom };
})();
