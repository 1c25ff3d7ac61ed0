// Photos on their way into a folder inside ComfyUI's input folder.

import { api } from "../../../scripts/api.js";
import { words } from "./words.js";

const READABLE = /\.(jpe?g|png|webp|bmp|tiff?|txt)$/i;
const OF_A_PHOTO = /(\.mask\.png|\.txt)$/i; // its mask, its caption: the same name, another ending

/** Whether a choice of the node is a folder of the user's own. */
export function isOwn(folder) {
  return folder !== "" && folder !== "(none)" && !folder.startsWith("demo://");
}

/** A name that no folder has yet: two subjects in one folder would be learned as one. */
export function freshFolder(taken) {
  const names = new Set(taken);
  let name = "photos";
  for (let number = 2; names.has(name); number++) name = `photos_${number}`;
  return name;
}

/**
 * Uploads files one after the other; gives a line for each that did not get there.
 *
 * The server gives another name to a photo whose name is taken: its mask and its caption, which come after it, follow.
 * They replace those that are there, or a mask that was drawn anew would become one more photo.
 */
export async function uploadAll(files, folder, progress) {
  const remarks = [];
  const renamed = new Map(); // what photos are called here and there, without endings
  let done = 0;
  const last = (file) => Number(OF_A_PHOTO.test(file.name));
  for (const file of [...files].sort((a, b) => last(a) - last(b))) {
    if (!READABLE.test(file.name)) {
      remarks.push(words("{0}: cannot be read here. Save it as JPEG or PNG.", file.name));
      continue;
    }
    try {
      const [ending] = OF_A_PHOTO.exec(file.name) ?? [];
      if (ending) {
        const photo = file.name.slice(0, -ending.length);
        await upload(file, folder, (renamed.get(photo) ?? photo) + ending);
      } else {
        renamed.set(stem(file.name), stem(await upload(file, folder)));
      }
      progress(++done);
    } catch (error) {
      remarks.push(words("{0}: the server did not take it ({1}).", file.name, error.message));
    }
  }
  return remarks;
}

/** Uploads a file, over one that is called `as`, or beside those that are there; gives its name. */
async function upload(file, folder, as) {
  const body = new FormData();
  body.append("image", file, as ?? file.name);
  body.append("subfolder", folder);
  body.append("type", "input");
  if (as) body.append("overwrite", "true");
  const response = await api.fetchApi("/upload/image", { method: "POST", body });
  if (!response.ok) throw new Error(response.status);
  return (await response.json()).name;
}

function stem(name) {
  return name.slice(0, name.lastIndexOf("."));
}
