// Which frame is shown: a range over all of them, a step back and on, and the next place to look at.

import { button, element } from "./elements.js";
import { texts } from "./texts.js";

const words = texts.masks;

export class Timeline {
  // onGo(index): somebody wants to see a frame.
  constructor(frames, onGo) {
    this.frames = frames;
    this.places = [];
    this.node = element("div", "timeline");
    const names = words.steps[frames.kind];
    this.position = element("input", "", { type: "range", min: 0, max: frames.count - 1 });
    this.position.addEventListener("input", () => onGo(Number(this.position.value)));
    this.time = element("output", "time");
    const label = element("label", "slide", { textContent: names.position });
    label.append(this.position);
    // Where the check has found something.
    this.onward = button(words.onward, "", () => onGo(this.places.find((place) => place > this.index) ?? this.places[0]));
    const step = (text, by) => button(text, "", () => onGo(this.index + by));
    this.node.append(label, step(names.previous, -1), step(names.next, 1), this.onward, this.time);
  }

  at(index) {
    this.index = index;
    this.position.value = index;
    this.time.textContent = words.place(this.frames, index);
    this.position.setAttribute("aria-valuetext", this.time.textContent);
  }

  // places: frames in which the check has found something.
  mark(places) {
    this.places = places;
    this.onward.hidden = places.length === 0;
  }
}
