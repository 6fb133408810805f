// What somebody has corrected so far, each with what can be done about it.

import * as list from "./corrections.js";
import { button, element } from "./elements.js";
import { texts } from "./texts.js";

const words = texts.masks;

export class CorrectionList {
  // on: { change(corrections), go(index), drop(corrections) }.
  constructor(frames, on) {
    Object.assign(this, { frames, on });
    this.node = element("ol", "corrections");
  }

  // index: of the frame that is shown.
  show(corrections, index) {
    this.node.hidden = corrections.length === 0;
    this.node.replaceChildren(...corrections.map((each, i) => this.#item(corrections, each, i, index)));
  }

  #item(corrections, correction, i, index) {
    const { frames, on } = this;
    const item = element("li", "");
    const parts = element("div", "actions");
    const add = (text, name, hidden, onClick) => {
      const made = button(text, name(i + 1), onClick);
      made.hidden = hidden;
      parts.append(made);
    };
    const isOfTrack = correction.remove?.track !== undefined;
    if (frames.count > 1 && !isOfTrack) {
      add(words.goThere, words.goThereName, false, () => on.go(list.firstOf(correction, frames)));
      const isOver = index <= list.lastOf(correction, frames);
      if (correction.remove) {
        add(words.removedToHere, words.toHereName, isOver, () => on.change(list.endingAt(corrections, i, index + 1, frames)));
      } else if (list.isFollowed(correction)) {
        add(words.endsHere, words.endsHereName, isOver, () => on.change(list.endingAt(corrections, i, index, frames)));
      } else {
        add(words.coveredToHere, words.toHereName, isOver, () => on.change(list.heldTo(corrections, i, index, frames)));
      }
    }
    add(words.drop, words.dropName, false, () => on.drop(list.without(corrections, i)));
    item.append(element("span", "", { textContent: words.correction(correction, frames.kind) }), parts);
    return item;
  }
}
