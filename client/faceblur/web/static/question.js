// A question in the page itself, asked before something is lost; whoever presses Escape says no.

import { button, element } from "./elements.js";

export class Question {
  // no, yes: what the buttons say, the harmless one first.
  constructor({ no, yes }) {
    this.node = element("dialog", "question");
    this.title = element("h2", "", { id: "question" });
    this.words = element("p", "");
    this.node.setAttribute("aria-labelledby", this.title.id);
    this.no = button(no, "", () => this.close());
    this.no.autofocus = true;
    this.yes = button(yes, "", () => {
      this.close();
      this.onYes();
    });
    this.yes.classList.add("main");
    const actions = element("div", "actions");
    actions.append(this.no, this.yes);
    this.node.append(this.title, this.words, actions);
    document.body.append(this.node);
  }

  get isOpen() {
    return this.node.open;
  }

  ask(onYes) {
    this.onYes = onYes;
    this.node.showModal();
  }

  // What it is about may change while it is asked.
  say(title, words) {
    if (this.title.textContent !== title) this.title.textContent = title;
    this.words.textContent = words;
  }

  // The focus goes back to where it was.
  close() {
    this.node.close();
  }
}
