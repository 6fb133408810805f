// How masks look, and what becomes of the sound: seen in one frame at once, then made.

import * as api from "./api.js";
import { button, element } from "./elements.js";
import { texts } from "./texts.js";

const { looks } = texts;
const PAUSE_MS = 120; // while a slider moves, not every step of it is drawn

export class Look {
  // jobOf: gives a finished file as it is now; at: a time of the video to show, or null; onClose:
  // called when it is done.
  constructor(jobOf, at, onClose) {
    this.jobOf = jobOf;
    const job = jobOf();
    this.job = job;
    this.at = at;
    this.onClose = onClose;
    this.node = element("fieldset", "look");
    this.said = element("p", "hint");
    this.said.setAttribute("role", "status");
    this.image = element("img", "", { alt: looks.alt(job.name) });
    this.image.addEventListener("error", () => this.#unseen());
    this.parts = element("div", "parts");
    this.close = button(texts.close, "", onClose);
    this.node.append(element("legend", "", { textContent: looks.title(job.has_sound) }), this.image);
    this.node.append(this.parts, this.said);
    this.#build();
  }

  async #build() {
    const { look, modes, most_cells } = await api.settings();
    this.usual = look;
    this.look = { ...look, ...this.job.result.edits.look };
    const { audio = "keep", muted = [] } = this.job.result.edits.sound ?? {};
    this.sound = { audio: muted.length ? "parts" : audio, muted: muted.map(({ effect, time }) => ({ effect, ...time })) };
    this.apply = button(texts.apply, "", () => this.#apply());
    this.apply.classList.add("main");
    const usual = button(looks.usual, "", () => {
      this.look = { ...this.usual };
      this.#fill(modes, most_cells);
      this.#draw();
    });
    const actions = element("div", "actions");
    actions.append(this.apply, usual, this.close);
    this.node.append(actions);
    this.#fill(modes, most_cells);
    this.#draw();
    this.node.scrollIntoView({ block: "nearest" });
    this.parts.querySelector("input:checked").focus({ preventScroll: true });
  }

  #fill(modes, mostCells) {
    const { look } = this;
    const kinds = this.#radios(looks.kind, "mode", modes.map((mode) => [mode, looks.modes[mode]]));
    const shapes = this.#radios(looks.shape, "shape", Object.entries(looks.shapes));
    const ranges = element("div", "ranges");
    this.colour = this.#field(looks.colour, { type: "color", value: look.colour }, (box) => (look.colour = box.value));
    const cells = { type: "range", min: 1, max: mostCells, step: 1, value: look.cells };
    this.cells = this.#field(looks.cells, cells, (box) => (look.cells = Number(box.value)));
    // Less than usual would show what is around the face: that is for whoever knows why.
    const low = Math.min(this.usual.expand, look.expand);
    const reach = { type: "range", min: low, max: Math.max(1.5, look.expand), step: 0.05, value: look.expand };
    const soft = { type: "range", min: 0, max: 1, step: 0.1, value: look.feather };
    ranges.append(
      this.colour,
      this.cells,
      this.#field(looks.reach, reach, (box) => (look.expand = Number(box.value))),
      this.#field(looks.soft, soft, (box) => (look.feather = Number(box.value))),
    );
    this.parts.replaceChildren(kinds, shapes, ranges);
    if (this.job.has_sound) this.parts.append(this.#sounds());
    this.#suit();
  }

  // What does nothing for the kind that is chosen is not shown.
  #suit() {
    this.colour.hidden = this.look.mode !== "solid";
    this.cells.hidden = !["blur", "pixelate"].includes(this.look.mode);
    this.said.textContent = this.cells.hidden ? "" : looks.weaker;
  }

  #radios(title, name, choices) {
    const group = element("fieldset", "choices");
    group.append(element("legend", "", { textContent: title }));
    for (const [value, text] of choices) {
      const checked = this.look[name] === value;
      const box = element("input", "", { type: "radio", name: `${name}-${this.job.id}`, value, checked });
      box.addEventListener("change", () => {
        this.look[name] = value;
        this.#suit();
        this.#draw();
      });
      const label = element("label", "line");
      label.append(box, text);
      group.append(label);
    }
    return group;
  }

  #field(title, properties, set) {
    const label = element("label", "field");
    const box = element("input", "", properties);
    box.addEventListener("input", () => {
      set(box);
      this.#draw();
    });
    label.append(title, box);
    return label;
  }

  #sounds() {
    const group = element("fieldset", "choices");
    group.append(element("legend", "", { textContent: looks.sound }));
    const rows = element("div", "rows");
    const more = button(looks.addPart, "", () => {
      this.sound.muted.push({ effect: "mute", start_s: 0, end_s: null });
      show();
      rows.lastElementChild.querySelector("input").focus();
    });
    const show = () => {
      rows.replaceChildren(...this.sound.muted.map((part) => this.#part(part, show)));
      rows.hidden = more.hidden = this.sound.audio !== "parts";
    };
    for (const [value, text] of Object.entries(looks.sounds)) {
      const checked = this.sound.audio === value;
      const box = element("input", "", { type: "radio", name: `sound-${this.job.id}`, value, checked });
      box.addEventListener("change", () => {
        this.sound.audio = value;
        if (value === "parts" && this.sound.muted.length === 0) more.click();
        show();
      });
      const label = element("label", "line");
      label.append(box, text);
      group.append(label);
    }
    group.append(rows, more);
    show();
    return group;
  }

  #part(part, show) {
    const row = element("div", "row");
    const time = (title, name, placeholder) => {
      const label = element("label", "", { textContent: title });
      const value = part[name] === null ? "" : texts.clock(part[name]);
      const box = element("input", "time", { type: "text", inputMode: "decimal", placeholder, value });
      box.addEventListener("input", () => {
        part[name] = seconds(box.value);
        box.setAttribute("aria-invalid", Number.isNaN(part[name]));
      });
      label.append(box);
      return label;
    };
    const effect = element("select", "", { ariaLabel: looks.instead });
    effect.append(...Object.entries(looks.effects).map(([value, text]) => new Option(text, value)));
    effect.value = part.effect;
    effect.addEventListener("change", () => (part.effect = effect.value));
    const gone = button("✕", looks.removePart, () => {
      this.sound.muted.splice(this.sound.muted.indexOf(part), 1);
      show();
    });
    row.append(time(looks.from, "start_s", "0:00"), time(looks.to, "end_s", looks.theEnd), effect, gone);
    return row;
  }

  #draw() {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => {
      const at = this.at === null ? "" : `&at=${this.at}`;
      this.image.hidden = false;
      this.image.src = `/api/jobs/${this.job.id}/look?look=${encodeURIComponent(JSON.stringify(this.look))}${at}`;
    }, PAUSE_MS);
  }

  #unseen() {
    if (this.at === null) this.image.hidden = true;
    else {
      // There is no frame at that time; of several faces there is one.
      this.at = null;
      this.#draw();
    }
  }

  async #apply() {
    const { audio, muted } = this.sound;
    const parts = audio === "parts" ? muted : [];
    if (parts.some(({ start_s, end_s }) => start_s === null || Number.isNaN(start_s) || Number.isNaN(end_s))) {
      this.said.textContent = looks.unclearTime;
      return;
    }
    const sound = {
      audio: audio === "drop" ? "drop" : "keep",
      muted: parts.map(({ effect, start_s, end_s }) => ({ effect, time: { start_s, end_s } })),
    };
    try {
      await api.edit(this.job.id, { ...this.jobOf().result.edits, look: this.look, sound });
      this.onClose();
    } catch (error) {
      this.said.textContent = texts.notApplied(error.message);
    }
  }
}

// 62.5, 1:02.5 or 1:01:02.5 in seconds; null for nothing, NaN for what is no time.
function seconds(text) {
  if (text.trim() === "") return null;
  if (!/^(\d+:){0,2}\d+(\.\d+)?$/.test(text.trim())) return NaN;
  return text.trim().split(":").reduce((sum, part) => 60 * sum + Number(part), 0);
}
