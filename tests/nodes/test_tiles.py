"""Tiled VCD and Context Windows on a real server: the demo's template, and a long clip at full width."""

import numpy as np
from comfyui_server import Server
from graphs import Graph, shipped, video
from PIL import Image


def test_the_demo_goes_the_whole_way_by_one_press(server: Server):
    graph: Graph = shipped("demo_full").set("VCD_TrainIDToken", steps=2, batch_size=2)
    graph.set("VCD_Sampler", steps=4).set("VCD_FaceVCD", steps=2).set("VCD_TiledVCD", steps=2)
    result = server.queue(graph).check()
    large, rate = video(result, graph.find("SaveVideo"))
    assert (large.shape, rate) == ((16, 256, 256, 3), 8)

    graph.set("VCD_TiledVCD", strength=0)  # only enlarged: the same picture, less sharp
    enlarged, _ = video(server.queue(graph).check(), graph.find("SaveVideo"))
    difference = np.abs(large.astype(int) - enlarged).mean()
    assert 0.5 < difference < 40
    assert "memory leak" not in server.log(10**6)


def test_a_controlnet_acts_in_tiles(server: Server, checkpoint, controlnet):
    """ComfyUI's own loader and its own node to apply it; a hint that is black on the left and bright on the right."""
    graph = Graph()
    model = graph.add("CheckpointLoaderSimple", ckpt_name=checkpoint)
    prompt = graph.add("CLIPTextEncode", text="a woman", clip=[model, 1])
    clip = graph.add("EmptyImage", width=96, height=64, batch_size=2, color=0x808080)
    halves = [graph.add("EmptyImage", width=48, height=64, batch_size=1, color=color) for color in (0, 0xFFFFFF)]
    hint = graph.add(
        "ImageStitch",
        image1=[halves[0], 0],
        image2=[halves[1], 0],
        direction="right",
        match_image_size=True,
        spacing_width=0,
        spacing_color="black",
    )
    net = graph.add("ControlNetLoader", control_net_name=controlnet)
    applied = graph.add("ControlNetApplyAdvanced", positive=[prompt, 0], negative=[prompt, 0], control_net=[net, 0])
    graph[applied]["inputs"] |= {"image": [hint, 0], "strength": 1.0, "start_percent": 0.0, "end_percent": 1.0}
    tiled = graph.add("VCD_TiledVCD", clip=[clip, 0], model=[model, 0], vae=[model, 2], upscale_by=1.0, strength=0.5)
    graph[tiled]["inputs"] |= {"seed": 0, "steps": 2, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal"}
    graph[tiled]["inputs"] |= {"gamma": 0.1, "tile": 64, "overlap": 32, "window": 16, "window_overlap": 4}
    graph.add("SaveImage", images=[tiled, 0], filename_prefix="tiles")
    made = {}
    for way, source in {"hint": [applied, 0], "none": [prompt, 0]}.items():
        graph[tiled]["inputs"] |= {"positive": source, "negative": [prompt, 0]}
        result = server.queue(graph).check()
        pictures = [np.asarray(Image.open(file)).astype(int) for file in result.files(graph.find("SaveImage"))]
        assert [picture.shape for picture in pictures] == [(64, 96, 3)] * 2
        made[way] = pictures[0]
    assert np.abs(made["hint"] - made["none"]).mean() > 1


def test_a_clip_may_be_longer_than_its_motion_module_knows(server: Server, checkpoint, motion_module):
    graph = shipped("t2v_vcd").set("CheckpointLoaderSimple", ckpt_name=checkpoint)
    graph.set("VCD_LoadMotionModule", motion_module=motion_module)
    graph.set("CLIPTextEncode", text="a woman")
    graph.set("EmptyLatentImage", width=64, height=64, batch_size=36).set("VCD_Sampler", steps=1, cfg=1.0)
    assert not server.queue(graph).ok  # more than its 32 frames
    windows = graph.add("VCD_ContextWindows", model=graph[graph.find("VCD_Sampler")]["inputs"]["model"], window=16)
    graph[windows]["inputs"]["window_overlap"] = 4
    graph.set("VCD_Sampler", model=[windows, 0])
    frames, _ = video(server.queue(graph).check(), graph.find("SaveVideo"))
    assert frames.shape == (36, 64, 64, 3)
    assert len(np.unique(frames.reshape(36, -1), axis=0)) == 36
