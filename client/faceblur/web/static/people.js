// Who stays visible in a video: one card a person, each covered until somebody says otherwise.

import * as api from "./api.js";
import { button, element } from "./elements.js";
import { texts } from "./texts.js";

export class People {
  // job: a finished video; onClose is called without arguments when it is done with.
  constructor(job, onClose) {
    this.job = job;
    this.onClose = onClose;
    this.node = element("fieldset", "people");
    this.said = element("p", "hint", { textContent: texts.looking });
    this.said.setAttribute("role", "status");
    const title = element("legend", "", { textContent: texts.chooseTitle });
    this.list = element("div", "faces");
    this.apply = button(texts.apply, "", () => this.#apply());
    this.apply.classList.add("main");
    this.apply.hidden = true;
    this.close = button(texts.close, "", onClose);
    const actions = element("div", "actions");
    actions.append(this.apply, this.close);
    this.node.append(title, this.said, this.list, actions);
    this.#load();
  }

  async #load() {
    try {
      const { people, covered } = await api.people(this.job.id);
      const kept = new Set(this.job.result.edits.kept);
      this.list.append(...people.map((person) => this.#face(person, kept.has(person.track))));
      this.said.textContent = people.length ? texts.chooseHint(covered) : texts.nobody;
      this.apply.hidden = people.length === 0;
      this.list.querySelector("input")?.focus();
    } catch (error) {
      this.said.textContent = texts.notLooked(error.message);
    }
  }

  #face(person, isKept) {
    const node = element("label", "face");
    const image = element("img", "", { src: api.viewOf(this.job.id, person.track) });
    image.alt = texts.faceAlt(person);
    const box = element("input", "", { type: "checkbox", value: person.track, checked: isKept });
    const state = element("span", "state hint");
    const tell = () => {
      state.textContent = box.checked ? texts.stays : texts.isCovered;
    };
    box.addEventListener("change", tell);
    tell();
    const line = element("span", "line");
    line.append(box, texts.keepVisible);
    node.append(image, line, state, element("span", "hint", { textContent: texts.times(person) }));
    return node;
  }

  async #apply() {
    const chosen = [...this.list.querySelectorAll("input:checked")];
    try {
      const kept = chosen.map((box) => Number(box.value));
      await api.edit(this.job.id, { ...this.job.result.edits, kept });
      this.onClose();
    } catch (error) {
      this.said.textContent = texts.notApplied(error.message);
    }
  }
}
