// Choosing an ID token by its picture; what a prompt has to say is written into a CLIP Text Encode.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { element, note } from "./panel.js";
import { words } from "./words.js";

/** Whether an item on the canvas has a prompt into which a token can be written. */
export function insertsTokens(item) {
  return item?.comfyClass === "CLIPTextEncode" || item?.type === "CLIPTextEncode";
}

/** The picker for the prompt that is being written, or that of the selected node. */
export function pickIntoSelected() {
  const nodes = app.canvas?.graph?.nodes ?? app.graph?.nodes ?? [];
  const written = nodes.find((node) => insertsTokens(node) && textArea(node) === document.activeElement);
  const node = written ?? nodes.find((one) => insertsTokens(one) && app.canvas.selected_nodes?.[one.id]);
  if (node) return openTokenPicker(node);
  tell("info", words("Select a CLIP Text Encode node first: the ID token goes into its text."));
}

export async function openTokenPicker(node) {
  const area = textArea(node);
  const place = area && area === document.activeElement ? area.selectionStart : null;
  const search = element("input", { type: "search", placeholder: words("Search"), "aria-label": words("Search") });
  const list = element("div", { class: "vcd-tokens" });
  const close = element("button", { type: "button", class: "vcd-button", onclick: () => dialog.close() }, words("Close"));
  const dialog = element(
    "dialog",
    { class: "vcd-dialog", "aria-label": words("ID tokens") },
    element("header", {}, element("strong", {}, words("ID tokens")), search, close),
    list,
  );
  dialog.addEventListener("keydown", (event) => event.stopPropagation()); // the canvas has shortcuts of its own
  dialog.addEventListener("close", () => {
    dialog.remove();
    textArea(node)?.focus();
  });
  document.body.append(dialog);
  dialog.showModal();

  const tokens = await listTokens();
  const show = () => {
    const wanted = search.value.trim().toLowerCase();
    const found = (tokens ?? []).filter(({ prompt }) => prompt.toLowerCase().includes(wanted));
    const empty = !tokens
      ? words("The ID tokens could not be listed: is the server running?")
      : tokens.length
        ? words("No ID token is called so.")
        : words("There are no ID tokens yet: train one with Train ID Token (VCD).");
    const choose = (token) => {
      insert(node, token.prompt, place);
      dialog.close();
    };
    list.replaceChildren(...(found.length ? found.map((token) => card(token, choose)) : [note(empty)]));
  };
  search.addEventListener("input", show);
  search.addEventListener("keydown", (event) => {
    if (event.key === "Enter") list.querySelector("button")?.click();
  });
  show();
  search.focus();
}

/** What the server knows of each; null if it does not answer. */
async function listTokens() {
  try {
    const response = await api.fetchApi("/vcd/tokens", { cache: "no-store" });
    const listed = response.ok ? await response.json() : null;
    return Array.isArray(listed) ? listed : null;
  } catch {
    return null;
  }
}

function card(token, choose) {
  const picture = api.apiURL(`/vcd/token_picture?file=${encodeURIComponent(token.file)}&size=${token.size}`);
  return element(
    "button",
    { type: "button", class: "vcd-token", title: token.prompt, onclick: () => choose(token) },
    token.picture
      ? element("img", { src: picture, alt: "", loading: "lazy" })
      : element("span", { class: "vcd-no-picture", "aria-hidden": "true" }, token.name.slice(0, 1)),
    element("strong", {}, token.name.split("/").at(-1)),
    element("span", {}, [token.noun, token.name.startsWith("vcd_demo/") && words("demo model")].filter(Boolean).join(" · ")),
  );
}

/** Writes a token into a node's prompt, at the cursor or at the end, apart from the words around it. */
function insert(node, prompt, place) {
  const widget = node.widgets?.find(({ name }) => name === "text");
  if (!widget || node.inputs?.some((input) => input.widget?.name === "text" && input.link != null)) {
    tell("warn", words("The text of this node comes from another node: write {0} there.", prompt));
    return;
  }
  const text = String(widget.value ?? "");
  const before = text.slice(0, place ?? text.length);
  const behind = text.slice(before.length);
  const left = before && !/\s$/.test(before) ? " " : "";
  const ends = prompt.includes(" ") ? /^[\s,.]/ : /^[\s,]/; // a full stop would belong to the name of a token without a noun
  const right = behind && !ends.test(behind) ? " " : "";
  widget.value = before + left + prompt + right + behind;
  widget.callback?.(widget.value);
  const end = (before + left + prompt).length;
  textArea(node)?.setSelectionRange?.(end, end);
  app.graph?.setDirtyCanvas(true, true);
}

function textArea(node) {
  const widget = node.widgets?.find(({ name }) => name === "text");
  return widget?.element ?? widget?.inputEl ?? null;
}

function tell(severity, detail) {
  app.extensionManager?.toast?.add({ severity, summary: "VCD", detail, life: 8000 });
}
