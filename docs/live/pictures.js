/* Pictures on canvases and in files, beside ddpm/pictures.py; and what they look like in
   words, for those who cannot see them.

   A picture is a Float32Array of 3 * side * side numbers in [-1, 1], channel by channel,
   as in diffusion.js. */

"use strict";

const Pictures = (() => {
  const SIZE = Diffusion.SIZE;
  const DPI = 150; // of print: pixels an inch
  const REPEAT_CM = 10; // how wide one repeat is in print

  const sideOf = (picture) => Math.sqrt(picture.length / 3);

  // --- On a canvas ---------------------------------------------------------------

  /** Pictures side by side as ImageData, each pixel `factor` pixels wide and high. */
  function toImage(pictures, factor = 1) {
    const size = sideOf(pictures[0]);
    const side = size * factor;
    const image = new ImageData(side * pictures.length, side);
    for (let i = 0, y = 0; y < side; y++) {
      for (let x = 0; x < image.width; x++, i += 4) {
        const picture = pictures[Math.floor(x / side)];
        const row = Math.floor(y / factor);
        const pixel = row * size + Math.floor((x % side) / factor);
        for (let c = 0; c < 3; c++) {
          // The array of an ImageData rounds and clamps by itself.
          image.data[i + c] = (picture[c * size * size + pixel] + 1) * 127.5;
        }
        image.data[i + 3] = 255;
      }
    }
    return image;
  }

  /** The picture of SIZE pixels a side on a canvas: squares of its pixels, averaged. */
  function fromCanvas(canvas) {
    const { width, height } = canvas;
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
    const factor = width / SIZE;
    const picture = new Float32Array(3 * SIZE * SIZE).fill(-1);
    for (let i = 0; i < data.length; i++) {
      const [c, x, y] = [i % 4, (i >> 2) % width, Math.floor((i >> 2) / width)];
      if (c === 3) continue;
      const pixel = Math.floor(y / factor) * SIZE + Math.floor(x / factor);
      picture[c * SIZE * SIZE + pixel] += data[i] / 127.5 / (factor * factor);
    }
    return picture;
  }

  function paint(canvas, picture, left = 0) {
    canvas.getContext("2d").putImageData(toImage([picture]), left, 0);
  }

  /** The picture alone, or `times` times across and down, as cloth is printed. */
  function paintRepeat(canvas, picture, times) {
    canvas.width = canvas.height = SIZE * times;
    const [context, image] = [canvas.getContext("2d"), toImage([picture])];
    for (let i = 0; i < times * times; i++) {
      context.putImageData(image, SIZE * (i % times), SIZE * Math.floor(i / times));
    }
  }

  /** A file's picture onto a canvas: its middle square, on white. May be rejected. */
  async function paintFile(canvas, file) {
    const bitmap = await createImageBitmap(file);
    const side = Math.min(bitmap.width, bitmap.height);
    const [left, top] = [(bitmap.width - side) / 2, (bitmap.height - side) / 2];
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.fillStyle = "white";
    const whole = [0, 0, canvas.width, canvas.height];
    context.fillRect(...whole);
    context.drawImage(bitmap, left, top, side, side, ...whole);
  }

  // --- In a file -------------------------------------------------------------------

  /** frames: [{pictures, delay in ms}], pictures side by side -> an endless GIF. */
  async function toGif(gifenc, frames) {
    const gif = gifenc.GIFEncoder();
    for (const { pictures, delay } of frames) {
      await new Promise((resolve) => setTimeout(resolve)); // the page stays awake
      const palette = gifenc.quantize(toImage(pictures).data, 256);
      const { data, width, height } = toImage(pictures, 4);
      const indexed = gifenc.applyPalette(data, palette);
      gif.writeFrame(indexed, width, height, { palette, delay });
    }
    gif.finish();
    return new Blob([gif.bytes()], { type: "image/gif" });
  }

  function toPng(picture, factor = 1) {
    const canvas = document.createElement("canvas");
    const image = toImage([picture], factor);
    [canvas.width, canvas.height] = [image.width, image.height];
    canvas.getContext("2d").putImageData(image, 0, 0);
    return new Promise((resolve) => canvas.toBlob(resolve));
  }

  /** A repeat enlarged to `side` pixels: bicubic, as torch has it (Keys 1981, with
      a = -0.75), and beyond each border it sees the next repeat. */
  function enlarge(picture, side) {
    const size = sideOf(picture);
    const a = -0.75;
    const weigh = (d) =>
      d <= 1
        ? ((a + 2) * d - (a + 3)) * d * d + 1
        : (((d - 5) * d + 8) * d - 4) * a;
    const taps = Array.from({ length: side }, (_, i) => {
      const at = ((i + 0.5) * size) / side - 0.5;
      return [-1, 0, 1, 2].map((k) => {
        const pixel = Math.floor(at) + k;
        return [(pixel + size) % size, weigh(Math.abs(at - pixel))];
      });
    });
    /** Enlarge the rows of a channel, and lay it on its side. */
    const widen = (rows, count) => {
      const turned = new Float32Array(side * count);
      for (let x = 0; x < side; x++) {
        for (const [pixel, weight] of taps[x]) {
          for (let y = 0; y < count; y++) {
            turned[x * count + y] += weight * rows[y * size + pixel];
          }
        }
      }
      return turned;
    };
    const large = new Float32Array(3 * side * side);
    for (let c = 0; c < 3; c++) {
      const channel = picture.subarray(c * size * size, (c + 1) * size * size);
      large.set(widen(widen(channel, size), side), c * side * side);
    }
    return large;
  }

  /** The checksum of a PNG chunk, CRC-32. */
  function crc32(bytes) {
    let crc = -1;
    for (const byte of bytes) {
      crc ^= byte;
      for (let k = 0; k < 8; k++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc;
  }

  /** A PNG that tells those who print it how many pixels make an inch. */
  async function withDpi(png, dpi) {
    const chunk = new DataView(new ArrayBuffer(21));
    const metre = Math.round(dpi / 0.0254);
    chunk.setUint32(0, 9); // bytes of data
    chunk.setUint32(4, 0x70485973); // pHYs
    chunk.setUint32(8, metre);
    chunk.setUint32(12, metre);
    chunk.setUint8(16, 1); // pixels a metre
    chunk.setInt32(17, crc32(new Uint8Array(chunk.buffer, 4, 13)));
    const head = 33; // signature and IHDR, which stays the first chunk
    return new Blob([png.slice(0, head), chunk, png.slice(head)], { type: png.type });
  }

  /** The single repeat as a printer takes it: {png, said}. */
  async function toRepeat(picture) {
    const side = Math.round((REPEAT_CM / 2.54) * DPI);
    const png = await withDpi(await toPng(enlarge(picture, side)), DPI);
    const said = `${side} x ${side} pixels, ${REPEAT_CM} cm wide at ${DPI} dpi`;
    return { png, said };
  }

  // --- In words --------------------------------------------------------------------

  const NAMED = {
    black: "#18140f",
    grey: "#808080",
    white: "#fafafa",
    cream: "#eadcc0",
    beige: "#c8b090",
    brown: "#75482c",
    "dark brown": "#3f2618",
    red: "#b5282a",
    maroon: "#5e1a22",
    orange: "#d9722a",
    gold: "#d6a32f",
    olive: "#7d7a34",
    green: "#2f7a45",
    teal: "#1f6b70",
    "light blue": "#a9c8e6",
    blue: "#35599f",
    "dark blue": "#1b2450",
    purple: "#5d3a73",
    pink: "#c97d9a",
  };

  const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255);

  /** OKLab (Ottosson 2020), in which distances are about as large as they look. */
  function oklab(colour) {
    const [r, g, b] = colour.map((u) =>
      u <= 0.04045 ? u / 12.92 : ((u + 0.055) / 1.055) ** 2.4,
    );
    const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
    const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
    const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
    return [
      0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
      1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
      0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
    ];
  }

  const POINTS = Object.entries(NAMED).map(([name, hex]) => [name, oklab(rgb(hex))]);

  /** The name of a colour, three numbers from 0 to 1. */
  function nameOf(colour) {
    const point = oklab(colour);
    const apart = ([, other]) => Math.hypot(...other.map((u, i) => u - point[i]));
    return POINTS.reduce((a, b) => (apart(b) < apart(a) ? b : a))[0];
  }

  /** "blue, cream and black": up to three colours that cover most of a picture. */
  function mainColours(picture) {
    const counts = {};
    const pixels = picture.length / 3;
    for (let i = 0; i < pixels; i += 3) {
      const colour = [0, 1, 2].map((c) => (picture[c * pixels + i] + 1) / 2);
      const name = nameOf(colour);
      counts[name] = (counts[name] ?? 0) + 3 / pixels;
    }
    const names = Object.keys(counts).sort((a, b) => counts[b] - counts[a]);
    const most = names.slice(0, 3).filter((name, i) => i === 0 || counts[name] > 0.1);
    const last = most.pop();
    return most.length ? `${most.join(", ")} and ${last}` : last;
  }

  return {
    toImage,
    fromCanvas,
    paint,
    paintRepeat,
    paintFile,
    toGif,
    toPng,
    toRepeat,
    rgb,
    nameOf,
    mainColours,
  };
})();
