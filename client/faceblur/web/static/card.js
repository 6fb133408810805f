// One file: what happens to it, what came out, and what can be done.

import { Comparison } from "./comparison.js";
import { saveButton } from "./correction_files.js";
import { button, element } from "./elements.js";
import { Editor } from "./editor.js";
import { Look } from "./look.js";
import { People } from "./people.js";
import { texts } from "./texts.js";

const ended = (job) => ["done", "failed", "gone"].includes(job.state);

export class Card {
  // originalOf: gives the user's own file, where this page still has it; the server may tell of a
  // file before it has answered whoever sent it.
  // on: { cancel, remove, undo, redo }, each called without arguments.
  constructor(job, { originalOf, on }) {
    this.originalOf = originalOf;
    this.node = element("li", "card");
    this.node.dataset.id = job.id;
    this.name = element("h3", "name", { textContent: job.name });
    this.name.dir = "auto";
    this.view = element("div", "view");
    this.status = element("p", "status");
    this.bar = element("progress", "progress", { max: 1 });
    this.bar.setAttribute("aria-label", texts.progress(job.name));
    this.verdict = element("p", "verdict");
    this.notes = element("p", "notice");
    this.notice = element("p", "notice");
    this.actions = element("div", "actions");
    this.save = element("a", "button save");
    this.save.setAttribute("aria-label", texts.saveName(job.name));
    this.report = element("a", "button", { textContent: texts.report, title: texts.reportHint });
    this.report.setAttribute("aria-label", texts.reportName(job.name));
    this.report.href = `/api/jobs/${job.id}/report`;
    this.report.download = "";
    this.choose = button(texts.choosePeople, texts.chooseName(job.name), () => this.#choose());
    this.correct = button(texts.masks.open, texts.masks.openName(job.name), () => this.#correct());
    this.change = button("", "", () => this.#change());
    this.undo = button(texts.undo, texts.undoName(job.name), on.undo);
    this.redo = button(texts.redo, texts.redoName(job.name), on.redo);
    this.cancel = button(texts.cancel, texts.cancelName(job.name), on.cancel);
    this.remove = button(texts.remove, texts.removeName(job.name), on.remove);
    this.actions.append(this.save, this.choose, this.correct, this.change, this.undo, this.redo);
    this.actions.append(this.report, this.cancel, this.remove);
    this.node.append(this.view, this.name, this.status, this.bar, this.verdict);
    this.node.append(this.notes, this.notice);
    this.node.append(this.actions);
    this.update(job);
  }

  // Somebody is choosing or correcting something.
  get isOpen() {
    return [this.people, this.editor, this.look].some((each) => each !== undefined);
  }

  // Returns what is to be read out, or null.
  update(job) {
    const isHere = this.node.contains(document.activeElement);
    const { top, bottom } = this.node.getBoundingClientRect();
    const isLeft = job.state === "gone" && this.isOpen && top < innerHeight && bottom > 0;
    const said = this.#take(job);
    // It is much shorter now.
    if (isLeft) this.node.scrollIntoView({ block: "nearest" });
    const at = document.activeElement;
    // What had the focus may be gone: whoever has no mouse goes on from here.
    if (isHere && (!this.node.contains(at) || at.offsetParent === null)) {
      const next = [this.keep, this.cancel, this.save, this.remove].find((each) => each?.hidden === false);
      next?.focus({ preventScroll: true });
    }
    return said;
  }

  #take(job) {
    const before = this.job;
    const wasOpen = this.isOpen;
    this.job = job;
    if (job.state === "gone") this.#leave();
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
    this.save.hidden = this.report.hidden = this.verdict.hidden = !done;
    this.choose.hidden = !job.can_choose || this.people !== undefined;
    this.correct.hidden = !job.can_correct || this.editor !== undefined;
    this.change.hidden = !done || this.look !== undefined;
    this.change.textContent = texts.looks.open(job.has_sound);
    this.change.setAttribute("aria-label", texts.looks.openName(job.name, job.has_sound));
    if (!done) this.#changed();
    this.undo.hidden = !job.can_undo;
    this.redo.hidden = !job.can_redo;
    this.notice.hidden = !done || !job.notice;
    this.notice.textContent = job.notice ? texts.unchanged(job.notice) : "";
    if (!job.can_choose) this.#chosen();
    if (job.state === "failed") this.#corrected();
    else this.editor?.update(job);
    this.notes.hidden = !done || job.result.notes.length === 0;
    this.notes.textContent = this.notes.hidden ? "" : texts.masks.notes(job.result.notes);
    this.#see(job.shown ?? null);
    if (!done) {
      this.node.dataset.verdict = "";
      const isTold = before && before.state !== job.state && (job.state === "failed" || (job.state === "gone" && wasOpen));
      return isTold ? texts.finished(job.name, this.#words()) : null;
    }
    const isNew = before?.state !== "done" || before.result.version !== job.result.version;
    return isNew ? this.#showResult(job) : null;
  }

  close() {
    this.comparison?.close();
    this.node.remove();
  }

  #showResult(job) {
    const { verdict } = job.result;
    const clean = verdict.result === "clean";
    this.node.dataset.verdict = verdict.result;
    this.verdict.textContent = texts.verdict(job);
    this.save.textContent = clean ? texts.save : texts.saveAnyway;
    this.save.classList.toggle("go", clean);
    this.save.href = `/api/jobs/${job.id}/result`;
    this.save.download = job.result_name;
    const words = [this.#words(), this.verdict.textContent, this.notes.textContent, this.notice.textContent];
    return texts.finished(job.name, words.filter(Boolean).join(" "));
  }

  #words() {
    const { job } = this;
    if (job.state === "failed") return texts.failed(job.error);
    if (job.state === "gone") return this.keep ? `${job.error} ${texts.gone.corrections}` : job.error;
    if (job.state === "done") return texts.covered(job);
    const left = texts.left(job.left_s ?? null);
    return left ? `${texts.states[job.state]}, ${left}` : texts.states[job.state];
  }

  // What is masked and whole is seen at once, and can be saved when it is checked.
  #see(shown) {
    // The page may hear of a result before it knows the file that it is of.
    const original = this.originalOf();
    if (shown?.version === this.version && original === this.original) return;
    this.original = original;
    // What was seen stays while the next one is made.
    if (shown === null && !ended(this.job)) return;
    this.version = shown?.version;
    this.comparison?.close();
    this.view.replaceChildren();
    if (shown !== null) this.#show(shown);
  }

  #show({ version, seen_s }) {
    const { job } = this;
    const address = `/api/jobs/${job.id}/preview?version=${version}`;
    if (job.kind === "video") {
      // What was chosen shows at once.
      const src = seen_s === null ? address : `${address}#t=${seen_s}`;
      const video = element("video", "", { controls: true, preload: "metadata", src });
      video.setAttribute("aria-label", texts.maskedAlt(job.name));
      video.addEventListener("error", () => this.#cannotShow());
      this.view.append(video);
    } else {
      const failed = () => this.#cannotShow();
      this.comparison = new Comparison(this.view, job.name, address, this.original, failed);
    }
  }

  #choose() {
    const people = new People(this.job, () => {
      // It went as soon as the file was made again, maybe before the answer, and somebody has gone on.
      if (this.people !== people) return;
      this.#chosen();
      this.choose.hidden = !this.job.can_choose;
      (this.choose.hidden ? this.cancel : this.choose).focus();
    });
    this.people = people;
    this.choose.hidden = true;
    this.actions.before(people.node);
    people.close.focus();
  }

  #change() {
    const at = this.view.querySelector("video")?.currentTime || null;
    const look = new Look(() => this.job, at, () => {
      if (this.look !== look) return; // as above
      this.#changed();
      this.change.hidden = this.job.state !== "done";
      (this.change.hidden ? this.cancel : this.change).focus();
    });
    this.look = look;
    this.change.hidden = true;
    this.actions.before(look.node);
  }

  #changed() {
    this.look?.node.remove();
    this.look = undefined;
  }

  #correct() {
    this.editor = new Editor(this.job, () => {
      this.#corrected();
      this.correct.hidden = !this.job.can_correct;
      (this.correct.hidden ? this.cancel : this.correct).focus();
    });
    this.correct.hidden = true;
    this.actions.before(this.editor.node);
    this.editor.close.focus({ preventScroll: true });
  }

  #corrected() {
    this.editor?.node.remove();
    this.editor = undefined;
  }

  // Its file is gone, and what was corrected in it is not.
  #leave() {
    const corrections = this.editor?.corrections ?? [];
    this.#corrected();
    if (corrections.length === 0) return;
    this.keep = saveButton(this.job, () => corrections);
    this.actions.prepend(this.keep);
  }

  #chosen() {
    this.people?.node.remove();
    this.people = undefined;
  }

  #cannotShow() {
    this.view.replaceChildren(element("p", "hint", { textContent: texts.noPreview }));
  }
}
