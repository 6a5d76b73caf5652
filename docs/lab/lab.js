/* The laboratory in part 1's page: draw data, and watch two models learn them. Here is
   what the reader sees and touches; mlp.js is the network, process.js the mathematics,
   trainer.js what learns. */

"use strict";

(() => {
  const process = labProcess();
  const SIDE = 2.9; // panels show -SIDE to SIDE, as all pictures of the page
  const LESSON = 2000; // steps that a press of the button learns
  const MOST_POINTS = 4000;
  const PATHS = 40;
  const T_CHOICES = [5, 10, 50, 200, 1000];
  const STEPS_CHOICES = [1, 2, 3, 5, 10, 20, 50];
  const WIDTH_CHOICES = [4, 8, 16, 32, 64];
  const MODELS = { diffusion: "Diffusion", flow: "Flow matching" };
  const FRESH = "New networks, which know nothing yet.";
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  // --- Data -------------------------------------------------------------------

  /** Two numbers for each of n points; place: (u, [a, b]) -> [x, y], of an even number
      and two normal ones. */
  function cloud(n, place) {
    const uniform = process.uniformFrom(5);
    const points = [];
    for (let i = 0; i < n; i++) {
      points.push(...place(uniform(), process.normals(2, uniform)));
    }
    return points;
  }

  const around = (radius, turn) => [
    radius * Math.cos(2 * Math.PI * turn),
    radius * Math.sin(2 * Math.PI * turn),
  ];

  /** A half circle opens downwards in the left, upwards in the right moon. */
  function onMoons(u, [a, b]) {
    const [x, y] = around(1, u < 0.5 ? u : 1.5 - u); // 0 to 1/2, and 1 to 1/2
    const moon = u < 0.5 ? [x - 0.5, y - 0.25] : [x + 0.5, y + 0.25];
    return [(moon[0] + 0.06 * a) / 0.7076, (moon[1] + 0.06 * b) / 0.7076];
  }

  function onSpiral(u, [a, b]) {
    const along = Math.sqrt(0.05 + 0.95 * u); // evenly spread over its length, nearly
    const [x, y] = around(1.95 * along, 1.75 * along);
    return [x + 0.06 * a, y + 0.06 * b];
  }

  function onEight(u, [a, b]) {
    const [x, y] = around(1.4, Math.floor(8 * u) / 8);
    return [x + 0.12 * a, y + 0.12 * b];
  }

  // All but the five points have the variance of the noise, or nearly.
  const PRESETS = {
    "Two moons": () => cloud(1000, onMoons),
    Ring: () => cloud(1000, (u, [a]) => around(1.4 + 0.07 * a, u)),
    Spiral: () => cloud(1000, onSpiral),
    "Eight Gaussians": () => cloud(1000, onEight),
    "Five points": () => [-1.5, -0.8, -0.9, 1.3, 0.2, -0.2, 1.2, 1.1, 1.5, -1.2],
    Clear: () => [],
  };

  // --- What is seen --------------------------------------------------------------

  const figure = (part, attributes) => `<figure><canvas data-part="${part}"
    ${attributes}></canvas><figcaption data-part="${part}Caption"></figcaption></figure>`;

  const slider = (name, label, choices, value) => `<div class="live-field live-slider">
    <label>${label}: <span data-part="${name}Shown"></span><input data-part="${name}"
      type="range" min="0" max="${choices.length - 1}" value="${choices.indexOf(value)}">
    </label></div>`;

  const choice = (name, legend, choices) => `
    <fieldset class="live-field live-choice live-sampler"><legend>${legend}</legend>
    ${Object.entries(choices)
      .map(
        ([value, label], i) => `<label><input type="radio" name="${name}"
          value="${value}" ${i ? "" : "checked"}><span>${label}</span></label>`,
      )
      .join("")}</fieldset>`;

  const tick = (part, label) => `<label class="lab-tick"><input type="checkbox"
    data-part="${part}" checked>${label}</label>`;

  const TEMPLATE = `<form class="live lab-card" aria-label="Laboratory">
    <div class="lab-presets" role="group" aria-label="Data">${Object.keys(PRESETS)
      .map((name) => `<button type="button" data-preset="${name}">${name}</button>`)
      .join("")}</div>
    <div class="lab-stage">
      ${figure("data", `tabindex="0" role="application"`)}
      ${figure("diffusion", `role="img"`)}
      ${figure("flow", `role="img"`)}
    </div>
    <div class="live-time">
      <button type="button" data-part="play" class="live-icon" aria-label="Play">
        <svg viewBox="0 0 24 24" aria-hidden="true"><path d="M7 4.2 20 12 7 19.8z"/></svg>
      </button>
      <span aria-hidden="true">noise</span>
      <input data-part="time" type="range" min="0" max="100" value="100"
        aria-label="From noise to data">
      <span aria-hidden="true">data</span>
      ${tick("arrows", "arrows")}${tick("paths", "trajectories")}
    </div>
    <div class="lab-buttons">
      <button type="submit" data-part="main" class="live-main"></button>
      <button type="button" data-part="reset">Reset</button>
      <button type="button" data-part="png">Save PNG</button>
    </div>
    <p data-part="status" class="live-status" role="status"></p>
    <div class="lab-below">
      <figure><canvas data-part="loss" role="img"></canvas>
        <figcaption>Loss of <span class="lab-diffusion">diffusion</span> and
        of <span class="lab-flow">flow matching</span></figcaption></figure>
      <div class="lab-knobs">
        ${slider("T", "Timesteps T", T_CHOICES, 1000)}
        ${choice("schedule", "Schedule", { linear: "Linear", cosine: "Cosine" })}
        ${slider("width", "Width", WIDTH_CHOICES, 32)}
        ${choice("sampler", "Sampler", { ddim: "DDIM", ddpm: "DDPM" })}
        ${slider("steps", "Sampling steps", STEPS_CHOICES, 20)}
      </div>
    </div>
  </form>`;

  /** A canvas as sharp as the screen, cleared; returns its context and its size. */
  function prepare(canvas) {
    const { clientWidth: width, clientHeight: height } = canvas;
    const scale = devicePixelRatio;
    [canvas.width, canvas.height] = [width * scale, height * scale];
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    return { context, width, height };
  }

  /** Colours are the theme's: they stand in lab.css. */
  const colour = (w, name) =>
    getComputedStyle(w.root).getPropertyValue(`--lab-${name}`);

  /** Draw on a square canvas in the units of the data, y upwards. */
  function onPlane(canvas) {
    const { context, width } = prepare(canvas);
    const unit = width / (2 * SIDE);
    context.translate(width / 2, width / 2);
    context.scale(unit, -unit);
    return { context, pixel: 1 / unit };
  }

  /** Few points are larger. */
  function drawPoints(context, points, pixel) {
    const radius =
      pixel * Math.max(1.1, Math.min(4, 30 / Math.sqrt(points.length / 2)));
    context.beginPath();
    for (let i = 0; i < points.length; i += 2) {
      context.rect(points[i] - radius, points[i + 1] - radius, 2 * radius, 2 * radius);
    }
    context.fill();
  }

  /** arrows (169, 2) on the grid; a long one shows its direction only. */
  function drawArrows(context, arrows) {
    const grid = process.grid();
    context.beginPath();
    for (let i = 0; i < arrows.length; i += 2) {
      const length = Math.hypot(arrows[i], arrows[i + 1]);
      const scale = 0.34 / Math.max(1, length);
      const [dx, dy] = [scale * arrows[i], scale * arrows[i + 1]];
      const [x, y] = [grid[i] + dx, grid[i + 1] + dy];
      context.moveTo(grid[i], grid[i + 1]);
      context.lineTo(x, y);
      context.moveTo(x - 0.35 * dx - 0.2 * dy, y - 0.35 * dy + 0.2 * dx);
      context.lineTo(x, y);
      context.lineTo(x - 0.35 * dx + 0.2 * dy, y - 0.35 * dy - 0.2 * dx);
    }
    context.stroke();
  }

  function drawPaths(context, states) {
    context.beginPath();
    for (let i = 0; i < 2 * PATHS; i += 2) {
      context.moveTo(states[0].x[i], states[0].x[i + 1]);
      for (const { x } of states.slice(1)) context.lineTo(x[i], x[i + 1]);
    }
    context.stroke();
  }

  function showData(w) {
    const { ui, points, brush } = w;
    const { context, pixel } = onPlane(ui.data);
    context.fillStyle = colour(w, "data");
    drawPoints(context, points, pixel);
    if (brush) {
      context.lineWidth = 2 * pixel;
      context.strokeStyle = colour(w, "ink");
      context.strokeRect(brush[0] - 0.12, brush[1] - 0.12, 0.24, 0.24);
    }
    const count = points.length / 2;
    const counted = count === 1 ? "1 point" : `${count.toLocaleString("en")} points`;
    ui.dataCaption.textContent = `Your data: ${counted}. Draw here.`;
    ui.data.setAttribute(
      "aria-label",
      `Your data: ${counted}. Draw with the pointer; or move the brush with the arrow ` +
        "keys, and draw with the space bar.",
    );
  }

  /** Where the slider stands in a walk: the states up to there. */
  function upTo({ ui }, states) {
    const place = Math.round((ui.time.value / 100) * (states.length - 1));
    return states.slice(0, place + 1);
  }

  function showModel(w, name) {
    const { ui, seen } = w;
    const { context, pixel } = onPlane(ui[name]);
    const states = upTo(w, seen.walks[name]);
    const { t, factor, x, arrows } = states.at(-1);
    context.fillStyle = colour(w, "pale");
    drawPoints(context, w.points, pixel);
    context.lineWidth = pixel;
    context.lineCap = "round";
    context.strokeStyle = colour(w, "arrow");
    if (ui.arrows.checked) drawArrows(context, arrows);
    context.strokeStyle = colour(w, "ink");
    if (ui.paths.checked) drawPaths(context, states);
    context.fillStyle = colour(w, name);
    drawPoints(context, x, pixel);
    const time =
      name === "flow"
        ? `t = ${t.toFixed(2)}`
        : `t = ${t}, ᾱ = ${factor.toPrecision(2)}`;
    const ended = states.length === seen.walks[name].length;
    const where = `${MODELS[name]}: ${ended ? "samples" : time}`;
    const { [name]: far, noise } = seen.distance;
    const distance = `distance ${far.toFixed(2)} (noise ${noise.toFixed(2)})`;
    ui[`${name}Caption`].innerHTML = `<b>${where}</b><br>${distance}`;
    ui[name].setAttribute("aria-label", `${where}; ${distance}`);
  }

  /** Both curves over the steps; 1 and 2 is what a network that answers 0 gets. */
  function showLoss(w) {
    const { context, width, height } = prepare(w.ui.loss);
    const most = Math.max(LESSON, w.step);
    const x = (step) => 22 + ((width - 30) * step) / most;
    const y = (loss) => height - 20 - ((height - 30) * Math.min(loss, 2.3)) / 2.3;
    context.font = "11px sans-serif";
    context.fillStyle = colour(w, "muted");
    context.strokeStyle = colour(w, "pale");
    for (const loss of [0, 1, 2]) {
      context.fillText(loss, 8, y(loss) + 4);
      context.beginPath();
      context.moveTo(22, y(loss));
      context.lineTo(width - 8, y(loss));
      context.stroke();
    }
    context.textAlign = "right";
    context.fillText(`${most.toLocaleString("en")} steps`, width - 8, height - 5);
    context.lineWidth = 1.8;
    context.lineJoin = "round";
    Object.keys(MODELS).forEach((name, i) => {
      context.strokeStyle = colour(w, name);
      context.beginPath();
      for (const { step, losses } of w.curve) context.lineTo(x(step), y(losses[i]));
      context.stroke();
    });
    const last = w.curve.at(-1);
    const now = last ? last.losses.map((loss) => loss.toFixed(2)) : [];
    w.ui.loss.setAttribute(
      "aria-label",
      last ? `Loss at step ${last.step}: diffusion ${now[0]}, flow ${now[1]}` : "Loss",
    );
  }

  function show(w) {
    showData(w);
    showLoss(w);
    if (w.seen) Object.keys(MODELS).forEach((name) => showModel(w, name));
  }

  // --- What is set ----------------------------------------------------------------

  function settings({ ui, form }) {
    return {
      schedule: form.elements.schedule.value,
      T: T_CHOICES[ui.T.value],
      width: WIDTH_CHOICES[ui.width.value],
    };
  }

  /** The flow takes as many steps as diffusion, which has no more than T. */
  function how(w) {
    const steps = Math.min(STEPS_CHOICES[w.ui.steps.value], settings(w).T);
    return { steps, sampler: w.form.elements.sampler.value };
  }

  function showSettings(w) {
    const values = { ...settings(w), ...how(w) };
    for (const name of ["T", "width", "steps"]) {
      w.ui[`${name}Shown`].textContent = values[name];
      w.ui[name].setAttribute("aria-valuetext", values[name]);
    }
  }

  function showButtons(w) {
    const { ui, step, left } = w;
    ui.main.textContent = left ? "Pause" : step ? "Go on" : "Train";
    ui.main.disabled = !w.points.length;
    if (step) ui.main.dataset.progress = `${step.toLocaleString("en")} steps`;
    else delete ui.main.dataset.progress;
  }

  const say = ({ ui }, text) => (ui.status.textContent = text);

  /** Where learning stands, in one sentence: when it pauses or ends. */
  function sum({ step, seen }) {
    const { diffusion, flow, noise } = seen.distance;
    return (
      `${step.toLocaleString("en")} steps learnt. The samples of diffusion lie ` +
      `${diffusion.toFixed(2)} from the data, those of flow matching ${flow.toFixed(2)}; ` +
      `noise lies ${noise.toFixed(2)} from them.`
    );
  }

  // --- What is done -----------------------------------------------------------------

  /** The trainer in a worker, or in the page where a worker is refused.

      Returns a function that sends it a message. Reports go to w.report. */
  function connect(w) {
    const inPage = () => {
      w.root.dataset.where = "page";
      return labTrainer(labMlp(), labProcess(), w.report);
    };
    const source =
      [labMlp, labProcess, labTrainer].join("\n") +
      "\nconst receive = labTrainer(labMlp(), labProcess(), (r) => postMessage(r));" +
      "\nonmessage = ({ data }) => receive(data);";
    try {
      const worker = new Worker(URL.createObjectURL(new Blob([source])));
      worker.onmessage = ({ data }) => w.report(data);
      worker.onerror = () => {
        worker.terminate();
        w.send = inPage(); // refused late: all over again
        reset(w);
      };
      w.root.dataset.where = "worker";
      return (message) => worker.postMessage(message);
    } catch {
      return inPage();
    }
  }

  const data = (w) => Float64Array.from(w.points);

  /** New networks that know nothing. */
  function reset(w) {
    Object.assign(w, { curve: [], step: 0, left: 0 });
    w.epoch += 1;
    const { epoch } = w;
    w.send({ settings: settings(w), points: data(w), how: how(w), go: 0, epoch });
    showButtons(w);
    showLoss(w);
  }

  function receive(w, report) {
    if (report.epoch !== w.epoch) return; // of networks that are no more
    const ended = w.left > 0 && report.left === 0;
    const { step, left, losses, walks, distance } = report;
    Object.assign(w, { step, left });
    if (step && step !== w.curve.at(-1)?.step) w.curve.push({ step, losses });
    const hurried = calm.matches && left && performance.now() < w.drawn + 2000;
    if (walks) w.seen = { walks, distance };
    if (walks && !hurried) {
      Object.keys(MODELS).forEach((name) => showModel(w, name));
      w.drawn = performance.now();
    }
    showLoss(w);
    showButtons(w);
    if (ended) say(w, sum(w));
  }

  function press(w) {
    const go = w.left ? 0 : LESSON;
    if (go) {
      const { width, T, schedule } = settings(w);
      say(w, `Learning: T = ${T}, ${schedule} schedule, ${width} units wide.`);
    }
    w.send({ go });
  }

  function changeData(w, points) {
    w.points = points;
    w.send({ points: data(w), ...(points.length ? {} : { go: 0 }) });
    showData(w);
    showButtons(w);
  }

  /** Points along the way from one place to another, as from a spray can. */
  function spray(w, [x, y], [toX, toY] = [x, y]) {
    const puffs = Math.ceil(Math.hypot(toX - x, toY - y) / 0.15) || 1; // 6 points each
    const room = MOST_POINTS - w.points.length / 2;
    if (room <= 0) {
      return say(
        w,
        `No more than ${MOST_POINTS.toLocaleString("en")} points: press Clear.`,
      );
    }
    const points = [...w.points];
    for (let i = 1; i <= Math.min(6 * puffs, room); i++) {
      const part = Math.ceil(i / 6) / puffs;
      const [a, b] = process.normals(2, Math.random);
      points.push(x + part * (toX - x) + 0.07 * a, y + part * (toY - y) + 0.07 * b);
    }
    changeData(w, points);
  }

  function place(event) {
    const { left, top, width } = event.target.getBoundingClientRect();
    const units = (2 * SIDE) / width;
    return [
      (event.clientX - left) * units - SIDE,
      SIDE - (event.clientY - top) * units,
    ];
  }

  const KEYS = {
    ArrowLeft: [-0.12, 0],
    ArrowRight: [0.12, 0],
    ArrowUp: [0, 0.12],
    ArrowDown: [0, -0.12],
    " ": [0, 0],
  };

  /** Where the brush of the keyboard goes; space sprays, and arrows with Shift. */
  function moveBrush(w, event) {
    const move = KEYS[event.key];
    if (!move || !w.brush) return;
    event.preventDefault();
    w.brush = w.brush.map((z, i) => Math.max(-SIDE, Math.min(SIDE, z + move[i])));
    if (event.key === " " || event.shiftKey) spray(w, w.brush);
    else showData(w);
  }

  /** From noise to data in some seconds; in five jumps for who wants less motion. */
  function play(w) {
    cancelAnimationFrame(w.playing);
    const start = performance.now();
    const frame = (now) => {
      const part = Math.min(1, Math.max(0, now - start) / 3000);
      const shown = calm.matches ? Math.floor(5 * part) / 5 : part;
      w.ui.time.value = Math.round(100 * shown);
      scrub(w);
      if (part < 1) w.playing = requestAnimationFrame(frame);
    };
    w.playing = requestAnimationFrame(frame);
  }

  function scrub(w) {
    if (!w.seen) return;
    Object.keys(MODELS).forEach((name) => showModel(w, name));
    const { t, factor } = upTo(w, w.seen.walks.diffusion).at(-1);
    const flow = upTo(w, w.seen.walks.flow).at(-1).t;
    w.ui.time.setAttribute(
      "aria-valuetext",
      t < 0
        ? "the samples"
        : `diffusion t = ${t}, alpha-bar ${factor.toPrecision(2)}; flow t = ${flow.toFixed(2)}`,
    );
  }

  /** All that is seen, on one picture, with the settings in words. */
  function save(w) {
    const { ui } = w;
    const panels = [ui.data, ui.diffusion, ui.flow];
    const [side, gap] = [360, 20];
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [3 * side + 4 * gap, side + 330];
    const context = canvas.getContext("2d");
    context.fillStyle = getComputedStyle(w.form).backgroundColor;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.fillStyle = colour(w, "ink");
    context.font = "16px sans-serif";
    panels.forEach((panel, i) => {
      const left = gap + i * (side + gap);
      context.drawImage(panel, left, gap, side, side);
      const lines = ui[`${panel.dataset.part}Caption`].innerText.split(/\n| Draw/, 2);
      lines.forEach((line, j) => context.fillText(line, left, side + 46 + 22 * j));
    });
    const { T, schedule, width } = settings(w);
    const { sampler, steps } = how(w);
    const lossWidth = (200 * ui.loss.width) / ui.loss.height;
    context.drawImage(ui.loss, gap, side + 100, lossWidth, 200);
    [
      `T = ${T}, ${schedule} schedule, ${width} units wide`,
      `${w.step.toLocaleString("en")} steps learnt`,
      `${steps} sampling steps, ${sampler.toUpperCase()}`,
    ].forEach((line, j) => {
      context.fillText(line, 2 * gap + lossWidth, side + 130 + 26 * j);
    });
    canvas.toBlob((blob) => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = `laboratory_${schedule}_T${T}_width${width}_${sampler}_${steps}.png`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
      say(w, `Saved ${link.download}.`);
    });
  }

  function listen(w) {
    const { ui, form } = w;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      press(w);
    });
    form.addEventListener("input", ({ target }) => {
      const name = target.dataset.part ?? target.name;
      if (["time", "arrows", "paths"].includes(name)) return scrub(w);
      showSettings(w);
      if (name === "steps" || name === "sampler") return w.send({ how: how(w) });
      reset(w);
      say(w, FRESH);
    });
    form.addEventListener("click", ({ target }) => {
      const { preset } = target.dataset;
      if (!preset) return;
      changeData(w, PRESETS[preset]());
      say(w, `${preset}: ${ui.dataCaption.textContent}`);
    });
    ui.reset.addEventListener("click", () => {
      reset(w);
      say(w, FRESH);
    });
    ui.png.addEventListener("click", () => save(w));
    ui.play.addEventListener("click", () => play(w));
    let last = null; // where the pointer was, while it draws
    ui.data.addEventListener("pointerdown", (event) => {
      ui.data.setPointerCapture(event.pointerId);
      last = place(event);
      spray(w, last);
    });
    ui.data.addEventListener("pointermove", (event) => {
      if (!last) return;
      spray(w, last, (last = place(event)));
    });
    ui.data.addEventListener("lostpointercapture", () => (last = null));
    ui.data.addEventListener("keydown", (event) => moveBrush(w, event));
    ui.data.addEventListener("focus", () => {
      w.brush = ui.data.matches(":focus-visible") ? (w.brush ?? [0, 0]) : null;
      showData(w);
    });
    ui.data.addEventListener("blur", () => {
      w.brush = null;
      showData(w);
    });
    new ResizeObserver(() => show(w)).observe(form);
    new MutationObserver(() => show(w)).observe(document.documentElement, {
      attributeFilter: ["data-theme"],
    });
  }

  document.querySelectorAll(".lab").forEach((root) => {
    root.innerHTML = TEMPLATE;
    const form = root.firstElementChild;
    const w = {
      root,
      form,
      ui: {},
      points: PRESETS["Two moons"](),
      epoch: 0,
      drawn: 0,
    };
    for (const part of root.querySelectorAll("[data-part]")) {
      w.ui[part.dataset.part] = part;
    }
    w.report = (report) => receive(w, report);
    w.send = connect(w);
    showSettings(w);
    showData(w);
    reset(w);
    listen(w);
    say(w, "Press Train: all is computed in this page, and nothing is sent anywhere.");
  });
})();
