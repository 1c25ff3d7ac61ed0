"""Face VCD on a real server: the demo's template, and a real video with a real detector."""

from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from comfyui_server import Server
from graphs import Graph, shipped, video
from registry_material import CENTERFACE, TALKING_FACE, material

FRAMES = 6


@pytest.fixture(scope="session")
def film(server: Server) -> str:
    """The first frames of a talking man, smaller, with a tone beside them, in the input folder."""
    with av.open(str(material(*TALKING_FACE))) as source:
        pictures = [frame.to_ndarray(format="rgb24")[::2, ::2] for frame in islice(source.decode(video=0), FRAMES)]
    path: Path = server.input_directory / "film.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "5"})
        stream.height, stream.width, stream.pix_fmt = *pictures[0].shape[:2], "yuv420p"
        sound = container.add_stream("aac", rate=16000, layout="mono")
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        for start in range(0, 4096, 1024):
            tone = np.sin(np.arange(start, start + 1024) * 0.1).astype(np.float32)[None] * 0.3
            frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, start
            container.mux(sound.encode(frame))
        container.mux(stream.encode())
        container.mux(sound.encode())
    return path.name


def test_the_demo_draws_a_face_anew_by_one_press(server: Server):
    graph: Graph = shipped("demo_face").set("VCD_TrainIDToken", steps=2, batch_size=2)
    graph.set("VCD_Sampler", steps=4).set("VCD_FaceVCD", steps=2)
    report = graph.add("PreviewAny", source=[graph.find("VCD_FaceVCD"), 3])
    result = server.queue(graph).check()
    frames, rate = video(result, graph.find("SaveVideo"))
    assert (frames.shape, rate) == ((16, 128, 128, 3), 8)
    assert "16 frames; faces in" in str(result.outputs[report])
    assert "memory leak" not in server.log(10**6)


def test_a_real_face_in_a_real_video_changes_and_its_sound_stays(server, checkpoint, motion_module, film):
    server.place("detection", material(*CENTERFACE), "centerface.onnx")
    graph = shipped("v2v_face").set("LoadVideo", file=film)
    graph.set("CheckpointLoaderSimple", ckpt_name=checkpoint)
    graph.set("VCD_LoadMotionModule", motion_module=motion_module)
    graph.set("CLIPTextEncode", text="a woman")
    graph.set("VCD_FaceVCD", size=64, steps=1)
    result = server.queue(graph).check()
    (path,) = result.files(graph.find("SaveVideo"))
    with av.open(str(path)) as container:
        assert container.streams.audio
        made = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(float)
    with av.open(str(server.input_directory / film)) as container:
        old = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(float)
        rate = container.streams.video[0].average_rate
    assert video(result, graph.find("SaveVideo"))[1] == rate
    assert made.shape == old.shape == (FRAMES, 180, 320, 3)
    change = np.abs(made - old).mean((0, 3))
    assert change[60:120, 110:180].mean() > 4 * change[:, 260:].mean()
