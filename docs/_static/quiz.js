// "Data set or model?": sixteen cloths in random order, cut out of the figure that shows
// them sorted. visuals/real_or_drawn.py draws it; these are its pixels.
"use strict";

const KINDS = ["from the data set", "by the model"]; // the figure's upper half, its lower
const KEYS = { d: 0, m: 1 };

const SIDE = 256;
const PITCH = 312;
const LEFT = 48;
const BOTTOM = 48;

function shuffled(list) {
  const order = [...list];
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

function startQuiz(box, sheet) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIDE;
  canvas.setAttribute("role", "img");
  const text = document.createElement("p");
  text.setAttribute("aria-live", "polite");
  const row = document.createElement("div");
  box.replaceChildren(canvas, text, row);

  function addButton(words, act) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = words[0].toUpperCase() + words.slice(1);
    button.addEventListener("click", act);
    row.append(button);
    return button;
  }
  const choices = KINDS.map((words, kind) => addButton(words, () => answer(kind)));
  const next = addButton("next", () => {
    ask();
    box.focus({ preventScroll: true }); // the button is gone; the keys are not
  });

  let order;
  let right;
  let place = 16;
  let asked;
  function show(words, asking) {
    text.textContent = words;
    asked = asking;
    choices.forEach((button) => (button.style.visibility = asking ? "" : "hidden"));
    next.style.visibility = asking ? "hidden" : "";
  }
  function ask() {
    if (place === 16) [order, place, right] = [shuffled([...Array(16).keys()]), 0, 0];
    const [column, line] = [order[place] % 4, Math.floor(order[place] / 4)];
    const top = sheet.naturalHeight - BOTTOM - SIDE - (3 - line) * PITCH;
    const from = [LEFT + column * PITCH, top, SIDE, SIDE];
    canvas.getContext("2d").drawImage(sheet, ...from, 0, 0, SIDE, SIDE);
    canvas.setAttribute("aria-label", `Cloth ${place + 1} of 16`);
    show(`Cloth ${place + 1} of 16`, true);
  }
  function answer(kind) {
    const truth = order[place] < 8 ? 0 : 1;
    right += kind === truth;
    place += 1;
    let words = `${kind === truth ? "Right" : "Wrong"}: it is ${KINDS[truth]}.`;
    if (place === 16) words += ` You got ${right} of 16; guessing gets 8.`;
    next.textContent = place === 16 ? "Again" : "Next";
    show(words, false);
    next.focus({ preventScroll: true }); // so Enter and the space bar go on
  }
  box.tabIndex = 0;
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", "Data set or model?");
  box.addEventListener("keydown", (event) => {
    const kind = KEYS[event.key.toLowerCase()];
    const alone = !event.ctrlKey && !event.metaKey && !event.altKey;
    if (asked && alone && kind !== undefined) answer(kind);
  });
  ask();
}

const quizBox = document.querySelector(".quiz");
if (quizBox) {
  const sheet = new Image();
  sheet.onload = () => startQuiz(quizBox, sheet);
  sheet.src = document.querySelector('img[src$="real_or_drawn.png"]').src;
}
