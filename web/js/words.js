// The panels' words in the language of the page.

import { app } from "../../../scripts/app.js";

const CHINESE = {
  "Insert ID Token (VCD)": "插入 ID 词元 (VCD)",
  "What gamma does to the noise": "gamma 对噪声的作用",
  "How much two of 16 frames have in common": "16 帧中任意两帧的相同程度",
  "Noise of eight frames in a row": "连续八帧的噪声",
  "gamma comes from another node": "gamma 来自另一个节点",
  "next frame {0}, after four {1}": "下一帧 {0}，四帧之后 {1}",
  "Training": "训练",
  "step {0} of {1}": "第 {0} / {1} 步",
  "{0} left": "剩余 {0}",
  "loss {0}": "损失 {0}",
  "Loss over the steps: {0} to {1}": "损失曲线：{0} 至 {1}",
  "Photos, faded where they do not count": "照片，不参与训练的部分变淡",
  "Samples, the newest last": "样图，最新的在最后",
  "{0} steps, {1} vectors, {2} KB": "{0} 步，{1} 个向量，{2} KB",
  "Copy": "复制",
  "Copied": "已复制",
  "Picture of {0}": "{0} 的图片",
  "ID tokens": "ID 词元",
  "Search": "搜索",
  "Close": "关闭",
  "There are no ID tokens yet: train one with Train ID Token (VCD).": "还没有 ID 词元：请用“训练 ID 词元 (VCD)”训练一个。",
  "The ID tokens could not be listed: is the server running?": "无法列出 ID 词元：服务器是否在运行？",
  "No ID token is called so.": "没有这个名字的 ID 词元。",
  "demo model": "演示模型",
  "Select a CLIP Text Encode node first: the ID token goes into its text.": "请先选中一个“CLIP文本编码”节点：ID 词元会写入它的文本。",
  "The text of this node comes from another node: write {0} there.": "该节点的文本来自另一个节点：请在那里写入 {0}。",
  "Photos": "照片",
  "Add photos": "添加照片",
  "Choose photos, or drop them on the node": "选择照片，或将其拖放到节点上",
  "new folder": "新文件夹",
  "{0} photos, {1} with a mask": "{0} 张照片，{1} 张有蒙版",
  "{0} of {1} photos added": "已添加 {0} / {1} 张照片",
  "{0}: cannot be read here. Save it as JPEG or PNG.": "{0}：无法读取。请另存为 JPEG 或 PNG。",
  "{0}: the server did not take it ({1}).": "{0}：服务器未接受（{1}）。",
  "The photos could not be listed: is the server running?": "无法列出照片：服务器是否在运行？",
  "Faces over the clip": "视频中的人脸",
  "Frame": "帧",
  "face at {0}, {1} pixels": "位于 {0} 的人脸，{1} 像素",
  "frame {0}: before, after": "第 {0} 帧：之前、之后",
  "before": "之前",
  "after": "之后",
  "no face to draw anew": "没有需要重绘的人脸",
};

/** An English text of the panels in the page's language, with {0}, {1} … filled in. */
export function words(english, ...values) {
  const locale = String(app.extensionManager?.setting?.get("Comfy.Locale") ?? "en");
  const text = (locale.startsWith("zh") && CHINESE[english]) || english;
  return text.replace(/\{(\d)\}/g, (_, at) => values[at] ?? "");
}

/** Seconds as people say them. */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(Number(seconds) || 0));
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}
