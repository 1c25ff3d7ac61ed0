// A training as it goes: the curve of its loss, its photos, its samples, the time left; afterwards the token's card.

import { api } from "../../../scripts/api.js";
import { drawCurve } from "./curve.js";
import { addPanel, after, element, nodeOf, note } from "./panel.js";
import { duration, words } from "./words.js";

const [LINE, CURVE, PICTURES, CARD] = [20, 76, 54, 84]; // pixels of each part
const panels = new WeakMap(); // node -> show(news)

/** Hands what the server tells of a training to the node that trains. */
export function listenToTrainings() {
  api.addEventListener("vcd.training", ({ detail }) => panels.get(nodeOf(detail?.node))?.(detail));
}

/** Train ID Token's panel; there is none until there is something to show. */
export function followTraining(node) {
  let panel;
  let known = {}; // pictures come with some of the news only
  function show(news) {
    panel ??= addPanel(node, "vcd_training", words("Training"));
    const height = fill(panel.root, (known = { ...known, ...news }));
    panel.fit(height);
  }
  panels.set(node, (news) => show({ ...news, card: null }));
  after(node, "onExecuted", (output) => {
    const card = output?.vcd_token?.[0];
    if (card) show({ card, losses: card.losses, report: output.text?.[0] });
  });
}

/** Draws what is known; returns the height that it takes. */
function fill(root, { step, steps, seconds_left, losses, photos, samples, card, report }) {
  const parts = [];
  const add = (height, part) => parts.push([height, part]);
  const curve = Array.isArray(losses) ? losses : [];
  if (card) add(CARD, tokenCard(card));
  else if (steps) {
    add(LINE, note([
      words("step {0} of {1}", step, steps),
      words("{0} left", duration(seconds_left)),
      ...(curve.length ? [words("loss {0}", curve.at(-1).toFixed(3))] : []),
    ].join(" · ")));
  }
  if (curve.length > 1) {
    const [first, last] = [curve[0], curve.at(-1)].map((loss) => loss.toFixed(3));
    add(CURVE, drawCurve(curve, words("Loss over the steps: {0} to {1}", first, last)));
  }
  for (const [urls, label] of [
    [photos, words("Photos, faded where they do not count")],
    [samples, words("Samples, the newest last")],
  ]) if (urls?.length) add(PICTURES, pictures(urls, label));
  if (card && report) add(70, element("p", { class: "vcd-report", tabindex: 0 }, report));
  root.replaceChildren(...parts.map(([height, part]) => {
    part.style.height = `${height - 6}px`;
    return part;
  }));
  return parts.reduce((sum, [height]) => sum + height, 12);
}

function pictures(urls, label) {
  const row = element("div", { class: "vcd-pictures", role: "img", "aria-label": label, title: label });
  row.append(...urls.filter(isPicture).map((url) => element("img", { src: url, alt: "" })));
  return row;
}

function tokenCard({ name, noun, prompt, steps, vectors, size, picture }) {
  const copy = element("button", { type: "button", class: "vcd-button", onclick: () => copyText(prompt, copy) }, words("Copy"));
  return element(
    "div",
    { class: "vcd-card" },
    isPicture(picture) ? element("img", { src: picture, alt: words("Picture of {0}", name) }) : null,
    element(
      "div",
      {},
      element("strong", {}, `${name} · ${noun}`),
      note(words("{0} steps, {1} vectors, {2} KB", steps, vectors, Math.max(1, Math.round(size / 1024)))),
      element("div", { class: "vcd-row" }, element("code", { title: prompt }, prompt), copy),
    ),
  );
}

async function copyText(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = words("Copied");
  } catch {
    // Without HTTPS browsers give no clipboard: select it, so that Ctrl+C copies.
    const code = button.previousElementSibling;
    window.getSelection()?.selectAllChildren(code);
  }
}

function isPicture(url) {
  return typeof url === "string" && url.startsWith("data:image/jpeg;base64,");
}
