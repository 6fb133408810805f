// Puts the words of the page into its elements.

import { texts } from "./texts.js";

export function showTexts() {
  for (const node of document.querySelectorAll("[data-text]")) {
    node.textContent = texts[node.dataset.text];
  }
}
