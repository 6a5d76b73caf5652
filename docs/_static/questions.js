// "Check yourself": a question, answers to choose from, and folded below them what is to
// say of each. Here they become a form that says it of the one that was chosen.
"use strict";

for (const box of document.querySelectorAll("div.question")) {
  const [question, choices, folded] = box.children;
  const says = folded.querySelector("ol");
  const form = document.createElement("form");
  const fields = document.createElement("fieldset");
  const legend = document.createElement("legend");
  const button = document.createElement("button");
  const verdict = document.createElement("div");
  legend.append(...question.childNodes);
  fields.append(legend);
  [...choices.children].forEach((choice, i) => {
    const label = document.createElement("label");
    const radio = document.createElement("input");
    const words = document.createElement("span");
    Object.assign(radio, { type: "radio", name: box.id, value: i, required: true });
    words.append(...choice.firstElementChild.childNodes);
    label.append(radio, words);
    fields.append(label);
  });
  button.textContent = "Check";
  verdict.setAttribute("aria-live", "polite");
  form.append(fields, button, verdict);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const chosen = says.children[new FormData(form).get(box.id)];
    verdict.replaceChildren(...chosen.cloneNode(true).childNodes);
  });
  form.addEventListener("change", () => verdict.replaceChildren());
  says.hidden = true; // and yet in the page, so that its formulas are set
  box.replaceChildren(form, says);
}
