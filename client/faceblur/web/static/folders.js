// What somebody drops or chooses: files, and folders with all that is in them.

// Each list that is returned holds { file, name }; the name has the folders in it.

const named = (file, path) => ({ file, name: path.replace(/^\/+/, "") });

// files: of an input that takes a folder, or files.
export const chosen = (files) => [...files].map((file) => named(file, file.webkitRelativePath || file.name));

// Has to be called while the drop is being told of: its items are gone afterwards.
export function dropped(transfer) {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  const entries = items.map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  return Promise.all(entries.map(opened)).then((parts) => parts.flat());
}

async function opened(entry) {
  if (entry instanceof File) return [named(entry, entry.name)];
  if (entry.isFile) {
    const file = await new Promise((found, lost) => entry.file(found, lost));
    return [named(file, entry.fullPath)];
  }
  const reader = entry.createReader();
  const inside = [];
  for (;;) {
    // It tells of a hundred at a time, and of none when it has told of all.
    const more = await new Promise((found, lost) => reader.readEntries(found, lost));
    if (more.length === 0) break;
    inside.push(...more);
  }
  return (await Promise.all(inside.map(opened))).flat();
}

// Parts what is in folders and can be neither a photo nor a video from what can.
export function sorted(items, suffixes) {
  const inFolder = ({ name }) => name.includes("/");
  const wanted = items.filter((item) => !inFolder(item) || !isHidden(item));
  const plausible = (item) => !inFolder(item) || mayBeMedia(item, suffixes);
  return { media: wanted.filter(plausible), others: wanted.filter((item) => !plausible(item)) };
}

const isHidden = ({ name }) => name.split("/").some((part) => part.startsWith("."));

function mayBeMedia({ file, name }, suffixes) {
  const suffix = name.slice(name.lastIndexOf(".")).toLowerCase();
  // Where nobody knows from the name, the server looks into it.
  return file.type === "" || /^(image|video)\//.test(file.type) || suffixes.includes(suffix);
}
