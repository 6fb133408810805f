// A box that is being drawn: its place in numbers, whether it is followed, and whose it is.

import { button, element } from "./elements.js";
import { texts } from "./texts.js";

const words = texts.masks;

export class BoxForm {
  // onChange(): the box is another; onAdd({ index, box, follow, of }): it is wanted; onEnd(): the form is left.
  constructor(frames, { onChange, onAdd, onEnd }) {
    Object.assign(this, { frames, onChange, onEnd, box: null, index: null });
    this.node = element("div", "box", { hidden: true });
    const sides = element("div", "sides");
    this.numbers = words.sides.map((name) => {
      const number = element("input", "", { type: "number", step: 1 });
      number.addEventListener("input", () => this.#read());
      const label = element("label", "", { textContent: name });
      label.append(number);
      sides.append(label);
      return number;
    });
    this.follow = element("input", "", { type: "checkbox", checked: frames.areFollowed });
    const follow = element("label", "line", { hidden: !frames.areFollowed });
    follow.append(this.follow, words.follow);
    this.of = element("select", "");
    this.ofLine = element("label", "line", { textContent: words.belongsTo });
    this.ofLine.append(this.of);
    const actions = element("div", "actions");
    const add = button(words.add, "", () => {
      const of = this.of.value === "" ? null : Number(this.of.value);
      const { index, box } = this;
      this.#leave();
      onAdd({ index, box, follow: this.follow.checked, of });
    });
    add.classList.add("main");
    actions.append(add, button(words.discard, "", () => this.#leave()));
    this.node.append(sides, follow, this.ofLine, actions);
  }

  // index: of the frame in which it was drawn, whichever is shown meanwhile.
  open(box, index) {
    Object.assign(this, { box, index });
    this.node.hidden = false;
    const { width, height } = this.frames.sizeOf(index);
    const [x0, y0, x1, y1] = box;
    [x0, y0, x1 - x0, y1 - y0].forEach((value, i) => {
      this.numbers[i].value = value;
      this.numbers[i].min = i < 2 ? 0 : 2;
      this.numbers[i].max = i % 2 ? height : width;
    });
    this.onChange();
    this.numbers[0].select();
  }

  // drawn: places in the list of corrections that it may belong to.
  offer(drawn) {
    this.of.replaceChildren(
      new Option(words.newFace, ""),
      ...drawn.map((index) => new Option(words.ofCorrection(index + 1), index)),
    );
    this.ofLine.hidden = this.frames.count === 1 || drawn.length === 0;
  }

  #read() {
    const [x, y, width, height] = this.numbers.map((number) => Math.round(Number(number.value)) || 0);
    this.box = [x, y, x + Math.max(2, width), y + Math.max(2, height)];
    this.onChange();
  }

  #leave() {
    this.box = null;
    this.node.hidden = true;
    this.onChange();
    this.onEnd();
  }
}
