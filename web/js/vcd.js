// What the pack adds to ComfyUI's page. Every part works on the public extension API; nothing here changes what is sent
// to the server.

import { app } from "../../../scripts/app.js";
import { tellErrors } from "./errors.js";
import { showFaces } from "./faces.js";
import { showNoise } from "./noise.js";
import { putInPlace, rememberWidgets } from "./older.js";
import { showPhotos } from "./photos.js";
import { insertsTokens, openTokenPicker, pickIntoSelected } from "./tokens.js";
import { followTraining, listenToTrainings } from "./training.js";
import { words } from "./words.js";

const PANELS = {
  VCD_CorrelatedNoise: showNoise,
  VCD_Sampler: showNoise,
  VCD_TrainIDToken: followTraining,
  VCD_LoadIdentityPhotos: showPhotos,
  VCD_FaceVCD: showFaces,
};
const PICK = "VCD.InsertToken";

function addStyle() {
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = new URL("../vcd.css", import.meta.url).href;
  document.head.append(link);
}

app.registerExtension({
  name: "VCD",
  commands: [{ id: PICK, icon: "pi pi-id-card", label: "Insert ID Token (VCD)", function: pickIntoSelected }],
  keybindings: [{ commandId: PICK, combo: { key: "i", alt: true } }],
  setup() {
    addStyle();
    listenToTrainings();
    tellErrors();
  },
  getSelectionToolboxCommands: (item) => (insertsTokens(item) ? [PICK] : []),
  beforeConfigureGraph: putInPlace,
  beforeRegisterNodeDef(nodeType, nodeData) {
    if (nodeData.name.startsWith("VCD_")) rememberWidgets(nodeData);
    if (nodeData.name !== "CLIPTextEncode") return;
    const inherited = nodeType.prototype.getExtraMenuOptions;
    nodeType.prototype.getExtraMenuOptions = function (canvas, options, ...rest) {
      options.push({ content: words("Insert ID Token (VCD)"), callback: () => openTokenPicker(this) });
      return inherited?.call(this, canvas, options, ...rest);
    };
  },
  nodeCreated(node) {
    PANELS[node.comfyClass]?.(node);
  },
});
