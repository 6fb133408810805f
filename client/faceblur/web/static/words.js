// Puts the words of the page into its elements.

import { texts } from "./texts.js";

export function showTexts() {
  for (const node of document.querySelectorAll("[data-text]")) {
    node.textContent = texts[node.dataset.text];
  }
}

// The cameras of the network are there for those who have named some.
export function showWays(session) {
  for (const node of document.querySelectorAll("nav [href='/cameras']")) node.hidden = !session.has_cameras;
}
