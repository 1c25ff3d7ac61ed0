// Photos on their way into a folder inside ComfyUI's input folder.

import { api } from "../../../scripts/api.js";
import { words } from "./words.js";

const READABLE = /\.(jpe?g|png|webp|bmp|tiff?)$/i;

/** Whether a choice of the node is a folder of the user's own. */
export function isOwn(folder) {
  return folder !== "" && folder !== "(none)" && !folder.startsWith("demo://");
}

/** A name that no folder has yet: two subjects in one folder would be learned as one. */
export function freshFolder(taken) {
  const names = new Set(Array.isArray(taken) ? taken : []);
  let name = "photos";
  for (let number = 2; names.has(name); number++) name = `photos_${number}`;
  return name;
}

/** Uploads files one after the other; gives a line for each that did not get there. */
export async function uploadAll(files, folder, progress) {
  const remarks = [];
  let done = 0;
  for (const file of files) {
    const problem = await upload(file, folder);
    if (problem) remarks.push(problem);
    else progress(++done);
  }
  return remarks;
}

async function upload(file, folder) {
  if (!READABLE.test(file.name)) return words("{0}: cannot be read here. Save it as JPEG or PNG.", file.name);
  const body = new FormData();
  body.append("image", file);
  body.append("subfolder", folder);
  body.append("type", "input");
  try {
    const response = await api.fetchApi("/upload/image", { method: "POST", body });
    return response.ok ? "" : words("{0}: the server did not take it ({1}).", file.name, response.status);
  } catch (error) {
    return words("{0}: the server did not take it ({1}).", file.name, error.message);
  }
}
