// Corrects the masks of a finished file, frame by frame; what is changed here counts once it is applied.

import * as api from "./api.js";
import * as list from "./corrections.js";
import { button, element } from "./elements.js";
import { Stage } from "./stage.js";
import { texts } from "./texts.js";

const words = texts.masks;
const letterOf = (index) => String.fromCharCode(65 + (index % 26)) + (index < 26 ? "" : Math.floor(index / 26));

export class Editor {
  // job: a finished file; onClose is called without arguments when it is done with.
  constructor(job, onClose) {
    const { corrections } = job.result.edits;
    // base: those of the result that is shown.
    Object.assign(this, { job, corrections, base: corrections, faces: [], leaks: [], places: [], index: 0, shown: null });
    this.isVideo = job.kind === "video";
    this.node = element("fieldset", "editor");
    this.said = element("p", "hint", { textContent: words.loading });
    this.said.setAttribute("role", "status");
    this.close = button(texts.close, "", onClose);
    this.node.append(element("legend", "", { textContent: words.open }));
    this.node.append(element("p", "hint", { textContent: this.isVideo ? words.hintVideo : words.hintPhoto }));
    this.body = element("div", "body");
    const actions = element("div", "actions");
    this.apply = button(texts.apply, "", () => this.#apply());
    this.apply.classList.add("main");
    actions.append(this.apply, ...this.#files(), this.close);
    this.node.append(this.body, this.said, actions);
    this.#begin();
  }

  // The file has changed: it is made again, or another of its results counts.
  update(job) {
    this.job = job;
    if (job.state === "done") {
      const isOther = this.version !== job.result.version;
      this.version = job.result.version;
      const { corrections } = job.result.edits;
      if (!list.same(corrections, this.base)) {
        // Another page may have changed the file, too: nothing of both is lost.
        this.corrections = list.merged(this.corrections, this.base, corrections);
        this.base = corrections;
      }
      if (this.stage && (isOther || this.isStale)) this.#go(this.index);
    }
    this.#tell();
  }

  async #begin() {
    this.version = this.job.result.version;
    try {
      Object.assign(this, await api.framesOf(this.job.id));
    } catch (error) {
      this.said.textContent = words.notShown(error.message);
      return;
    }
    this.stage = new Stage(this, {
      address: (side) => api.frameOf(this.job.id, this.times[this.index], side, this.version),
      onBox: (box, index) => this.#draw(box, index),
      onFace: (face) => this.#toggle(face),
    });
    this.body.append(this.stage.node, ...(this.times.length > 1 ? [this.#timeline()] : []));
    this.outlines = element("input", "", { type: "checkbox" });
    this.outlines.addEventListener("change", () => this.#outline());
    const label = element("label", "line");
    label.append(this.outlines, words.outlines);
    this.here = element("div", "here");
    this.form = this.#form();
    this.list = element("ol", "corrections");
    this.draw = button(words.draw, "", () => {
      const { width, height } = this;
      const side = Math.round(Math.min(width, height) / 4);
      const [x, y] = [Math.round((width - side) / 2), Math.round((height - side) / 2)];
      this.#draw([x, y, x + side, y + side], this.shown);
    });
    const here = element("div", "actions");
    here.append(this.draw, this.here);
    this.body.append(label, here, this.form, this.list);
    await this.#go(this.#firstSeen());
  }

  // A frame in which there is something to correct, or that a person was looking at.
  #firstSeen() {
    const drawn = this.corrections.find(list.isDrawn);
    return drawn ? this.#frameAt(list.firstOf(drawn)) : 0;
  }

  #frameAt(seconds) {
    const after = this.times.findIndex((time) => time > seconds + 1e-6);
    return Math.max(0, (after < 0 ? this.times.length : after) - 1);
  }

  #timeline() {
    const row = element("div", "timeline");
    const step = (by) => () => this.#go(this.index + by);
    this.position = element("input", "", { type: "range", min: 0, max: this.times.length - 1 });
    this.position.addEventListener("input", () => this.#go(Number(this.position.value)));
    this.time = element("output", "time");
    const previous = button(words.previous, "", step(-1));
    const label = element("label", "slide", { textContent: words.position });
    label.append(this.position);
    // Where the check has found something.
    this.onward = button(words.onward, "", () => this.#go(this.places.find((place) => place > this.index) ?? this.places[0]));
    row.append(label, previous, button(words.next, "", step(1)), this.onward, this.time);
    return row;
  }

  // Shows a frame; of those that are wanted meanwhile only the last one.
  async #go(index) {
    this.index = Math.min(Math.max(0, index), this.times.length - 1);
    if (this.position) {
      this.position.value = this.index;
      this.time.textContent = words.frame(this.times[this.index], this.index, this.times.length);
      this.position.setAttribute("aria-valuetext", this.time.textContent);
    }
    this.isStale = true;
    this.#present(null);
    if (this.isLoading) return;
    this.isLoading = true;
    while (this.isStale && this.job.state === "done") {
      this.isStale = false;
      this.stage.outline([], [], false);
      try {
        const at = this.times[this.index];
        const [found] = await Promise.all([api.found(this.job.id, at), this.stage.show(texts.maskedAlt(this.job.name))]);
        if (this.isStale) continue;
        Object.assign(this, { faces: found.faces, leaks: found.leaks, places: found.places });
        this.#present(this.index);
        // What is shown may lag behind what is wanted.
        this.node.dataset.frame = `${this.version}/${this.index}`;
      } catch {
        if (!this.isStale && this.job.state === "done") this.said.textContent = words.notRead;
      }
    }
    this.isLoading = false;
    this.#refresh();
  }

  // Until a frame is there, nobody can draw in it, nor in the one before.
  #present(index) {
    this.shown = index;
    this.stage.shownFrame = index;
    this.draw.setAttribute("aria-disabled", String(index === null));
  }

  #stateOf(face) {
    if (list.removedAt(this.corrections, face) >= 0) return "gone";
    return face.covered ? "masked" : "seen";
  }

  // A box that somebody drew has no track; in a photo nothing has.
  #isRemovable(face) {
    if (list.removedAt(this.corrections, face) >= 0) return true;
    if (this.isVideo) return face.covered && face.track > 0;
    return face.covered && !this.base.some(
      (each) => list.isDrawn(each) && list.same(each.keyframes[0].box, face.box),
    );
  }

  #toggle(face) {
    if (!this.#isRemovable(face)) {
      this.said.textContent = words.notRemovable;
      return;
    }
    const at = list.removedAt(this.corrections, face);
    this.#change(at < 0 ? list.withRemoval(this.corrections, face) : list.without(this.corrections, at));
  }

  #change(corrections) {
    this.corrections = corrections;
    this.#refresh();
  }

  #refresh() {
    this.#outline();
    this.#listFaces();
    this.#listCorrections();
    this.#tell();
  }

  #outline(lit = null) {
    const faces = this.faces.map((face, i) => ({ ...face, name: this.#nameOf(face, i), state: this.#stateOf(face), lit: face === lit }));
    const boxes = list.drawnAt(this.corrections, this.times[this.index]);
    faces.push(...this.leaks.map((box, i) => ({ box, name: letterOf(i), state: box === lit ? "leak lit" : "leak" })));
    const isDraftHere = this.draft && this.draftOf === this.index;
    this.stage.outline(faces, isDraftHere ? [...boxes, this.draft] : boxes, this.outlines.checked);
  }

  // A mask has one number in all of a video; what has no track is no mask that can be removed.
  #nameOf(face, index) {
    return this.isVideo ? face.track || "" : index + 1;
  }

  // What a mouse does in the frame, for whoever has none.
  #listFaces() {
    const held = [...this.here.children].indexOf(document.activeElement);
    const masks = this.faces.map((face, index) => {
      const gone = list.removedAt(this.corrections, face) >= 0;
      const made = this.#marking((gone ? words.coverAgain : words.removeMask)(this.#nameOf(face, index)), face, () => this.#toggle(face));
      made.hidden = !this.#isRemovable(face);
      return made;
    });
    const leaks = this.leaks.map((box, index) => {
      return this.#marking(words.coverLeak(letterOf(index)), box, () => this.#draw(box.map(Math.round), this.shown));
    });
    this.here.replaceChildren(...leaks, ...masks);
    this.here.children[held]?.focus();
    if (this.onward) this.onward.hidden = this.places.length === 0;
  }

  // A button that shows in the frame what it is for.
  #marking(text, what, onClick) {
    const made = button(text, "", onClick);
    for (const type of ["focus", "pointerenter"]) made.addEventListener(type, () => this.#outline(what));
    for (const type of ["blur", "pointerleave"]) made.addEventListener(type, () => this.#outline());
    return made;
  }

  #listCorrections() {
    this.list.hidden = this.corrections.length === 0;
    this.list.replaceChildren(
      ...this.corrections.map((correction, index) => {
        const item = element("li", "");
        const parts = element("div", "actions");
        if (list.isDrawn(correction) && this.isVideo) {
          const ends = button(words.endsHere, words.endsHereName(index + 1), () => {
            this.#change(list.endingAt(this.corrections, index, this.times[this.index]));
          });
          const goes = button(words.goThere, words.goThereName(index + 1), () => this.#go(this.#frameAt(list.firstOf(correction))));
          ends.hidden = this.times[this.index] <= list.lastOf(correction);
          parts.append(goes, ends);
        }
        parts.append(
          button(words.drop, words.dropName(index + 1), () => {
            this.#change(list.without(this.corrections, index));
            this.draw.focus();
          }),
        );
        item.append(element("span", "", { textContent: words.correction(correction, this.isVideo) }), parts);
        return item;
      }),
    );
    const drawn = [...this.corrections.entries()].filter(([, each]) => list.isDrawn(each));
    this.of.replaceChildren(
      new Option(words.newFace, ""),
      ...drawn.map(([index]) => new Option(words.ofCorrection(index + 1), index)),
    );
    this.of.parentNode.hidden = !this.isVideo || drawn.length === 0;
  }

  #form() {
    const form = element("div", "box", { hidden: true });
    const sides = element("div", "sides");
    this.numbers = words.sides.map((name) => {
      const number = element("input", "", { type: "number", step: 1 });
      number.addEventListener("input", () => this.#read());
      const label = element("label", "", { textContent: name });
      label.append(number);
      sides.append(label);
      return number;
    });
    this.follow = element("input", "", { type: "checkbox", checked: true });
    const follow = element("label", "line", { hidden: !this.isVideo });
    follow.append(this.follow, words.follow);
    this.of = element("select", "");
    const of = element("label", "line", { textContent: words.belongsTo });
    of.append(this.of);
    const actions = element("div", "actions");
    const add = button(words.add, "", () => this.#add());
    add.classList.add("main");
    actions.append(add, button(words.discard, "", () => this.#undraw()));
    form.append(sides, follow, of, actions);
    return form;
  }

  // index: of the frame in which it was drawn, whichever is shown meanwhile.
  #draw(box, index) {
    if (index === null) return;
    this.draft = box;
    this.draftOf = index;
    this.form.hidden = false;
    const [x0, y0, x1, y1] = box;
    [x0, y0, x1 - x0, y1 - y0].forEach((value, i) => {
      this.numbers[i].value = value;
      this.numbers[i].min = i < 2 ? 0 : 2;
      this.numbers[i].max = i % 2 ? this.height : this.width;
    });
    this.#outline();
    this.numbers[0].select();
  }

  #read() {
    const [x, y, width, height] = this.numbers.map((number) => Math.round(Number(number.value)) || 0);
    this.draft = [x, y, x + Math.max(2, width), y + Math.max(2, height)];
    this.#outline();
  }

  #undraw() {
    this.draft = null;
    this.form.hidden = true;
    this.#outline();
    this.draw.focus();
  }

  #add() {
    const of = this.of.value === "" ? null : Number(this.of.value);
    const box = { at: this.times[this.draftOf], box: this.draft, follow: this.isVideo && this.follow.checked, of };
    this.#change(list.withBox(this.corrections, box));
    this.#undraw();
  }

  #files() {
    const save = button(words.save, "", () => {
      const text = `${JSON.stringify({ corrections: this.corrections }, null, 2)}\n`;
      const href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
      element("a", "", { href, download: words.fileName(this.job.name) }).click();
      URL.revokeObjectURL(href);
    });
    const input = element("input", "unseen", { type: "file", accept: ".json,application/json", id: `open-${this.job.id}` });
    const label = element("label", "button", { textContent: words.openFile, htmlFor: input.id });
    input.addEventListener("change", async () => {
      const [file] = input.files;
      input.value = "";
      try {
        const { corrections } = await api.openCorrections(this.job.id, file);
        this.#change(corrections);
      } catch (error) {
        this.said.textContent = words.notOpened(error.message);
      }
    });
    return [save, input, label];
  }

  #tell() {
    if (!this.stage) return;
    const busy = this.job.state !== "done";
    const pending = !busy && !list.same(this.corrections, this.base);
    this.apply.setAttribute("aria-disabled", String(!pending));
    this.said.textContent = busy ? words.making : pending ? words.pending : "";
  }

  async #apply() {
    if (this.apply.getAttribute("aria-disabled") === "true") return;
    try {
      this.update(await api.edit(this.job.id, { ...this.job.result.edits, corrections: this.corrections }));
    } catch (error) {
      this.said.textContent = texts.notApplied(error.message);
    }
  }
}
