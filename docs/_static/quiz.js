// "Real or drawn?": sixteen pictures in random order, cut out of the figure that shows
// them sorted. visuals/real_or_drawn.py draws it; these are its pixels.
"use strict";

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
  const buttons = ["Real", "Drawn"].map((name) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.addEventListener("click", () => answer(name));
    return button;
  });
  row.append(...buttons);
  box.replaceChildren(canvas, text, row);

  let order, place, right;
  function show(words) {
    const done = place === order.length;
    if (done) {
      words += ` You got ${right} of 16 right; guessing gives 8 on average.`;
    } else {
      const [column, line] = [order[place] % 4, Math.floor(order[place] / 4)];
      const top = sheet.naturalHeight - BOTTOM - SIDE - (3 - line) * PITCH;
      const from = [LEFT + column * PITCH, top, SIDE, SIDE];
      canvas.getContext("2d").drawImage(sheet, ...from, 0, 0, SIDE, SIDE);
      canvas.setAttribute("aria-label", `Cloth ${place + 1} of 16`);
      words += ` Cloth ${place + 1} of 16: real or drawn?`;
    }
    buttons[0].textContent = done ? "Again" : "Real";
    buttons[1].hidden = done;
    text.textContent = words;
  }
  function start() {
    [order, place, right] = [shuffled([...Array(16).keys()]), 0, 0];
    show("");
  }
  function answer(name) {
    if (place === order.length) return start();
    const truth = order[place] < 8 ? "Real" : "Drawn";
    const hit = name === truth;
    right += hit;
    place += 1;
    const was = truth === "Real" ? "real" : "drawn by the model";
    show(`${hit ? "Right" : "Wrong"}: that one was ${was}.`);
  }
  box.tabIndex = 0;
  box.addEventListener("keydown", (event) => {
    const name = { r: "Real", d: "Drawn" }[event.key.toLowerCase()];
    if (name && place < order.length) answer(name);
  });
  start();
}

const quizBox = document.querySelector(".quiz");
if (quizBox) {
  const sheet = new Image();
  sheet.onload = () => startQuiz(quizBox, sheet);
  sheet.src = document.querySelector('img[src$="real_or_drawn.png"]').src;
}
