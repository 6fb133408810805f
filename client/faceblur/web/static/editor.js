// Corrects the masks of a finished file, frame by frame; what is changed here counts once it is applied.

import * as api from "./api.js";
import { BoxForm } from "./box_form.js";
import { fileButtons } from "./correction_files.js";
import { CorrectionList } from "./correction_list.js";
import * as list from "./corrections.js";
import { button, element } from "./elements.js";
import { Frames } from "./frames.js";
import { Stage } from "./stage.js";
import { texts } from "./texts.js";
import { Timeline } from "./timeline.js";

const words = texts.masks;
const letterOf = (index) => String.fromCharCode(65 + (index % 26)) + (index < 26 ? "" : Math.floor(index / 26));

export class Editor {
  // job: a finished file; onClose is called without arguments when it is done with.
  constructor(job, onClose) {
    const { corrections } = job.result.edits;
    // base: those of the result that is shown.
    Object.assign(this, { job, corrections, base: corrections, faces: [], leaks: [], index: 0, shown: null });
    this.node = element("fieldset", "editor");
    this.said = element("p", "hint", { textContent: words.loading });
    this.said.setAttribute("role", "status");
    this.close = button(texts.close, "", onClose);
    this.hint = element("p", "hint");
    this.node.append(element("legend", "", { textContent: words.open }), this.hint);
    this.body = element("div", "body");
    const actions = element("div", "actions");
    this.apply = button(texts.apply, "", () => this.#apply());
    this.apply.classList.add("main");
    const files = fileButtons(job, {
      correctionsOf: () => this.corrections,
      onOpen: (opened) => this.#change(opened),
      onFail: (sentence) => (this.said.textContent = sentence),
    });
    actions.append(this.apply, ...files, this.close);
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
      this.frames = new Frames(await api.framesOf(this.job.id));
    } catch (error) {
      this.said.textContent = words.notShown(error.message);
      return;
    }
    const { frames } = this;
    this.hint.textContent = words.hints[frames.kind];
    this.stage = new Stage(frames.sizeOf(0), {
      address: (side) => api.frameOf(this.job.id, frames.atOf(this.index), side, this.version),
      onBox: (box, index) => this.#draw(box, index),
      onFace: (face) => this.#toggle(face),
    });
    this.outlines = element("input", "", { type: "checkbox" });
    this.outlines.addEventListener("change", () => this.#outline());
    const label = element("label", "line");
    label.append(this.outlines, words.outlines);
    this.here = element("div", "here");
    this.draw = button(words.draw, "", () => this.#drawInTheMiddle());
    const here = element("div", "actions");
    here.append(this.draw, this.here);
    this.form = new BoxForm(frames, {
      onChange: () => this.#outline(),
      onAdd: (drawn) => this.#change(list.withBox(this.corrections, drawn, frames)),
      onEnd: () => this.draw.focus(),
    });
    this.list = new CorrectionList(frames, {
      change: (corrections) => this.#change(corrections),
      go: (index) => this.#go(index),
      drop: (corrections) => {
        this.#change(corrections);
        this.draw.focus();
      },
    });
    this.body.append(this.stage.node);
    if (frames.count > 1) {
      this.timeline = new Timeline(frames, (index) => this.#go(index));
      this.body.append(this.timeline.node);
    }
    this.body.append(label, here, this.form.node, this.list.node);
    // A frame that a person was looking at.
    const drawn = this.corrections.find(list.isDrawn);
    // The image is what this is about, and what is pressed first stands beneath it.
    this.node.scrollIntoView({ block: "start" });
    if (document.activeElement === this.close) (this.timeline?.position ?? this.draw).focus({ preventScroll: true });
    await this.#go(drawn ? list.firstOf(drawn, frames) : 0);
  }

  // Shows a frame; of those that are wanted meanwhile only the last one.
  async #go(index) {
    this.index = Math.min(Math.max(0, index), this.frames.count - 1);
    this.timeline?.at(this.index);
    this.isStale = true;
    this.#present(null);
    if (this.isLoading) return;
    this.isLoading = true;
    while (this.isStale && this.job.state === "done") {
      this.isStale = false;
      this.stage.outline([], [], false);
      try {
        const { index: wanted, frames } = this;
        const shown = this.stage.show(texts.maskedAlt(this.job.name), frames.sizeOf(wanted));
        const [found] = await Promise.all([api.found(this.job.id, frames.atOf(wanted)), shown]);
        if (this.isStale) continue;
        Object.assign(this, { faces: found.faces, leaks: found.leaks });
        this.timeline?.mark(found.places);
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

  #removedAt(face) {
    return list.removedAt(this.corrections, face, this.index, this.frames);
  }

  // What somebody drew is taken back in the list.
  #isRemovable(face) {
    return this.#removedAt(face) >= 0 || (face.covered && !face.drawn);
  }

  #toggle(face) {
    if (!this.#isRemovable(face)) {
      this.said.textContent = words.notRemovable;
      return;
    }
    const at = this.#removedAt(face);
    if (at >= 0) this.#change(list.without(this.corrections, at));
    else this.#change(list.withRemoval(this.corrections, face, this.index, this.frames));
  }

  #change(corrections) {
    this.corrections = corrections;
    this.#refresh();
  }

  #refresh() {
    this.#outline();
    this.#listFaces();
    this.list.show(this.corrections, this.index);
    this.form.offer([...this.corrections.keys()].filter((i) => list.isDrawn(this.corrections[i])));
    this.#tell();
  }

  #outline(lit = null) {
    const faces = this.faces.map((face, i) => {
      const state = this.#removedAt(face) >= 0 ? "gone" : face.covered ? "masked" : "seen";
      return { ...face, name: this.#nameOf(face, i), state, lit: face === lit };
    });
    faces.push(...this.leaks.map((box, i) => ({ box, name: letterOf(i), state: box === lit ? "leak lit" : "leak" })));
    const boxes = list.drawnAt(this.corrections, this.index, this.frames);
    if (this.form.box && this.form.index === this.index) boxes.push(this.form.box);
    this.stage.outline(faces, boxes, this.outlines.checked);
  }

  // A mask has one number in all of a video; what has no track is no mask that can be removed.
  #nameOf(face, index) {
    return this.frames.kind === "video" ? face.track || "" : index + 1;
  }

  // What a mouse does in the frame, for whoever has none.
  #listFaces() {
    const held = [...this.here.children].indexOf(document.activeElement);
    const masks = this.faces.map((face, index) => {
      const gone = this.#removedAt(face) >= 0;
      const made = this.#marking((gone ? words.coverAgain : words.removeMask)(this.#nameOf(face, index)), face, () => this.#toggle(face));
      made.hidden = !this.#isRemovable(face);
      return made;
    });
    const leaks = this.leaks.map((box, index) => {
      return this.#marking(words.coverLeak(letterOf(index)), box, () => this.#draw(box.map(Math.round), this.shown));
    });
    this.here.replaceChildren(...leaks, ...masks);
    this.here.children[held]?.focus();
  }

  // A button that shows in the frame what it is for.
  #marking(text, what, onClick) {
    const made = button(text, "", onClick);
    for (const type of ["focus", "pointerenter"]) made.addEventListener(type, () => this.#outline(what));
    for (const type of ["blur", "pointerleave"]) made.addEventListener(type, () => this.#outline());
    return made;
  }

  // index: of the frame in which it was drawn; null while none is shown.
  #draw(box, index) {
    if (index !== null) this.form.open(box, index);
  }

  #drawInTheMiddle() {
    const { width, height, pixel_aspect } = this.frames.sizeOf(this.index);
    const side = Math.min(width * pixel_aspect, height) / 4;
    const [across, down] = [Math.round(side / pixel_aspect), Math.round(side)];
    const [x, y] = [Math.round((width - across) / 2), Math.round((height - down) / 2)];
    this.#draw([x, y, x + across, y + down], this.shown);
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
