// One frame: the result, and over it the original as far as the slider says, and outlines.
// A drag draws a box, and a click names the face that is there.

import { element } from "./elements.js";
import { texts } from "./texts.js";

const SVG = "http://www.w3.org/2000/svg";
const LEAST_PX = 5; // on the screen: a hand is not still when it clicks

export class Stage {
  // size: { width, height, pixel_aspect } of the frame; address(side): where a side of the present frame is;
  // onBox(box, frame) and onFace(face): what somebody drew, in which frame, or clicked at.
  constructor(size, { address, onBox, onFace }) {
    Object.assign(this, { address, onBox, onFace, faces: [], shownFrame: null });
    this.node = element("div", "stage");
    this.shown = element("div", "shown");
    this.after = element("img", "", { draggable: false });
    this.before = element("img", "before", { draggable: false, hidden: true });
    this.before.alt = texts.masks.originalFrame;
    this.drawing = document.createElementNS(SVG, "svg");
    this.drawing.setAttribute("preserveAspectRatio", "none");
    this.drawing.setAttribute("aria-hidden", "true");
    this.shown.append(this.after, this.before, this.drawing);
    this.#fit(size);
    this.slider = element("input", "", { type: "range", min: 0, max: 100, value: 0 });
    this.slider.addEventListener("input", () => this.#compare());
    const label = element("label", "slide", { textContent: texts.compare });
    label.append(this.slider);
    this.node.append(this.shown, label);
    this.#takePointer();
    this.#compare();
  }

  // Shows a frame, once it is there, and says in words what it is; throws an Error if that fails.
  async show(words, size) {
    this.#fit(size);
    this.after.alt = words;
    this.after.src = this.address("masked");
    this.before.removeAttribute("src");
    this.#compare();
    await this.after.decode();
  }

  // What is shown has square pixels; boxes are in those of the file.
  #fit(size) {
    this.size = size;
    this.shown.style.setProperty("--ratio", (size.width * size.pixel_aspect) / size.height);
    this.drawing.setAttribute("viewBox", `0 0 ${size.width} ${size.height}`);
  }

  // faces: with a `name`, a `state` masked, gone, seen or leak and `lit` for the one that is meant; boxes: drawn ones.
  outline(faces, boxes, all) {
    this.faces = faces;
    const made = faces.map((face) => this.#rect(face.box, `${face.state}${face.lit ? " lit" : ""}`, face.name));
    made.push(...boxes.map((box) => this.#rect(box, "draft")));
    this.drawing.classList.toggle("all", all);
    this.drawing.replaceChildren(...made);
  }

  #rect([x0, y0, x1, y1], className, name) {
    const group = document.createElementNS(SVG, "g");
    group.setAttribute("class", className);
    const rect = document.createElementNS(SVG, "rect");
    for (const [name, value] of Object.entries({ x: x0, y: y0, width: x1 - x0, height: y1 - y0 })) {
      rect.setAttribute(name, value);
    }
    group.append(rect);
    if (name) {
      const text = document.createElementNS(SVG, "text");
      // Letters keep their shape where pixels are not square.
      text.setAttribute("transform", `translate(${x0} ${y0}) scale(${1 / this.size.pixel_aspect} 1)`);
      text.setAttribute("font-size", Math.max(12, (this.size.width * this.size.pixel_aspect) / 40));
      text.textContent = name;
      group.append(text);
    }
    return group;
  }

  #compare() {
    const seen = Number(this.slider.value);
    this.node.style.setProperty("--seen", `${seen}%`);
    this.before.hidden = seen === 0;
    if (seen > 0 && !this.before.hasAttribute("src")) this.before.src = this.address("original");
  }

  #at(event) {
    const { left, top, width, height } = this.shown.getBoundingClientRect();
    const x = ((event.clientX - left) / width) * this.size.width;
    const y = ((event.clientY - top) / height) * this.size.height;
    return [Math.min(Math.max(x, 0), this.size.width), Math.min(Math.max(y, 0), this.size.height)];
  }

  #takePointer() {
    let from = null;
    const box = (event) => {
      const [x, y] = this.#at(event);
      const [x0, y0] = from.at;
      return [Math.min(x, x0), Math.min(y, y0), Math.max(x, x0), Math.max(y, y0)].map(Math.round);
    };
    const isDrag = (event) =>
      Math.min(Math.abs(event.clientX - from.x), Math.abs(event.clientY - from.y)) >= LEAST_PX;
    this.shown.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || this.shownFrame === null) return;
      event.preventDefault();
      this.shown.setPointerCapture(event.pointerId);
      from = { at: this.#at(event), x: event.clientX, y: event.clientY, frame: this.shownFrame };
    });
    this.shown.addEventListener("pointermove", (event) => {
      if (from !== null && from.frame === this.shownFrame && isDrag(event)) this.outline(this.faces, [box(event)], this.drawing.classList.contains("all"));
    });
    this.shown.addEventListener("pointercancel", () => {
      from = null;
    });
    this.shown.addEventListener("pointerup", (event) => {
      if (from === null) return;
      const drawn = isDrag(event) ? box(event) : null;
      const { at: [x, y], frame } = from;
      from = null;
      // Whoever has gone on to another frame meanwhile draws nothing in either.
      if (frame !== this.shownFrame) return;
      if (drawn) {
        this.onBox(drawn, frame);
        return;
      }
      const face = this.faces.findLast(({ state, box: [x0, y0, x1, y1] }) => !state.startsWith("leak") && x0 <= x && x <= x1 && y0 <= y && y <= y1);
      if (face) this.onFace(face);
    });
  }
}
