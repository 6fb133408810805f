// One file: what happens to it, what came out, and what can be done.

import { Comparison } from "./comparison.js";
import { texts } from "./texts.js";

function element(tag, className, properties = {}) {
  const made = document.createElement(tag);
  made.className = className;
  return Object.assign(made, properties);
}

const ended = (job) => job.state === "done" || job.state === "failed";

export class Card {
  // original: the user's own file, where this page still has it.
  // onCancel and onRemove are called without arguments.
  constructor(job, { original, onCancel, onRemove }) {
    this.original = original;
    this.node = element("li", "card");
    this.node.dataset.id = job.id;
    this.name = element("h3", "name", { textContent: job.name });
    this.name.dir = "auto";
    this.view = element("div", "view");
    this.status = element("p", "status");
    this.bar = element("progress", "progress", { max: 1 });
    this.bar.setAttribute("aria-label", texts.progress(job.name));
    this.verdict = element("p", "verdict");
    this.actions = element("div", "actions");
    this.cancel = element("button", "button", { type: "button", textContent: texts.cancel });
    this.cancel.setAttribute("aria-label", texts.cancelName(job.name));
    this.cancel.addEventListener("click", onCancel);
    this.remove = element("button", "button", { type: "button", textContent: texts.remove });
    this.remove.setAttribute("aria-label", texts.removeName(job.name));
    this.remove.addEventListener("click", onRemove);
    this.save = element("a", "button save");
    this.save.setAttribute("aria-label", texts.saveName(job.name));
    this.actions.append(this.save, this.cancel, this.remove);
    this.node.append(this.view, this.name, this.status, this.bar, this.verdict, this.actions);
    this.update(job);
  }

  // Returns what is to be read out, or null.
  update(job) {
    const before = this.job;
    this.job = job;
    const done = job.state === "done";
    this.node.dataset.state = job.state;
    this.status.textContent = this.#words();
    this.bar.hidden = ended(job);
    if (job.progress === null || job.state === "queued" || job.state === "uploading") {
      this.bar.removeAttribute("value");
    } else {
      this.bar.value = job.progress;
    }
    this.cancel.hidden = ended(job);
    this.remove.hidden = !ended(job);
    this.save.hidden = !done;
    this.verdict.hidden = !done;
    if (!done || before?.state === "done") {
      return before && before.state !== job.state && job.state === "failed"
        ? texts.finished(job.name, this.#words())
        : null;
    }
    const clean = job.verdict.result === "clean";
    this.node.dataset.verdict = job.verdict.result;
    this.verdict.textContent = texts.verdict(job.verdict, job.kind);
    this.save.textContent = clean ? texts.save : texts.saveAnyway;
    this.save.classList.toggle("go", clean);
    this.save.href = `/api/jobs/${job.id}/result`;
    this.save.download = job.result_name;
    this.#show();
    return texts.finished(job.name, `${this.#words()} ${this.verdict.textContent}`);
  }

  close() {
    this.comparison?.close();
    this.node.remove();
  }

  #words() {
    const { job } = this;
    if (job.state === "failed") return texts.failed(job.error);
    if (job.state === "done") return texts.covered(job);
    const left = texts.left(job.left_s ?? null);
    return left ? `${texts.states[job.state]}, ${left}` : texts.states[job.state];
  }

  #show() {
    const { job } = this;
    const address = `/api/jobs/${job.id}/preview`;
    if (job.kind === "video") {
      const video = element("video", "", { controls: true, preload: "metadata", src: address });
      video.setAttribute("aria-label", texts.maskedAlt(job.name));
      video.addEventListener("error", () => this.#cannotShow());
      this.view.append(video);
    } else {
      const failed = () => this.#cannotShow();
      this.comparison = new Comparison(this.view, job.name, address, this.original, failed);
    }
  }

  #cannotShow() {
    this.view.replaceChildren(element("p", "hint", { textContent: texts.noPreview }));
  }
}
