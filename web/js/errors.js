// What is wrong and what to do about it, wherever the page itself only says that something is: newer pages keep a node's
// own words behind two clicks, older ones a refused node beside others that run behind a red frame.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { nodeOf } from "./panel.js";

const SHOWN = 30_000; // milliseconds
const DIALOG = 500; // in which the page opens one, if it does
const [EVERY, PATIENCE] = [250, 10_000];
const PACK = new URL("..", import.meta.url).pathname.split("/").at(-2); // its folder, as the server calls it

/** Shows the errors of the pack: those of a run, and those of its nodes for which nothing was run. */
export function tellErrors() {
  let told;
  let watch;
  const look = () => {
    const refused = app.lastNodeErrors ?? app.extensionManager?.lastNodeErrors;
    if (!refused || refused === told) return;
    told = refused;
    tellRefused(refused);
  };
  api.addEventListener("execution_error", ({ detail }) => {
    if (raisedHere(detail)) tell(detail.node_type, detail.node_id, detail.exception_message);
  });
  api.addEventListener("promptQueued", look);
  api.addEventListener("promptQueueing", () => {
    // What is refused is never queued, so there will be no event when the server has answered.
    clearInterval(watch);
    watch = setInterval(look, EVERY);
    setTimeout(clearInterval, PATIENCE, watch);
  });
}

function tellRefused(nodes) {
  for (const [key, { class_type, errors }] of Object.entries(nodes)) {
    if (isOurs(class_type)) tell(class_type, key, [...new Set(errors.map(ownWords))].join("\n"));
  }
}

function isOurs(kind) {
  return String(kind).startsWith("VCD_");
}

/** Whether a node of ours failed, or another one in our code, such as a prompt that names a token which is not there. */
function raisedHere({ node_type, traceback }) {
  const last = String(traceback?.at(-1)).replaceAll("\\", "/");
  return isOurs(node_type) || last.includes(`custom_nodes/${decodeURIComponent(PACK)}/`);
}

/** An error without what the server puts before a node's words; it repeats them for each input that was looked at. */
function ownWords({ type, message, details, extra_info }) {
  if (type !== "custom_validation_failed") return `${message}: ${details}`;
  const before = `${extra_info?.input_name} - `;
  return details.startsWith(before) ? details.slice(before.length) : details;
}

function tell(kind, key, text) {
  const detail = String(text).trim();
  setTimeout(() => {
    const dialogs = [...document.querySelectorAll("[role=dialog]")].map((dialog) => inOneLine(dialog.innerText));
    if (dialogs.some((said) => detail.split("\n").every((line) => said.includes(inOneLine(line))))) return;
    const summary = nodeOf(key)?.title ?? kind;
    app.extensionManager?.toast?.add({ severity: "error", summary, detail, life: SHOWN });
  }, DIALOG);
}

function inOneLine(text) {
  return text.replace(/\s+/g, " ").trim();
}
