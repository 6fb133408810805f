// The result, and beside it the user's own file, which never leaves the browser for this.

import { element } from "./elements.js";
import { texts } from "./texts.js";

export class Comparison {
  // view: where to show it; original: a File, or undefined after a reload.
  constructor(view, name, address, original, onError) {
    const after = new Image();
    after.alt = texts.maskedAlt(name);
    after.src = address;
    after.addEventListener("error", onError);
    view.append(after);
    if (original === undefined) return;
    this.address = URL.createObjectURL(original);
    const before = new Image();
    before.className = "before";
    before.alt = texts.originalAlt(name);
    before.src = this.address;
    const slider = document.createElement("input");
    slider.type = "range";
    slider.min = 0;
    slider.max = 100;
    slider.value = 0;
    slider.setAttribute("aria-label", texts.compare);
    const move = () => {
      view.style.setProperty("--seen", `${slider.value}%`);
      before.hidden = slider.value === "0";
    };
    slider.addEventListener("input", move);
    // Browsers do not know every format: then there is nothing to compare with.
    const hint = element("p", "hint", { textContent: texts.compare, ariaHidden: "true" });
    before.addEventListener("load", () => view.append(before, slider, hint));
    before.addEventListener("error", () => this.close());
    move();
  }

  close() {
    if (this.address) URL.revokeObjectURL(this.address);
    this.address = null;
  }
}
