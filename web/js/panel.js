// A part of a node that is ordinary HTML. It has no value: neither workflows nor prompts know of it.

import { app } from "../../../scripts/app.js";

const FRAME = 20; // pixels that the page leaves above and below an element

/** An element with attributes, listeners ("onclick") and children. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

/** Calls `then` after one of a node's own methods, whatever other packs hung there. */
export function after(node, method, then) {
  const inherited = node[method];
  node[method] = function (...values) {
    const answer = inherited?.apply(this, values);
    then(...values);
    return answer;
  };
}

/** Adds a panel to a node; `fit(height)` makes room for so many pixels of it. */
export function addPanel(node, name, label) {
  const root = element("section", { class: "vcd-panel", "aria-label": label });
  let height = 0;
  const size = () => height && height + FRAME;
  const widget = node.addDOMWidget(name, "vcd_panel", root, {
    serialize: false,
    getMinHeight: size,
    getMaxHeight: size,
  });
  widget.serialize = false; // the option is about prompts, this about workflow files
  // Keys and the wheel belong to the panel while something in it has the focus, not to the canvas behind it.
  root.addEventListener("keydown", (event) => event.stopPropagation());
  return {
    root,
    fit(pixels) {
      if (pixels === height) return;
      height = pixels;
      const [width, needed] = node.computeSize();
      node.setSize([Math.max(node.size[0], width), Math.max(node.size[1], needed)]);
      node.setDirtyCanvas?.(true, true);
    },
  };
}

/** A line for screen readers and eyes alike. */
export function note(text, kind = "") {
  return element("p", { class: `vcd-note ${kind}`, title: text }, text);
}

/** The node of an id such as "4", or "2:4" inside the subgraph 2. */
export function nodeOf(id) {
  let graph = app.rootGraph ?? app.graph;
  let node;
  for (const part of String(id ?? "").split(":")) {
    node = graph?.getNodeById(Number.isNaN(Number(part)) ? part : Number(part));
    graph = node?.subgraph;
  }
  return node ?? null;
}
