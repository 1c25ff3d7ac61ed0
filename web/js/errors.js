// What is wrong and what to do about it, wherever the page itself only says that something is: newer pages keep a node's
// own words behind two clicks, older ones a refused node beside others that run behind a red frame.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { nodeOf } from "./panel.js";

const SHOWN = 30_000; // milliseconds
const DIALOG = 500; // in which the page opens one, if it does
const [EVERY, PATIENCE] = [250, 10_000];

/** Shows the errors of the pack's nodes: those of a run, and those for which nothing was run. */
export function tellErrors() {
  let told;
  let watch;
  const look = () => {
    const refused = app.lastNodeErrors ?? app.extensionManager?.lastNodeErrors;
    if (!refused || refused === told) return;
    told = refused;
    tellRefused(refused);
  };
  api.addEventListener("execution_error", ({ detail }) => tell(detail.node_type, detail.node_id, detail.exception_message));
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
    tell(class_type, key, [...new Set(errors.map(ownWords))].join("\n"));
  }
}

/** An error without what the server puts before a node's words; it repeats them for each input that was looked at. */
function ownWords({ type, message, details, extra_info }) {
  if (type !== "custom_validation_failed") return `${message}: ${details}`;
  const before = `${extra_info?.input_name} - `;
  return details.startsWith(before) ? details.slice(before.length) : details;
}

function tell(kind, key, text) {
  if (!String(kind).startsWith("VCD_")) return;
  setTimeout(() => {
    if (document.querySelector("[role=dialog]")) return; // which says it
    const summary = nodeOf(key)?.title ?? kind;
    app.extensionManager?.toast?.add({ severity: "error", summary, detail: String(text).trim(), life: SHOWN });
  }, DIALOG);
}
