/* Exercise 4 with a mouse: a cloth that one tears, and the model mends; a drawing that
   becomes cloth. Two more modes of live.js, whose left canvas, the board, is drawn on.

   w.board is the board's: {undo, at, dye}; w.cloth the cloth that lies on it, as it was
   before it was torn. */

"use strict";

(() => {
  const { SIZE } = Diffusion;
  const { walking, choice, slider, known, follow, goOn, reset } = Live;
  const FINE = 4; // pixels of the drawing for one of the model's, a side
  const OFTEN = { 1: "once", 5: "5 times" };
  const COLOURS = { yours: "yours", hues: "your hues", model: "model's" };
  // As in Exercise 4: pixels a side of the patches whose mean colours stay those of the
  // drawing, and how much of their lightness; of hues none, so that white paper may darken.
  const PATCH = 8;
  const LIGHT = { yours: 0.5, hues: 0 };

  // --- The board -------------------------------------------------------------------

  const board = (side, label) => `<figure>
    <div class="live-board"><canvas data-part="board" width="${side}" height="${side}"
      tabindex="0" role="application" aria-label="${label}: arrow keys move the brush,
      space sets it down, shift and an arrow draw it along"></canvas>
      <div data-part="cursor" class="live-cursor" aria-hidden="true"></div></div>
    <figcaption data-part="boardCaption">mouse, finger, or arrow keys and
      space</figcaption></figure>`;

  const tools = (dyes, brush, clear) => `<div class="live-tools">${dyes}
    ${slider("brush", "Brush", `min="2" max="24" step="2" value="${brush}"`)}
    <div class="live-buttons">
      <button type="button" data-part="undo">Undo</button>
      <button type="button" data-part="clear">${clear}</button>
      <label class="live-file">Your picture …<input type="file" accept="image/*"
        data-part="file"></label></div></div>`;

  const context = ({ ui }) => ui.board.getContext("2d", { willReadFrequently: true });
  const whole = ({ ui }) => [0, 0, ui.board.width, ui.board.height];

  /** Before each change of the board, so that it can be taken back. */
  function remember(w) {
    w.board.undo.push(context(w).getImageData(...whole(w)));
    if (w.board.undo.length > 50) w.board.undo.shift();
    w.ui.undo.disabled = false;
  }

  /** A board with nothing to take back. */
  function forget(w) {
    w.board.undo = [];
    w.ui.undo.disabled = true;
  }

  /** After each change; a finished picture stays, to compare with the next. */
  function changed(w) {
    if (!w.run?.done) reset(w);
  }

  function moveTo(w, [x, y]) {
    w.board.at = [x, y].map((u) => Math.max(0, Math.min(SIZE, u)));
    w.ui.cursor.style.left = `${(w.board.at[0] / SIZE) * 100}%`;
    w.ui.cursor.style.top = `${(w.board.at[1] / SIZE) * 100}%`;
  }

  /** A stroke of the brush from where it is, in pixels of the model. */
  function stroke(w, to) {
    const [ink, scale] = [context(w), w.ui.board.width / SIZE];
    const from = w.board.at;
    moveTo(w, to);
    ink.globalCompositeOperation = w.mode.ink;
    ink.strokeStyle = w.board.dye;
    ink.lineWidth = w.ui.brush.value * scale;
    ink.lineCap = "round";
    ink.beginPath();
    ink.moveTo(...from.map((u) => u * scale));
    ink.lineTo(...w.board.at.map((u) => u * scale + 0.01)); // a dot where it stays
    ink.stroke();
    w.mode.stroked?.(w);
  }

  const KEYS = {
    ArrowLeft: [-2, 0],
    ArrowRight: [2, 0],
    ArrowUp: [0, -2],
    ArrowDown: [0, 2],
    " ": [0, 0],
  };

  function press(w, event) {
    const step = KEYS[event.key];
    if (!step || !w.mode.ready(w)) return;
    event.preventDefault(); // the page does not scroll
    const to = w.board.at.map((u, i) => u + step[i]);
    if (event.shiftKey || event.key === " ") {
      remember(w);
      stroke(w, to);
      changed(w);
    } else moveTo(w, to);
    const [x, y] = w.board.at.map(Math.round);
    w.ui.boardCaption.textContent = `brush at column ${x}, row ${y}`;
  }

  async function take(w, file) {
    if (!file) return;
    const scratch = document.createElement("canvas");
    [scratch.width, scratch.height] = [w.ui.board.width, w.ui.board.height];
    try {
      await Pictures.paintFile(scratch, file);
    } catch {
      w.ui.status.textContent =
        `${file.name} cannot be read as a picture. Choose a PNG or a JPEG file.`;
      return;
    }
    remember(w);
    context(w).globalCompositeOperation = "copy";
    context(w).drawImage(scratch, 0, 0);
    w.mode.taken?.(w);
    reset(w);
    w.ui.status.textContent = `${file.name}: it stays in this page.`;
  }

  function listenToBoard(w) {
    const { ui, form } = w;
    w.board = { undo: [], at: [0, 0], dye: "black" };
    const place = ({ clientX, clientY }) => {
      const { left, top, width, height } = ui.board.getBoundingClientRect();
      return [((clientX - left) / width) * SIZE, ((clientY - top) / height) * SIZE];
    };
    let down = false;
    ui.board.addEventListener("pointerdown", (event) => {
      if (!w.mode.ready(w) || event.button !== 0) return;
      ui.board.setPointerCapture(event.pointerId);
      down = true;
      remember(w);
      moveTo(w, place(event));
      stroke(w, place(event));
    });
    ui.board.addEventListener("pointermove", (event) =>
      (down ? stroke : moveTo)(w, place(event)),
    );
    for (const end of ["pointerup", "pointercancel"]) {
      ui.board.addEventListener(end, () => {
        if (down) changed(w);
        down = false;
      });
    }
    ui.board.addEventListener("keydown", (event) => press(w, event));
    ui.undo.addEventListener("click", () => {
      context(w).putImageData(w.board.undo.pop(), 0, 0);
      ui.undo.disabled = !w.board.undo.length;
      changed(w);
    });
    ui.clear.addEventListener("click", () => {
      remember(w);
      w.mode.clear(w);
      changed(w);
    });
    ui.file.addEventListener("change", () => {
      take(w, ui.file.files[0]);
      ui.file.value = ""; // the same file may be taken again
    });
    form.addEventListener("dragover", (event) => event.preventDefault());
    form.addEventListener("drop", (event) => {
      event.preventDefault();
      take(w, event.dataTransfer.files[0]);
    });
    const showBrush = () => {
      ui.brushShown.textContent = ui.brush.value;
      ui.brush.setAttribute("aria-valuetext", `${ui.brush.value} pixels`);
      ui.cursor.style.width = `${(ui.brush.value / SIZE) * 100}%`;
    };
    ui.brush.addEventListener("input", showBrush);
    showBrush();
    moveTo(w, [SIZE / 2, SIZE / 2]);
    forget(w);
  }

  // --- Mend: tear a cloth, and the model fills in what is lost ---------------------------

  /** 1 where the cloth is whole, 0 where it is torn: SIZE * SIZE numbers. */
  function whereWhole(w) {
    const { data } = context(w).getImageData(...whole(w));
    return Float32Array.from({ length: SIZE * SIZE }, (_, i) => +(data[4 * i + 3] > 127));
  }

  /** The cloth on the board, transparent where it is torn. */
  function layOut(w, mask) {
    const image = Pictures.toImage([w.cloth]);
    mask?.forEach((known, i) => (image.data[4 * i + 3] = 255 * known));
    context(w).putImageData(image, 0, 0);
  }

  Live.modes.mend = {
    ...walking,
    title: "Live: tear and mend",
    verb: ({ cloth }) => (cloth ? "Mend" : "Draw"),
    before: ({ cloth }) => (cloth ? "mended" : "what the model makes of it"),
    after: "mended",
    left: board(SIZE, "The cloth, to be torn"),
    tools: tools("", 10, "Whole again"),
    seeds: [
      ["seed", "Seed of the cloth", 42],
      ["seedB", "Seed of the mending", 7],
    ],
    knobs: choice("often", "Take each step", OFTEN),
    ink: "destination-out",
    file: ({ seeds }) => `mended_${seeds[1]}`,
    settings: ({ form }) => ({
      resamplings: +known(Object.keys(OFTEN), form.elements.often.value),
    }),
    listen: listenToBoard,
    ready: ({ cloth }) => !!cloth,
    stroked: (w) => layOut(w, whereWhole(w)),
    clear: (w) => w.cloth && layOut(w),

    showStart(w) {
      const { ui, cloth } = w;
      ui.board.parentElement.dataset.hint = cloth ? "" : "press Draw, then tear it";
      if (!cloth) context(w).clearRect(...whole(w));
      ui.clear.disabled = !cloth;
    },

    /** Another seed, another cloth. */
    changed(w, control) {
      if (control !== w.ui.seed) return;
      w.cloth = null;
      forget(w);
    },

    taken(w) {
      w.cloth = Pictures.fromCanvas(w.ui.board);
      forget(w);
    },

    missing(w) {
      if (!w.cloth) return "";
      const mask = whereWhole(w);
      if (mask.every(Boolean)) return "Nothing is torn yet: brush over the cloth.";
      if (!mask.some(Boolean)) return "Nothing is left of it: press Whole again.";
      return "";
    },

    async compute(w, run, ask) {
      const { alphaBar, noises, seeds, steps, sampler, resamplings } = run;
      if (!w.cloth) return drawCloth(w, run, ask);
      // Nobody says what a torn cloth is, unless the reader does.
      if (run.family === "any") Object.assign(run, { family: "none", guidance: 1 });
      const [again, fresh] = [0, 1].map(() => Diffusion.moreNoise(seeds[1]));
      const mask = whereWhole(w);
      const asked = ask(run.family);
      const predict = Steering.keeping(asked, w.cloth, mask, alphaBar, fresh);
      const how = [steps, sampler, resamplings, again];
      const walk = Diffusion.sample(predict, noises[1], alphaBar, ...how);
      await follow(w, run, walk, (steps - 1) * resamplings + 1);
    },
  };

  /** The cloth that its seed names, as in the lesson's first model. */
  async function drawCloth(w, run, ask) {
    const { alphaBar, noises, steps, sampler } = run;
    w.ui.board.parentElement.dataset.hint = "";
    const predict = ask(run.family);
    const walk = Diffusion.sample(predict, noises[0], alphaBar, steps, sampler);
    let count = 0;
    for await (const { x0 } of walk) {
      if (!(await goOn(run))) return;
      Pictures.paint(w.ui.board, x0);
      w.ui.main.dataset.progress = `${Math.min(++count, steps)}/${steps}`;
    }
    w.mode.taken(w);
    reset(w);
    w.ui.status.textContent = "Now tear it: brush over the cloth, then press Mend.";
  }

  // --- Sketch: strokes become cloth ----------------------------------------------------

  /** What Exercise 4 starts from: a mountain, the sun, some earth. */
  function paintSketch(w) {
    const ink = context(w);
    const fill = (dye, draw) => {
      ink.fillStyle = dye;
      ink.beginPath();
      draw();
      ink.fill();
    };
    fill("#e0a030", () => ink.rect(...whole(w)));
    fill("#7a2b20", () => ink.rect(0, 170, 256, 86));
    fill("#f4ead0", () => ink.arc(180, 80, 55, 0, 2 * Math.PI));
    fill("#1f3a78", () => [[20, 200], [75, 60], [130, 200]].map((at) => ink.lineTo(...at)));
  }

  /** The dyes of the family that is asked for, as buttons. */
  function showDyes(w, { family, seeds }) {
    const { families, dyes } = LIVE;
    const drawn = family === "any" ? Diffusion.familyOf(seeds[0], families) : family;
    const shown = dyes[drawn] ?? Object.values(dyes).map(([, second]) => second);
    if (w.board.shown === shown.join()) return;
    w.board.shown = shown.join();
    w.ui.dyes.replaceChildren(
      ...shown.map((dye, place) => {
        const [label, input] = ["label", "input"].map((tag) => document.createElement(tag));
        Object.assign(input, { type: "radio", name: "dye", value: dye, checked: !place });
        input.setAttribute("aria-label", Pictures.nameOf(Pictures.rgb(dye)));
        const swatch = document.createElement("span");
        swatch.style.background = dye;
        label.append(input, swatch);
        return label;
      }),
    );
    w.board.dye = shown[0];
  }

  Live.modes.sketch = {
    ...walking,
    title: "Live: your drawing becomes cloth",
    verb: () => "Weave",
    before: () => "what the model makes of it",
    after: "your drawing as cloth",
    left: board(SIZE * FINE, "Your drawing"),
    tools: tools(
      `<fieldset class="live-field live-choice live-dyes"><legend>Dye</legend>
      <div data-part="dyes"></div>
      <label class="live-mix">or mix one<input type="color" value="#e0a030"
        data-part="mixed"></label></fieldset>`,
      8,
      "Fill",
    ),
    seeds: [["seed", "Seed", 42]],
    knobs:
      slider("start", "Start at t", `min="50" max="1000" step="50" value="850"`) +
      choice("colours", "Colours", COLOURS),
    ink: "source-over",
    file: ({ seeds }) => `drawn_${seeds[0]}`,
    ready: () => true,
    showStart() {}, // the drawing stays as it is

    settings: ({ form, ui }) => ({
      t: Math.min(ui.start.value, 999), // the last, where all is noise
      colours: known(Object.keys(COLOURS), form.elements.colours.value),
    }),

    showSettings(w, settings) {
      w.ui.startShown.textContent = settings.t;
      showDyes(w, settings);
    },

    listen(w) {
      listenToBoard(w);
      paintSketch(w);
      const { ui } = w;
      ui.dyes.addEventListener("input", ({ target }) => (w.board.dye = target.value));
      const mix = () => {
        w.board.dye = ui.mixed.value;
        for (const input of ui.dyes.querySelectorAll("input")) input.checked = false;
      };
      for (const kind of ["click", "input"]) ui.mixed.addEventListener(kind, mix);
    },

    clear(w) {
      context(w).globalCompositeOperation = "source-over";
      context(w).fillStyle = w.board.dye;
      context(w).fillRect(...whole(w));
    },

    async compute(w, run, ask) {
      const { alphaBar, noises, t, colours, steps, sampler } = run;
      const drawing = Pictures.fromCanvas(w.ui.board);
      let predict = ask(run.family);
      if (colours in LIGHT) {
        predict = Steering.tinted(predict, drawing, alphaBar, PATCH, LIGHT[colours]);
      }
      const how = [t, steps, sampler];
      const walk = Steering.redraw(predict, drawing, noises[0], alphaBar, ...how);
      await follow(w, run, walk, Steering.stepsFrom(t, steps, alphaBar));
    },
  };

  // A picture that falls beside a form must not take the place of the page.
  for (const kind of ["dragover", "drop"]) {
    document.addEventListener(kind, (event) => {
      if (event.target.type !== "file") event.preventDefault();
    });
  }

  document.querySelectorAll(".live").forEach(Live.start); // all modes are known now
})();
