/* The live model in the lesson page: each <div class="live" data-mode="draw"> becomes a
   small laboratory, "morph", "mend" and "sketch" others. diffusion.js and steering.js
   have the mathematics, engine.js the network, pictures.js canvases and files; here is
   what the reader sees and touches, and in steer.js what is drawn on.

   w is a widget: {root, mode, form, ui, run, player}. ui holds its parts by their
   data-part; run is what was last begun: its settings, noises and pictures. */

"use strict";

const Live = (() => {
  const { SIZE } = Diffusion;
  const { paint } = Pictures;
  const STEPS = [1, 2, 3, 5, 10, 15, 20, 25, 50, 100, 250];
  const FEW_STEPS = LIVE.fewSteps; // that the network was taught to walk in, as its rows
  const SAMPLERS = { dpmpp: "DPM-Solver++", ddim: "DDIM" };
  if (FEW_STEPS.length) SAMPLERS.fast = "fast";
  const QUICK = 2; // steps of a picture while a control is being moved
  const GLANCE = FEW_STEPS.includes(QUICK); // whether one can be had
  const REST = 500; // ms without a move until it is drawn in all its steps
  const FAMILIES = LIVE.families; // that the network can be asked for
  const CLOTHS = ["any", ...FAMILIES, "none"];
  const ONE_PASS = LIVE.guidance === "one pass"; // how it can be asked more firmly
  const STRIDES = [32, 16, 8, 4, 2, 1]; // of a morph: coarse first, then filled in
  const PLACES = STRIDES[0];
  const TILES = 9; // of the strip: each fourth picture of a morph
  const MEGABYTES = Math.round(
    Object.values(LIVE.bytes).reduce((sum, bytes) => sum + bytes) / 1e6,
  );

  const HINT =
    `The first press loads ${MEGABYTES} MB. Then the model runs on your own ` +
    "processor, and nothing is sent anywhere.";

  const CALM = matchMedia("(prefers-reduced-motion: reduce)");
  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const words = (name) => name.replaceAll("_", " ");
  const FEWEST_FIRST = [...FEW_STEPS].sort((a, b) => a - b);
  const ladder = (sampler) => (sampler === "fast" ? FEWEST_FIRST : STEPS);
  const stepsOf = (count) => (count === 1 ? "1 step" : `${count} steps`);

  /** One of the known values: a page's controls can be tampered with. */
  const known = (values, value) => (values.includes(value) ? value : values[0]);

  // --- Files -----------------------------------------------------------------------

  /** Hand the reader a file; returns its name. */
  function save({ mode, run }, ending, blob) {
    const { family, guidance, sampler, steps } = run;
    const parts = [mode.file(run)];
    if (family !== "any") parts.push(family);
    if (guidance !== 1) parts.push(`guidance_${guidance}`);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${[...parts, sampler, steps].join("_")}${ending}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    return link.download;
  }

  async function saveGif(w) {
    const { run, mode, ui } = w;
    const frames = mode.frames(run);
    ui.status.textContent = `Packing ${frames.length} frames into a GIF …`;
    const { gifenc } = await Engine.load();
    const name = save({ mode, run }, ".gif", await Pictures.toGif(gifenc, frames));
    if (w.run === run) ui.status.textContent = `Saved ${name}.`;
  }

  async function savePng(w) {
    const { run, mode, ui } = w;
    const png = await Pictures.toPng(mode.picture(w), 4);
    ui.status.textContent = `Saved ${save({ mode, run }, ".png", png)}.`;
  }

  async function saveRepeat(w) {
    const { run, mode, ui } = w;
    const { png, said } = await Pictures.toRepeat(mode.picture(w));
    ui.status.textContent = `Saved ${save({ mode, run }, "_repeat.png", png)}: ${said}.`;
  }

  // --- What is seen --------------------------------------------------------------

  const icon = (shape) => `<svg viewBox="0 0 24 24" aria-hidden="true">${shape}</svg>`;
  const PLAY = icon(`<path d="M7 4.2 20 12 7 19.8z"/>`);
  const PAUSE = icon(`<path d="M6 4h4v16H6zM14 4h4v16h-4z"/>`);
  const DICE = icon(`<rect x="3" y="3" width="18" height="18" rx="4" fill="none"
    stroke="currentColor" stroke-width="2"/><circle cx="8" cy="8" r="1.8"/>
    <circle cx="16" cy="8" r="1.8"/><circle cx="12" cy="12" r="1.8"/>
    <circle cx="8" cy="16" r="1.8"/><circle cx="16" cy="16" r="1.8"/>`);

  const figure = (part) => `<figure>
    <canvas data-part="${part}" width="${SIZE}" height="${SIZE}" role="img"></canvas>
    <figcaption data-part="${part}Caption"></figcaption></figure>`;

  const seedField = ([part, label, seed]) => `<div class="live-field live-seed">
    <label>${label}<input data-part="${part}" type="number" min="0"
      max="${Number.MAX_SAFE_INTEGER}" value="${seed}" required></label>
    <button type="button" data-dice="${part}" class="live-icon"
      aria-label="${label}: throw the dice">${DICE}</button></div>`;

  /** One of several: choices are {value: what is shown}, of which the first is taken. */
  const choice = (name, legend, choices) => `
    <fieldset class="live-field live-choice live-${name}">
    <legend>${legend}</legend>${Object.entries(choices)
      .map(
        ([value, label], place) => `<label><input type="radio" name="${name}"
          value="${value}" ${place ? "" : "checked"}><span>${label}</span></label>`,
      )
      .join("")}</fieldset>`;

  const slider = (part, label, attributes) => `<div class="live-field live-slider">
    <label>${label}: <span data-part="${part}Shown"></span><input data-part="${part}"
      type="range" ${attributes}></label></div>`;

  const clothChoice = choice(
    "cloth",
    `Cloth: <span data-part="clothShown"></span>`,
    Object.fromEntries(CLOTHS.map((name) => [name, words(name)])),
  );
  const guidanceFrom = (value) => `min="1" max="4" step="0.5" value="${value}"`;
  const PLACE_OF_STEPS = `min="0" max="${STEPS.length - 1}" value="${STEPS.indexOf(20)}"`;

  const template = (mode) => `
    <form class="live-card" aria-label="${mode.title}">
      <p class="live-title">${mode.title}</p>
      ${FAMILIES.length ? clothChoice : ""}
      <div class="live-view">
        <div class="live-stage">${mode.left}${figure("picture")}</div>
        ${mode.strip ?? ""}
        <div class="live-time">
          <button type="button" data-part="play" class="live-icon"></button>
          <input data-part="time" type="range" min="0" max="${PLACES}" value="0"
            aria-label="${mode.slider}">
          <button type="button" data-part="repeat" aria-pressed="false"
            aria-label="Repeat 3 times across and down">3 × 3</button></div>
        ${mode.tools ?? ""}
      </div>
      <div class="live-panel">
        ${mode.seeds.map(seedField).join("")}
        ${FAMILIES.length ? slider("guidance", "Guidance", guidanceFrom(mode.guidance)) : ""}
        ${slider("steps", "Steps", PLACE_OF_STEPS)}
        ${mode.knobs}
        <button type="submit" data-part="main" class="live-main"></button>
        <div class="live-save"><button type="button" data-part="png">Save PNG</button>
          <button type="button" data-part="gif">Save GIF</button>
          <button type="button" data-part="cut">Save repeat</button></div>
      </div>
      <p data-part="status" class="live-status" role="status"></p>
      ${mode.inPython ?? ""}
    </form>`;
  const AFTER_DRAWING = ["time", "play", "repeat", "png", "gif", "cut"];

  /** In the place of the widget: its recording, if any, and one sentence. */
  function showRecording({ root, mode }, reason) {
    const { recording, recorded } = mode;
    const image = `<img src="${Engine.FOLDER}${recording}" alt="${recorded}">`;
    root.innerHTML = `<div class="live-card">${recording ? image : ""}
      <p class="live-status" role="status"></p></div>`;
    const instead = recording ? "this is a recording of it" : "see the figure above";
    root.querySelector("p").textContent =
      `The model cannot run here (${reason}): ${instead}.`;
  }

  /** The load failed, or the network did: all stays as it is set, to try again. */
  function showFailure({ ui, mode }, reason) {
    ui.status.textContent = `It did not work: ${reason}. Try again`;
    if (mode.recording) {
      const link = document.createElement("a");
      link.href = `${Engine.FOLDER}${mode.recording}`;
      link.textContent = "a recording";
      ui.status.append(", or watch ", link);
    }
    ui.status.append(".");
    ui.main.textContent = "Try again";
  }

  /** description: what a reader hears who cannot see the picture. */
  function caption({ ui }, part, text, description = text) {
    ui[`${part}Caption`].textContent = text;
    ui[part].setAttribute("aria-label", description);
  }

  /** What the network is asked for, in words, if it can be asked. */
  function asked({ family, seeds }) {
    if (!FAMILIES.length) return "";
    const name = family === "any" ? Diffusion.familyOf(seeds[0], FAMILIES) : family;
    return `, asked for ${words(name)}`;
  }

  const isPressed = (button) => button.getAttribute("aria-pressed") === "true";

  /** The picture that a run has come to, in the frame; and in words. */
  function showPicture(w, picture, text) {
    Pictures.paintRepeat(w.ui.picture, picture, isPressed(w.ui.repeat) ? 3 : 1);
    const about = `${asked(w.run)}: mainly ${Pictures.mainColours(picture)}`;
    caption(w, "picture", text, text + about);
  }

  /** Fast walks have steps of their own: the slider goes over these. */
  function fitSteps({ ui, form }) {
    const steps = ladder(form.elements.sampler.value);
    ui.steps.max = steps.length - 1;
    ui.steps.value = steps.indexOf(steps === STEPS ? 20 : 4);
  }

  /** Without a name there is nothing to ask for more firmly: the knob rests at 1, and
      goes back to where it was. */
  function fitGuidance({ ui, form }) {
    const { guidance } = ui;
    const rests = known(CLOTHS, form.elements.cloth.value) === "none";
    if (guidance.disabled === rests) return;
    if (rests) guidance.dataset.was = guidance.value;
    guidance.value = rests ? 1 : guidance.dataset.was;
    guidance.disabled = rests;
  }

  /** What the controls say now; of those that are not there, the default. */
  function settings(w) {
    const { form, ui, mode } = w;
    const { cloth, sampler } = form.elements;
    const family = known(CLOTHS, cloth?.value);
    const solver = known(Object.keys(SAMPLERS), sampler?.value);
    return {
      seeds: mode.seeds.map(([part]) => +ui[part].value),
      family,
      guidance: +(ui.guidance?.value ?? 1),
      sampler: solver,
      steps: ladder(solver)[ui.steps.value],
      ...mode.settings?.(w),
    };
  }

  function showSettings(w) {
    const { ui, mode } = w;
    if (FAMILIES.length) fitGuidance(w);
    const now = settings(w);
    const { seeds, family, guidance, steps } = now;
    mode.showSettings?.(w, now);
    ui.stepsShown.textContent = steps;
    ui.steps.setAttribute("aria-valuetext", stepsOf(steps));
    if (!FAMILIES.length) return;
    ui.guidanceShown.textContent = guidance;
    ui.clothShown.textContent =
      family === "none" ? "none (the noise alone decides)" : words(family);
    if (family === "any" && ui.seed.validity.valid) {
      const drawn = words(Diffusion.familyOf(seeds[0], FAMILIES));
      ui.clothShown.textContent = `any (seed ${seeds[0]} draws ${drawn})`;
    }
  }

  /** The name of the first seed field that holds no seed, or undefined. */
  function wrongSeed({ ui, mode }) {
    return mode.seeds.find(([part]) => !ui[part].validity.valid)?.[1];
  }

  /** The place of the slider; from the first picture on it can be moved. */
  function show(w) {
    w.mode.show(w);
    delete w.ui.picture.parentElement.dataset.hint;
    for (const part of AFTER_DRAWING) w.ui[part].disabled = false;
  }

  /** Before a run: what it begins with, and an empty frame. keep: what is in the frame
      stays there until the run has something better. */
  function reset(w, keep = false) {
    const { ui, mode } = w;
    clearTimeout(w.resting);
    if (w.run) w.run.stopped = true;
    w.run = null;
    stopPlaying(w);
    showSettings(w);
    const wrong = wrongSeed(w);
    const most = Number.MAX_SAFE_INTEGER.toLocaleString("en");
    ui.status.textContent = wrong
      ? `${wrong} is to be a whole number from 0 to ${most}.`
      : w.root.dataset.where
        ? ""
        : HINT;
    if (ui.inPython) ui.inPython.hidden = true;
    for (const part of AFTER_DRAWING) ui[part].disabled = true;
    delete ui.main.dataset.progress;
    ui.main.textContent = mode.verb(w);
    ui.strip?.getContext("2d").clearRect(0, 0, ui.strip.width, ui.strip.height);
    if (keep) return;
    ui.picture.getContext("2d").clearRect(0, 0, ui.picture.width, ui.picture.height);
    ui.time.value = 0;
    w.form.style.removeProperty("--at");
    mode.showStart(w);
    caption(w, "picture", mode.before(w));
    ui.picture.parentElement.dataset.hint = `press ${mode.verb(w)}`;
  }

  /** The noise that the seed names. */
  function showNoise(w) {
    const { seed, noisy } = w.ui;
    if (seed.validity.valid) {
      paint(noisy, Diffusion.drawNoise(+seed.value));
      caption(w, "noisy", `noise of seed ${+seed.value}`);
    } else {
      noisy.getContext("2d").clearRect(0, 0, SIZE, SIZE);
      caption(w, "noisy", "no seed, no noise");
    }
  }

  // --- One picture: scrub through x_t and the predicted x_0 -------------------------

  /** The same picture in Python: what differs from the defaults there is named. */
  function command({ seeds, family, guidance, sampler, steps }) {
    const flags = [`--seed ${seeds[0]} --sampler ${sampler} --steps ${steps}`];
    if (family !== "any") flags.push(`--family ${family}`);
    if (guidance !== 1) flags.push(`--guidance ${guidance}`);
    return `python exercise1_generate.py ${flags.join(" ")}`;
  }

  /** A part of a command that no line break divides. */
  function whole(text) {
    const span = document.createElement("span");
    span.textContent = text;
    return span;
  }

  const stateAt = ({ ui, run }) =>
    run.states[Math.min(ui.time.value, run.states.length - 1)];

  /** What has states to scrub through has these in common. */
  const walking = {
    slider: "From noise to picture",
    guidance: 2, // as in Exercise 4; the other two have 1, as in Exercises 1 and 3

    show(w) {
      const { t, x, x0 } = stateAt(w);
      const factor = `alpha-bar ${w.run.alphaBar[Math.max(t, 0)].toPrecision(2)}`;
      const place = t < 0 ? "no noise left" : `noisy picture, t = ${t}: ${factor}`;
      if (w.ui.noisy) {
        paint(w.ui.noisy, x);
        caption(w, "noisy", place);
      }
      showPicture(w, x0, t < 0 ? w.mode.after : "what the model sees in it");
      w.ui.time.setAttribute("aria-valuetext", place);
    },

    picture: (w) => stateAt(w).x0,

    frames: ({ states }) =>
      states.map(({ t, x, x0 }) => ({ pictures: [x, x0], delay: t < 0 ? 2000 : 150 })),
  };

  /** Collect and show the states of a walk of so many steps; false if stopped. */
  async function follow(w, run, walk, steps) {
    Object.assign(run, { states: [], follow: true });
    w.ui.time.max = steps;
    for await (const state of walk) {
      if (!(await goOn(run))) return false;
      run.states.push(state);
      if (run.follow) w.ui.time.value = run.states.length - 1;
      // Who wants less motion sees the first and the last, and may scrub between them.
      const early = !run.kept && (!CALM.matches || run.states.length === 1);
      if (early || state.t < 0) show(w);
      w.ui.main.dataset.progress = `${Math.min(run.states.length, steps)}/${steps}`;
    }
    w.ui.status.textContent =
      `${stepsOf(steps)} in ${(run.ms / 1000).toFixed(1)} s, ` +
      `${Math.round(run.ms / steps)} ms each. The slider goes back to the noise.`;
    return true;
  }

  const draw = {
    ...walking,
    title: "Live: our model at work",
    guidance: 1,
    verb: () => "Draw",
    before: () => "what the model sees in it",
    after: "the picture",
    left: figure("noisy"),
    seeds: [["seed", "Seed", 42]],
    knobs: choice("sampler", "Sampler", SAMPLERS),
    inPython: `<p data-part="inPython" class="live-python" hidden>The same picture in
      Python, the first of the grid: <code data-part="command"></code>
      <button type="button" data-part="copy">Copy</button></p>`,
    recording: "recorded_draw.gif",
    recorded: "Noise turns into a fabric pattern, beside what the network sees in it.",
    file: ({ seeds }) => `fabric_${seeds[0]}`,
    showStart: showNoise,
    noise: ({ run }) => run.noises[0],

    async compute(w, run, ask) {
      const { alphaBar, noises, steps, sampler } = run;
      const predict = ask(run.family);
      const walk = Diffusion.sample(predict, noises[0], alphaBar, steps, sampler);
      if (!(await follow(w, run, walk, steps))) return;
      const parts = command(run).split(" ");
      w.ui.command.replaceChildren(...parts.flatMap((part) => [whole(part), " "]));
      w.ui.command.lastChild.remove();
      w.ui.inPython.hidden = false;
    },
  };

  // --- A morph: walk along the great circle between two noises ----------------------

  const finished = (run) => Object.keys(run.pictures).map(Number);
  const nearest = (places, at) =>
    places.sort((a, b) => Math.abs(a - at) - Math.abs(b - at))[0];

  /** The next picture to draw: where the slider is, then coarse ones, then near the
      slider; or undefined. */
  function nextPlace({ pictures }, at) {
    if (!pictures[at]) return +at;
    for (const stride of STRIDES) {
      const open = [];
      for (let i = 0; i <= PLACES; i += stride) if (!pictures[i]) open.push(i);
      if (open.length) return nearest(open, at);
    }
    return undefined;
  }

  const morph = {
    title: "Live: from noise to noise",
    guidance: 1,
    verb: () => "Morph",
    before: () => "what the model sees in it",
    left: figure("noisy"),
    slider: "From noise A to noise B",
    strip: `<div class="live-strip" aria-hidden="true"><canvas data-part="strip"
      width="${TILES * SIZE}" height="${SIZE}"></canvas></div>`,
    seeds: [
      ["seed", "Seed A", 42],
      ["seedB", "Seed B", 2],
    ],
    knobs: "",
    recording: "recorded_morph.gif",
    recorded: "One fabric pattern turns into another and back.",
    file: ({ seeds }) => `fabric_${seeds.join("_to_")}`,
    showStart: showNoise,
    noise: ({ ui, run }) => Diffusion.slerp(ui.time.value / PLACES, ...run.noises),

    showPlace(w) {
      const { ui, run } = w;
      const at = +ui.time.value;
      paint(ui.noisy, this.noise(w));
      const percent = Math.round((100 * at) / PLACES);
      const [a, b] = run.seeds;
      caption(w, "noisy", `noise, ${percent} % of the way from ${a} to ${b}`);
      ui.time.setAttribute("aria-valuetext", `${percent} percent of the way to B`);
      w.form.style.setProperty("--at", at / PLACES);
    },

    show(w) {
      this.showPlace(w);
      showPicture(w, this.picture(w), "its picture");
    },

    async compute(w, run, ask) {
      const { ui } = w;
      const predict = ask(run.family);
      const { alphaBar, noises, steps, sampler } = run;
      run.pictures = {};
      let place;
      while ((place = nextPlace(run, ui.time.value)) !== undefined) {
        const noise = Diffusion.slerp(place / PLACES, ...noises);
        const tile = (place / PLACES) * (TILES - 1);
        const walk = Diffusion.sample(predict, noise, alphaBar, steps, sampler);
        let x0;
        for await ({ x0 } of walk) {
          if (!(await goOn(run))) return;
          if (Number.isInteger(tile)) paint(ui.strip, x0, tile * SIZE);
          if (!run.kept && !finished(run).length) showPicture(w, x0, "its picture");
        }
        run.pictures[place] = x0;
        // What is shown at a glance is nearer to its place than this one may be.
        if (!GLANCE || run.pictures[ui.time.value]) show(w);
        const count = finished(run).length;
        ui.main.dataset.progress = `${count}/${PLACES + 1}`;
        if (count === TILES) {
          ui.status.textContent =
            "Drag the slider: what lies between is being filled in.";
        }
      }
      const seconds = Math.round(run.ms / 1000);
      ui.status.textContent = `${PLACES + 1} pictures in ${seconds} s. Drag, play, save.`;
    },

    picture: ({ ui, run }) => run.pictures[nearest(finished(run), ui.time.value)],

    /** There and back. */
    frames({ pictures }) {
      const there = Object.values(pictures); // keys that are numbers come in order
      return [...there, ...there.slice(1, -1).reverse()].map((x0) => ({
        pictures: [x0],
        delay: 100,
      }));
    },
  };

  // --- What is done ----------------------------------------------------------------

  /** Waits while the reader pauses; false once another run has taken the place. */
  async function goOn(run) {
    while ((run.paused || run.waits) && !run.stopped) await sleep(20);
    return !run.stopped;
  }

  /** From network(x, t, label) -> v to ask(family) -> predict, for the settings of a run. */
  function asking(network, run, alphaBar) {
    const few = run.sampler === "fast" ? run.steps : 0;
    const withSteps = (x, t, label) =>
      network(x, t, label && Diffusion.inSteps(label, few, FEW_STEPS));
    return (family) => {
      const label = Diffusion.labelFor(FAMILIES, family, run.seeds[0]);
      const velocity = Diffusion.guided(withSteps, label, run.guidance, ONE_PASS);
      return Diffusion.predictor(velocity, alphaBar);
    };
  }

  /** Show what is set in QUICK steps, again as long as it changes meanwhile. */
  async function look(w) {
    w.moved = true;
    if (w.looking) return;
    w.looking = true;
    try {
      const { predict, alphaBar } = await Engine.load();
      while (w.moved && w.run) {
        const { run } = w;
        const how = { ...run, sampler: "fast", steps: QUICK };
        w.moved = false;
        run.waits = true; // the network answers one question after the other
        const began = performance.now();
        const ask = asking(predict, how, alphaBar)(run.family);
        let x0;
        for await ({ x0 } of Diffusion.sample(ask, w.mode.noise(w), alphaBar, QUICK));
        run.waits = false;
        if (run !== w.run) continue; // a better picture is on its way
        const ms = Math.round(performance.now() - began);
        showPicture(w, x0, `at a glance: ${stepsOf(QUICK)}, ${ms} ms`);
      }
    } finally {
      w.looking = false;
    }
  }

  /** A control is being moved: a glance at what it does; once it rests, the picture. */
  function react(w) {
    const { ui, mode, run } = w;
    clearTimeout(w.resting);
    w.resting = setTimeout(() => begin(w, true), REST);
    run.stopped = true;
    w.run = { ...settings(w), noises: run.noises, pictures: {}, stopped: true };
    for (const part of AFTER_DRAWING) ui[part].disabled = part !== "time";
    ui.time.disabled = mode !== morph;
    stopPlaying(w);
    look(w);
  }

  /** The network is there, for all widgets: none says any more that a press loads it. */
  function arrive({ where }) {
    for (const root of document.querySelectorAll(".live")) {
      root.dataset.where = where;
      const status = root.querySelector(".live-status");
      if (status.textContent === HINT) status.textContent = "";
    }
  }

  async function begin(w, keep = false) {
    reset(w, keep);
    const { ui, mode } = w;
    if (wrongSeed(w)) return;
    const missing = mode.missing?.(w);
    if (missing) {
      ui.status.textContent = missing;
      return;
    }
    const run = { ...settings(w), ms: 0, kept: keep };
    w.run = run;
    run.noises = run.seeds.map(Diffusion.drawNoise);
    ui.main.textContent = "Loading";
    if (!keep) ui.picture.parentElement.dataset.hint = "";
    ui.status.textContent = w.root.dataset.where ? "" : `Loading ${MEGABYTES} MB …`;
    try {
      const model = await Engine.load();
      arrive(model);
      if (run.stopped) return;
      run.alphaBar = model.alphaBar;
      ui.status.textContent = "";
      ui.main.textContent = "Pause";
      const timed = async (...question) => {
        const began = performance.now();
        const v = await model.predict(...question);
        run.ms += performance.now() - began;
        return v;
      };
      await mode.compute(w, run, asking(timed, run, run.alphaBar));
      if (!run.stopped) ui.main.textContent = `${mode.verb(w)} again`;
    } catch (error) {
      if (!run.stopped) showFailure(w, error.message);
    }
    if (run.stopped) return;
    run.done = true;
    delete ui.main.dataset.progress;
  }

  /** The main button: begin, pause, go on. */
  function press(w) {
    const { run, ui } = w;
    if (!run || run.done || run.stopped) begin(w);
    else if (run.alphaBar) {
      run.paused = !run.paused;
      ui.main.textContent = run.paused ? "Go on" : "Pause";
    }
  }

  function stopPlaying(w) {
    clearInterval(w.player);
    w.player = null;
    w.ui.play.innerHTML = PLAY;
    w.ui.play.setAttribute("aria-label", "Play");
  }

  /** Run through what there is, once; a morph goes there and back until stopped. */
  function play(w) {
    if (w.player) return stopPlaying(w);
    const { time } = w.ui;
    w.run.follow = false;
    let pace = 1;
    const once = w.mode !== morph;
    if (once && time.value === time.max) time.value = 0;
    w.player = setInterval(() => {
      if (once && time.value === time.max) return stopPlaying(w);
      if (time.value === time.max) pace = -1;
      if (+time.value === 0) pace = 1;
      time.value = +time.value + pace;
      show(w);
    }, 100);
    w.ui.play.innerHTML = PAUSE;
    w.ui.play.setAttribute("aria-label", "Pause");
  }

  function scrub(w) {
    stopPlaying(w);
    w.run.follow = +w.ui.time.value >= (w.run.states?.length ?? 0) - 1;
    if (GLANCE && w.mode === morph && !w.run.pictures[w.ui.time.value]) {
      morph.showPlace(w);
      look(w);
    } else {
      show(w);
    }
  }

  function listen(w) {
    const { ui, form, mode } = w;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      press(w);
    });
    form.addEventListener("input", ({ target }) => {
      if (target === ui.time) return scrub(w);
      if (target.closest(".live-tools")) return; // steer.js listens there
      if (target.name === "sampler") fitSteps(w);
      mode.changed?.(w, target);
      showSettings(w);
      const asks = target === ui.guidance || target.name === "cloth";
      const shown = mode.noise && w.run?.noises && w.root.dataset.where;
      if (asks && GLANCE && shown) return react(w);
      // A finished picture stays, to compare with what the new settings draw.
      if (!w.run?.done || target.type === "number") return reset(w);
      ui.status.textContent =
        "The picture is still that of the settings before. " +
        `To see these, press ${ui.main.textContent}.`;
    });
    form.addEventListener("click", ({ target, offsetX }) => {
      if (target === ui.strip && !ui.time.disabled) {
        const tile = Math.floor((offsetX / target.clientWidth) * TILES);
        ui.time.value = (tile * PLACES) / (TILES - 1);
        return scrub(w);
      }
      const seed = target.closest("[data-dice]")?.dataset.dice;
      if (!seed) return;
      ui[seed].value = Math.floor(Math.random() * 10_000);
      mode.changed?.(w, ui[seed]);
      if (w.root.dataset.where) begin(w);
      else reset(w);
    });
    ui.play.addEventListener("click", () => play(w));
    ui.repeat.addEventListener("click", () => {
      ui.repeat.setAttribute("aria-pressed", !isPressed(ui.repeat));
      show(w);
    });
    ui.png.addEventListener("click", () => savePng(w));
    ui.gif.addEventListener("click", () => saveGif(w));
    ui.cut.addEventListener("click", () => saveRepeat(w));
    ui.copy?.addEventListener("click", () => copy(w));
  }

  /** Where a page may not write to the clipboard, the selection is copied. */
  async function copy({ ui }) {
    try {
      await navigator.clipboard.writeText(ui.command.textContent);
    } catch {
      getSelection().selectAllChildren(ui.command);
      document.execCommand("copy");
    }
    ui.copy.textContent = "Copied";
    await sleep(2000);
    ui.copy.textContent = "Copy";
  }

  const modes = { draw, morph };

  /** root: a <div class="live">. */
  function start(root) {
    const mode = modes[root.dataset.mode];
    const w = { root, mode, run: null, player: null, ui: {} };
    if (Engine.missing) return showRecording(w, Engine.missing);
    root.innerHTML = template(mode);
    w.form = root.firstElementChild;
    for (const part of root.querySelectorAll("[data-part]")) {
      w.ui[part.dataset.part] = part;
    }
    listen(w);
    mode.listen?.(w);
    reset(w);
  }

  return { modes, start, walking, choice, slider, known, follow, goOn, reset };
})();
