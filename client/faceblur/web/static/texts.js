// Every word that the page shows stands here.

const plural = (count, one, many) => `${count} ${count === 1 ? one : many}`;

export const texts = {
  promise: "Covers the faces in your photos and videos. Everything happens on this machine; nothing is sent anywhere.",
  dropTitle: "Drop photos or videos here",
  dropHint: "Several at once, if you like. Your own files are never changed.",
  choose: "Choose photos or videos",
  listTitle: "Your files",
  deleteAll: "Delete all",
  caution: "No program finds every face. Look through the result before you share it; clothes, voices and places tell who somebody is, too.",
  cancel: "Cancel",
  remove: "Delete",
  compare: "Slide to see the original",
  maskedAlt: (name) => `${name}, with the faces covered`,
  originalAlt: (name) => `${name}, as it was`,
  noPreview: "Your browser cannot show this kind of file. Save it to look at it.",
  progress: (name) => `Progress of ${name}`,
  saveAll: (count) => `Save ${plural(count, "file", "files")} as zip`,
  save: "Save",
  saveAnyway: "Save all the same",
  saveName: (name) => `Save the covered ${name}`,
  cancelName: (name) => `Cancel ${name}`,
  removeName: (name) => `Delete ${name} here`,
  keep: (minutes) => `What you drop is kept in a private folder of this machine. The original is deleted there as soon as its result is checked, and the result ${plural(minutes, "minute", "minutes")} later, or a minute after you close this page.`,

  states: {
    queued: "Waiting to be copied",
    uploading: "Copying",
    waiting: "Waiting its turn",
    masking: "Finding and covering faces",
    checking: "Checking that no face shows",
    done: "Done",
    failed: "Not done",
  },
  left: (seconds) => {
    if (seconds === null) return "";
    if (seconds < 60) return `about ${plural(Math.max(1, Math.round(seconds)), "second", "seconds")} left`;
    return `about ${plural(Math.round(seconds / 60), "minute", "minutes")} left`;
  },
  covered: (job) => {
    if (job.faces === 0) return "No face was found, so nothing is covered. Look whether that is right.";
    const faces = `${plural(job.faces, "face", "faces")} covered`;
    return job.kind === "video" ? `${faces} in ${plural(job.frames, "frame", "frames")}` : faces;
  },
  verdict: (verdict, kind) => {
    if (verdict.result === "clean") return "Checked: no face shows.";
    if (verdict.result === "leaks") {
      const places = plural(verdict.leaks, "place", "places");
      const times = verdict.leak_times_s.map((time) => `${time.toFixed(1)} s`).join(", ");
      const when = kind === "video" ? `, at ${times}` : "";
      return `Careful: a face may still show in ${places}${when}. Look there before you save it.`;
    }
    return `It could not be checked completely. ${verdict.problems.join(" ")}`;
  },
  failed: (reason) => (reason === "cancelled" ? "Cancelled. Nothing was saved." : `Not done, and nothing was saved: ${reason}.`),
  finished: (name, words) => `${name}: ${words}`,

  starting: "Getting ready to find faces …",
  lost: (reason) => `Faces cannot be found at present, so nothing can be covered, and nothing uncovered is offered. ${reason ?? ""}`,
  gone: "faceblur has ended, or this page is no longer its own. Start it again with: faceblur web",
  tooLarge: (gigabytes) => `it has more than ${gigabytes.toFixed(1)} GB`,
  empty: "the file is empty",
  folder: "a folder cannot be dropped here: open it and drop its files",
  broken: "it could not be copied: try again",
};
