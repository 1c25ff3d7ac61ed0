// The photos of the chosen folder with their masks, and a way to add some.

import { api } from "../../../scripts/api.js";
import { addPanel, after, element, note } from "./panel.js";
import { freshFolder, isOwn, uploadAll } from "./upload.js";
import { words } from "./words.js";

const [ROW, PICTURE, LINE] = [38, 66, 20]; // pixels
const SHOWN = 10;
const A_ROW = 4;

/** Load Identity Photos' panel. */
export function showPhotos(node) {
  const choice = node.widgets?.find((widget) => widget.name === "folder");
  if (!choice) return;
  const { root, fit } = addPanel(node, "vcd_photos", words("Photos"));
  const list = element("div", { class: "vcd-photos" });
  const status = note("");
  const target = element("input", { type: "text", "aria-label": words("new folder"), title: words("new folder") });
  const files = element("input", { type: "file", multiple: true, accept: "image/*", hidden: true });
  const hint = words("Choose photos, or drop them on the node");
  const choose = { type: "button", class: "vcd-button", title: hint, onclick: () => files.click() };
  const button = element("button", choose, words("Add photos"));
  root.append(element("div", { class: "vcd-row" }, button, target), files, list, status);

  const folders = () => (Array.isArray(choice.options?.values) ? choice.options.values : []);
  let asked = 0;
  let shown;
  let proposed;
  async function show(remarks = []) {
    const folder = (shown = String(choice.value ?? ""));
    const own = isOwn(folder);
    proposed = own ? "" : freshFolder(folders());
    target.value = proposed || folder;
    target.disabled = own; // more photos go where the others are
    const number = ++asked;
    const found = await listed(folder);
    if (number !== asked) return; // another folder was chosen meanwhile
    list.replaceChildren(...found.photos.slice(0, SHOWN).map((photo) => picture(folder, photo)));
    const masked = found.photos.filter((photo) => photo.masked).length;
    const line = found.error || (found.photos.length ? words("{0} photos, {1} with a mask", found.photos.length, masked) : "");
    status.textContent = [...remarks, line].filter(Boolean).join(" ");
    status.title = status.textContent;
    const wrong = Boolean(found.error || remarks.length);
    status.classList.toggle("vcd-error", wrong);
    const rows = Math.ceil(Math.min(SHOWN, found.photos.length) / A_ROW);
    fit(ROW + rows * PICTURE + (status.textContent ? LINE : 0) + (wrong ? 3 * LINE : 0));
  }

  /** The folder that photos go into. Somebody else may have made one since of the name that was proposed. */
  async function destination() {
    const named = target.value.trim().replace(/^\/+|\/+$/g, "");
    if (named && named !== proposed) return named;
    const taken = [...folders()];
    let name = freshFolder(taken);
    while ((await listed(name)).photos.length) {
      taken.push(name);
      name = freshFolder(taken);
    }
    return name;
  }

  async function add(chosen) {
    if (!chosen.length) return;
    button.disabled = true;
    const folder = await destination();
    const remarks = await uploadAll(chosen, folder, (done) => {
      status.textContent = words("{0} of {1} photos added", done, chosen.length);
    });
    button.disabled = false;
    files.value = "";
    if (remarks.length < chosen.length) {
      if (!folders().includes(folder)) folders().splice(1, 0, folder);
      choice.value = folder;
      choice.callback?.(folder);
    }
    await show(remarks);
  }

  files.addEventListener("change", () => add([...files.files]));
  // Onto the node itself ComfyUI brings what is dropped; the panel lies above the canvas and has to take its own.
  const holdsFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  node.onDragOver = holdsFiles;
  node.onDragDrop = (event) => {
    const dropped = [...(event.dataTransfer?.files ?? [])];
    if (!dropped.length) return false;
    add(dropped);
    return true;
  };
  root.addEventListener("dragover", (event) => holdsFiles(event) && event.preventDefault());
  root.addEventListener("drop", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    event.stopPropagation();
    add([...event.dataTransfer.files]);
  });
  after(choice, "callback", () => show());
  after(node, "onConfigure", () => show());
  // The page's own memory of widgets changes the value without a call.
  for (const event of ["onAdded", "onDrawForeground"]) after(node, event, () => shown !== String(choice.value ?? "") && show());
  show();
}

async function listed(folder) {
  if (!folder || folder === "(none)") return { photos: [] };
  try {
    const response = await api.fetchApi(`/vcd/photos?folder=${encodeURIComponent(folder)}`, { cache: "no-store" });
    const answer = await response.json();
    return { photos: Array.isArray(answer?.photos) ? answer.photos : [], error: String(answer?.error ?? "") };
  } catch {
    return { photos: [], error: words("The photos could not be listed: is the server running?") };
  }
}

function picture(folder, { name, version }) {
  const query = new URLSearchParams({ folder, name, version });
  const shown = element("img", { alt: name, title: name, loading: "lazy", src: api.apiURL(`/vcd/photo_picture?${query}`) });
  shown.addEventListener("error", async () => {
    shown.classList.add("vcd-broken");
    const answer = await api.fetchApi(`/vcd/photo_picture?${query}`).then((response) => response.json()).catch(() => null);
    if (answer?.error) shown.title = answer.error;
  });
  return shown;
}
