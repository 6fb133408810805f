// Corrections in a file: saved, and opened again.

import * as api from "./api.js";
import { button, element } from "./elements.js";
import { texts } from "./texts.js";

const words = texts.masks;

// A button; correctionsOf(): those to save.
export const saveButton = (job, correctionsOf) =>
  button(words.save, "", () => {
    const text = `${JSON.stringify({ corrections: correctionsOf() }, null, 2)}\n`;
    const href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    element("a", "", { href, download: words.fileName(job.name) }).click();
    URL.revokeObjectURL(href);
  });

// Buttons; onOpen(corrections), onFail(sentence): what came of a file.
export function fileButtons(job, { correctionsOf, onOpen, onFail }) {
  const save = saveButton(job, correctionsOf);
  const input = element("input", "unseen", { type: "file", accept: ".json,application/json", id: `open-${job.id}` });
  const label = element("label", "button", { textContent: words.openFile, htmlFor: input.id });
  input.addEventListener("change", async () => {
    const [file] = input.files;
    input.value = "";
    try {
      const { corrections } = await api.openCorrections(job.id, file);
      onOpen(corrections);
    } catch (error) {
      onFail(words.notOpened(error.message));
    }
  });
  return [save, input, label];
}
