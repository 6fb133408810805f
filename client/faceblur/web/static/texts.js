// Every word that the page shows stands here.

const plural = (count, one, many) => `${count} ${count === 1 ? one : many}`;

const size = (bytes) => (bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${(bytes / 1e6).toFixed(1)} MB`);

const clock = (time, digits = 1) => {
  const seconds = (time % 60).toFixed(digits).padStart(3 + digits, "0");
  return `${Math.floor(time / 60)}:${seconds}`;
};

// Whoever was chosen is covered where it is not certain that it is them.
const keptVisible = ({ edits, seen_frames, kept_frames }) => {
  const { kept } = edits;
  const people = `${plural(kept.length, "person stays", "people stay")} visible, as you chose.`;
  const doubtful = kept_frames - seen_frames;
  if (doubtful === 0) return people;
  return `${people} In ${doubtful} of ${plural(kept_frames, "frame", "frames")} they are covered all the same, for it is not certain there that it is them.`;
};

// A drawn box or a removed mask, in a list in which each has its number.
const correction = ({ keyframes, until, remove }, kind) => {
  const before = until ? ` until ${until}` : "";
  if (remove?.track) return `Mask ${remove.track} removed`;
  if (remove) return kind === "photo" ? "A mask removed" : `A mask removed ${until ? "from" : on(remove.at)} ${remove.at}${before}`;
  if (kind === "photo") return "Covered where you drew a box";
  const times = keyframes.map(({ at }) => at);
  const [last] = keyframes.slice(-1);
  if (times.length > 1 && !keyframes.some(({ follow }) => follow)) return `Covered from ${times[0]} to ${last.at}`;
  const followed = last.follow ? `, followed${before || " to the end"}` : "";
  return `Covered ${on(times[0])} ${times.join(", ")}${followed}`;
};

const on = (at) => (String(at).startsWith("page") ? "on" : "at");

export const texts = {
  promise: "Covers the faces in your photos and videos. Everything happens on this machine; nothing is sent anywhere.",
  dropTitle: "Drop photos, videos or folders here",
  dropHint: "Several at once, if you like. Your own files are never changed.",
  choose: "Choose photos or videos",
  chooseFolder: "Choose a folder",
  listTitle: "Your files",
  deleteAll: "Delete all",
  deleting: {
    title: (count) => (count === 1 ? "Delete the file here?" : `Delete all ${count} files here?`),
    words: "The results are deleted, too, and what is still being made is broken off. Save first what you need. The files on your disk, from which these were copied, stay as they are.",
    no: "Keep everything",
    yes: "Delete all",
  },
  caution: "No program finds every face. Look through the result before you share it; clothes, voices and places tell who somebody is, too.",
  cancel: "Cancel",
  remove: "Delete",
  undo: "Undo",
  redo: "Redo",
  undoName: (name) => `Undo the last choice for ${name}`,
  redoName: (name) => `Redo the choice for ${name}`,
  choosePeople: "Choose who stays visible",
  chooseName: (name) => `Choose who stays visible in ${name}`,
  chooseTitle: "Who stays visible?",
  looking: "Looking for the best view of everyone …",
  chooseHint: (covered) => {
    const others = covered ? ` ${plural(covered, "more face is", "more faces are")} too short, too faint or too close to others to be told apart: always covered.` : "";
    return `Everyone is covered but those you tick. One person may have several cards, since faces are not recognised: tick all of them.${others}`;
  },
  nobody: "Nobody can be told apart with certainty, so everyone stays covered.",
  notLooked: (reason) => `They cannot be shown: ${reason}.`,
  notApplied: (reason) => `That was not done: ${reason}.`,
  faceAlt: ({ track, view_s }) => `Face ${track}, as seen at ${clock(view_s)}`,
  times: ({ first_s, last_s }) => `${clock(first_s)} to ${clock(last_s)}`,
  keepVisible: "Keep visible",
  isCovered: "Covered",
  stays: "Stays visible",
  apply: "Apply",
  close: "Close",
  masks: {
    open: "Correct masks",
    openName: (name) => `Correct the masks of ${name}`,
    loading: "Reading the frames …",
    hints: {
      video: "Go to where something is wrong. Click a mask that covers no face, and it is removed from the whole video. Drag a box over a face that shows, where it begins to show, and it is covered from there on.",
      photo: "Click a mask that covers no face, and it is removed. Drag a box over a face that shows, and it is covered.",
      animation: "Go to where something is wrong. Click a mask that covers no face, and it is removed there; in the list below you say how long. Drag a box over a face that shows, where it begins to show, and it is covered from there on.",
      document: "Go to the page on which something is wrong. Click a mask that covers no face, and it is removed there. Drag a box over a face that shows, and it is covered there. In the list below you extend both to more pages.",
    },
    originalFrame: "The same frame, as it was",
    steps: {
      video: { position: "Place in the video", previous: "Previous frame", next: "Next frame" },
      animation: { position: "Place in the animation", previous: "Previous frame", next: "Next frame" },
      document: { position: "Page of the document", previous: "Previous page", next: "Next page" },
    },
    place: ({ kind, arePages, times, count }, index) => {
      if (kind === "document") return `Page ${index + 1} of ${count}`;
      const frame = `frame ${index + 1} of ${count}`;
      return arePages ? frame : `${clock(times[index], 2)}, ${frame}`;
    },
    outlines: "Show outlines of what was found",
    removeMask: (number) => `Remove mask ${number}`,
    coverLeak: (letter) => `Cover ${letter}, which may show`,
    onward: "Next place to look at",
    coverAgain: (number) => `Put mask ${number} back`,
    notRemovable: "That is a box that you drew, or it is not covered anyway: see the list below.",
    draw: "Draw a box",
    sides: ["Left", "Top", "Width", "Height"],
    follow: "Follow it from here on",
    belongsTo: "It is",
    newFace: "a new face",
    ofCorrection: (number) => `that of correction ${number}`,
    add: "Cover this",
    discard: "Discard the box",
    correction,
    goThere: "Go there",
    goThereName: (number) => `Go to where correction ${number} begins`,
    endsHere: "Ends here",
    endsHereName: (number) => `Correction ${number} ends at this frame`,
    coveredToHere: "Cover it up to here",
    removedToHere: "Remove it up to here",
    toHereName: (number) => `Correction ${number} goes on up to here`,
    drop: "Take back",
    dropName: (number) => `Take back correction ${number}`,
    save: "Save corrections",
    openFile: "Open corrections",
    fileName: (name) => `${name.split("/").pop().replace(/\.[^.]*$/, "")}-corrections.json`,
    pending: "Not applied yet.",
    making: "Being made again …",
    notRead: "This frame cannot be shown.",
    notShown: (reason) => `The frames cannot be shown: ${reason}.`,
    notOpened: (reason) => `That was not opened: ${reason}.`,
    notes: (notes) => {
      const plain = notes.map((note) =>
        note
          .replace(/add a keyframe( if it goes on)?$/, "draw it again there$1")
          .replace(/^track (\d+) stays masked in (.*), where it may be somebody else$/, "mask $1 stays in $2, where it may cover somebody else"),
      );
      return `Look at this: ${plain.join("; ")}.`;
    },
  },
  unchanged: (reason) => (reason === "cancelled" ? "Cancelled. This is the result from before." : `That was not done: ${reason}. This is the result from before.`),
  compare: "Slide to see the original",
  maskedAlt: (name) => `${name}, with the faces covered`,
  originalAlt: (name) => `${name}, as it was`,
  noPreview: "Your browser cannot show this kind of file. Save it to look at it.",
  progress: (name) => `Progress of ${name}`,
  saveAll: (count) => `Save ${plural(count, "file", "files")} as zip`,
  save: "Save",
  saveAnyway: "Save all the same",
  saveName: (name) => `Save the covered ${name}`,

  clock,

  looks: {
    open: (hasSound) => (hasSound ? "Look and sound" : "Change the look"),
    openName: (name, hasSound) => `${hasSound ? "Look and sound" : "Change the look"} of ${name}`,
    title: (hasSound) => (hasSound ? "How masks look, and the sound" : "How masks look"),
    alt: (name) => `${name}, as it would look`,
    kind: "What covers a face",
    modes: {
      veil: "A soft patch, which holds nothing of the face",
      solid: "One colour",
      blur: "A blur of the face (weaker)",
      pixelate: "Blocks of the face (weaker)",
      image: "Your own image",
    },
    shape: "Shape",
    shapes: { ellipse: "Oval", box: "Rectangle" },
    colour: "Colour",
    cells: "Detail that is left",
    reach: "Reach beyond the face",
    soft: "Soft edge around it",
    weaker: "A blur and blocks keep the average colours of the face. The soft patch and one colour keep nothing.",
    sound: "Sound",
    sounds: { keep: "Keep it; voices can tell who somebody is", drop: "No sound at all", parts: "Silence parts of it" },
    addPart: "Another part",
    from: "From",
    to: "to",
    theEnd: "the end",
    instead: "What is heard instead",
    effects: { mute: "Silence", beep: "A tone" },
    removePart: "Leave this part as it is",
    unclearTime: "Give times such as 1:02.5, from when and to when; without an end, it is to the end.",
    usual: "As usual",
  },

  report: "Report",
  reportName: (name) => `Save a report on ${name}`,
  reportHint: "What was covered, how, and what the check found: for your records. It shows nobody.",
  withReports: "with a report on each",

  cancelName: (name) => `Cancel ${name}`,
  removeName: (name) => `Delete ${name} here`,
  keep: (minutes) => `What you drop is kept in a private folder of this machine as long as its result: for ${plural(minutes, "minute", "minutes")}, or until a minute after you close this page.`,

  states: {
    queued: "Waiting to be copied",
    uploading: "Copying",
    waiting: "Waiting its turn",
    masking: "Finding and covering faces",
    checking: "Checking that no face shows",
    storing: "Writing it to where it was wanted",
    done: "Done",
    failed: "Not done",
  },
  gone: {
    ended: "No longer here. If you have not saved the result, drop the file again once faceblur runs.",
    deleted: (minutes) => `No longer here: it was deleted in another tab, or had been kept for ${plural(minutes, "minute", "minutes")}. To go on, drop the file again.`,
    corrections: "Your corrections are not lost yet: save them now, and open them when the file is here again.",
  },
  left: (seconds) => {
    if (seconds === null) return "";
    if (seconds < 60) return `about ${plural(Math.max(1, Math.round(seconds)), "second", "seconds")} left`;
    return `about ${plural(Math.round(seconds / 60), "minute", "minutes")} left`;
  },
  covered: (job) => {
    const { faces, drawn, frames, edits } = job.result;
    const { kept } = edits;
    const found = faces || !drawn ? [plural(faces, "face", "faces")] : [];
    const all = drawn ? [...found, plural(drawn, "drawn box", "drawn boxes")] : found;
    const covered = `${all.join(" and ")} covered`;
    if (faces + drawn > 0) {
      if (job.kind === "video") return `${covered} in ${plural(frames, "frame", "frames")}`;
      return frames > 1 ? `${covered} in ${frames} images` : covered;
    }
    if (kept.length) return "Nobody else was found.";
    if (edits.corrections.length) return "Nothing is covered any more.";
    return "No face was found, so nothing is covered. Look whether that is right.";
  },
  verdict: ({ kind, result }) => {
    const { verdict, edits } = result;
    const { kept } = edits;
    const removed = edits.corrections.filter(({ remove }) => remove).length;
    const other = kept.length || removed ? "other " : "";
    const visible = kept.length ? `${keptVisible(result)} ` : "";
    const chosen = removed ? `${visible}${plural(removed, "mask", "masks")} removed, as you chose. ` : visible;
    if (verdict.result === "clean") return `${chosen}Checked: no ${other}face shows.`;
    if (verdict.result === "leaks") {
      const places = plural(verdict.leaks, "place", "places");
      const times = verdict.leak_times_s.map((time) => `${time.toFixed(1)} s`).join(", ");
      const when = kind === "video" ? `, at ${times}` : "";
      const who = other ? "another face" : "a face";
      return `${chosen}Careful: ${who} may still show in ${places}${when}. Look there before you save it.`;
    }
    return `${chosen}It could not be checked completely: ${verdict.problems.join("; ")}.`;
  },
  failed: (reason) => (reason === "cancelled" ? "Cancelled. Nothing was saved." : `Not done, and nothing was saved: ${reason}.`),
  finished: (name, words) => `${name}: ${words}`,

  starting: "Getting ready to find faces …",
  lost: (reason) => `Faces cannot be found at present, so nothing can be covered, and nothing uncovered is offered. ${reason ?? ""}`,
  // What the page says when there is no connection.
  ends: {
    ended: "faceblur has ended, and has deleted what was here. To go on, start it again with: faceblur web",
    silent: "faceblur does not answer: it has ended, or the connection is broken. Nothing can be saved until it answers. If it has ended, start it again with: faceblur web",
    stranger: "faceblur was started again, so this page is no longer its own, and what was here is deleted. Open the address that it has printed now.",
  },
  tooLarge: (bytes) => `it has more than ${size(bytes)}`,
  empty: "the file is empty",
  dropped: "What was dropped",
  unread: "it cannot be read: try again",
  nothingIn: "there is no photo and no video in it",
  leftOut: (names) => `these files in it are neither photos nor videos: ${names.slice(0, 5).map((name) => name.split("/").pop()).join(", ")}${names.length > 5 ? ` and ${names.length - 5} more` : ""}`,
  tooMany: (count, room) => `it holds ${plural(count, "photo or video", "photos and videos")}, and there is room for ${room}: drop a smaller one, or use faceblur blur`,
  broken: "it could not be copied: try again",

  toFiles: "Photos and videos",
  toCamera: "Webcam",
  cameraTitle: "Your camera",
  cameraHint: "Shows what this computer's camera sees, with the faces covered by this machine. Nothing is recorded.",
  cameraStart: "Start the camera",
  cameraStop: "Stop",
  cameraQuick: "Show it sooner",
  cameraQuickHint: "It lags less behind, but whoever comes into view may show for a moment before they are covered.",
  cameraCaution: "No program finds every face. Clothes, voices and places tell who somebody is, too.",
  cameraAlt: "What your camera sees, with the faces covered",
  cameraStarting: "Starting the camera; allow this page to use it if your browser asks …",
  cameraBlank: "Not shown",
  cameraWithheld: (reason) => `Not shown, since it could not be checked for faces: ${reason}.`,
  cameraUnanswered: "Not shown, since nobody says in time whether there are faces in it. It comes back as soon as they do.",
  cameraEnded: "The camera was stopped, since nothing came from this page for a while. Start it again.",
  cameraGone: "The camera was unplugged, or your browser has taken it away.",
  cameraInsecure: "Browsers give a camera only to pages at 127.0.0.1, localhost or an https address.",
  cameraFailed: (error) =>
    ({
      NotAllowedError: "Your browser does not let this page use the camera. Allow it beside the address above, then start again.",
      NotFoundError: "Your browser finds no camera. Plug one in, then start again.",
      NotReadableError: "The camera does not start. Close other programs that use it, then start again.",
    })[error.name] ?? `The camera does not start: ${error.message}.`,
  cameraFigures: ({ fps, delay_s, faces }) => {
    const covered = faces ? `${plural(faces, "face", "faces")} covered` : "no face found";
    return `${fps.toFixed(1)} images a second · ${delay_s.toFixed(2)} s behind · ${covered}`;
  },

  toCameras: "Network cameras",
  wallTitle: "Network cameras",
  wallHint: "What the cameras of this file give out, with the faces covered. Nothing that is uncovered is shown here.",
  wallReload: "Read the file again",
  wallNoFile: "No cameras are named. Start the page with: faceblur web --cameras cameras.yaml",
  wallEmpty: (file) => `There is no ${file} yet. Add a camera below; then start it with: faceblur run ${file}`,
  wallAway: (file) => `The cameras do not run. Start them with: faceblur run ${file}`,
  wallTrouble: (reason) => `Faces cannot be found at present, so nothing of the cameras is given out: ${reason}.`,
  wallRefused: (file, reason) => `${file} was changed and not taken, and everything goes on as before: ${reason}`,
  ordered: "It is being done.",
  notOrdered: (reason) => `That was not done: ${reason}.`,
  tileAlt: (name) => `What ${name} sees, with the faces covered`,
  tileStop: "Stop",
  tileStart: "Start",
  tileStopName: (name) => `Stop ${name}`,
  tileStartName: (name) => `Start ${name}`,
  tileNoOutput: "Not shown on this page",
  tileAddOutput: "To see it here in any case, add a sink to it, such as mjpeg:8090, which only this machine can watch.",
  tileFailed: (reason) => `What it gives out cannot be shown at present: ${reason}.`,
  tileLate: (seconds) => `From its recordings: what it saw ${seconds < 90 ? plural(seconds, "second", "seconds") : plural(Math.round(seconds / 60), "minute", "minutes")} ago`,
  tileWhy: {
    null: () => "Its images go nowhere (null).",
    window: () => "Its images go to a window on a screen.",
    v4l2: (sink) => `Its images go to a device for other programs (${sink}).`,
    srt: (sink) => `${sink} names no stream that its server would give out again, as streamid=publish:NAME does.`,
    whip: (sink) => `Nobody can tell where ${sink} gives out again what it gets: its address has no part called whip.`,
    hidden: (sink) => `The whole address of ${sink} is known only to whoever runs faceblur run.`,
    folder: (sink) => `Where ${sink} is, only whoever runs faceblur run can tell: name the whole path.`,
    own: (sink) => `${sink} is the address of a camera, and a camera is never opened here.`,
  },
  tileNothing: "No image at present",
  tileStates: {
    starting: "Starting",
    running: "Running",
    degraded: "Not shown: its images cannot be checked",
    offline: "No images come from it",
    hung: "It hangs: restart faceblur run",
    stopped: "Stopped",
  },
  tileFigures: ({ fps, delay_s, faces, dropped }) =>
    [
      `${fps.toFixed(1)} images a second`,
      delay_s === null ? null : `${delay_s.toFixed(2)} s behind`,
      `${plural(faces, "face", "faces")} covered so far`,
      `${dropped} dropped`,
    ]
      .filter(Boolean)
      .join(" · "),
  tileFrom: (source) => `From ${source}`,

  addTitle: "Add a camera",
  addHint: "It is tried first: you see what it would give out, with the faces covered.",
  addAddress: "Address (rtsp:// or http://)",
  addUser: "User, if it asks for one",
  addPassword: "Password, if it asks for one",
  addTry: "Try it",
  addName: "Name, such as door",
  addSave: (file) => `Add it to ${file}`,
  addLeave: "Do not add it",
  added: "It was added. It runs from the next start of faceblur run on.",
  addedTaken: "It was added, and starts now.",
  trialAlt: "What the camera would give out, with the faces covered",
  trialBegins: "Trying it …",
  trialWaits: "Nothing was checked yet",
  trialGood: ({ width, height, fps }) => `It works: ${width} × ${height} pixels, ${fps.toFixed(0)} images a second. This is what it would give out.`,
  trialBad: ({ error }) => (error ? `Nothing can be shown of it yet: ${error}.` : "Trying it …"),
  trialRefused: (reason) => `It is not tried: ${reason}.`,

  addSearch: "Look for cameras in the network",
  foundSearching: "Looking for cameras in the network …",
  foundCount: (count) => (count ? `${plural(count, "camera has", "cameras have")} answered.` : "No camera has answered. Type its address; its maker's manual or app says what it is."),
  foundNothing: (reason) => `There can be no search: ${reason}.`,
  foundName: ({ name, host }) => (name ? `${name} (${host})` : host),
  foundUse: "Try this one",
  foundUseName: ({ name, host }) => `Try ${name} at ${host}`,
  foundAsking: (host) => `Asking ${host} where its images are …`,
  streamsCount: (count) => `It gives ${count} images. Choose one: in a larger image, smaller faces can be found and covered, but it takes more work.`,
  streamName: ({ name, width, height, codec, fps }, index) => {
    const which = width === 0 ? `Image ${index + 1}` : index === 0 ? "Largest image" : "Smaller image";
    const said = [width && `${width} × ${height} pixels`, codec, fps && `${fps.toFixed(0)} images a second`, name && `called ${name}`];
    return [which, ...said].filter(Boolean).join(", ");
  },
  streamUse: (words) => `Try this one: ${words}`,
  foundRefused: (reason) => `${reason}. If it asks for a user and a password, type them above and try it again.`,
};
