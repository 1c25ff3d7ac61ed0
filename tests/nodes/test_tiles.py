"""Tiled VCD and Context Windows on a real server: the demo's template, and a long clip at full width."""

import numpy as np
from comfyui_server import Server
from graphs import Graph, shipped, video


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
