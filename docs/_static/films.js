// Animations stop and start at a click, or at Enter. Whoever has asked for less motion
// finds them stopped. Each NAME.gif has its last frame beside it, as NAME.still.png:
// conf.py writes that.
"use strict";

for (const film of document.querySelectorAll('main img[src$=".gif"]')) {
  const moving = film.src;
  const still = moving.replace(/gif$/, "still.png");
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const button = document.createElement("button");

  const play = (on) => {
    film.src = on ? moving : still;
    button.textContent = on ? "Stop" : "Play";
  };
  const toggle = (event) => {
    event.preventDefault(); // a figure is a link to itself in full size
    play(film.src !== moving);
  };

  const clicked = film.closest("a") ?? film;
  clicked.addEventListener("click", toggle);
  clicked.after(button);
  button.type = "button";
  button.className = "film-button";
  button.addEventListener("click", toggle);
  calm.addEventListener("change", () => play(!calm.matches));
  play(!calm.matches);
}
