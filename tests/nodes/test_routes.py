"""What the server tells the page: ID tokens, and photos of folders, never anything else."""

from io import BytesIO

import numpy as np
import pytest
import requests
import torch
from comfyui_hosts import ROOT
from PIL import Image

from vcd_core.identity import IDToken, make_thumbnail, save_id_token


def ask(server, path: str, **query: str) -> requests.Response:
    return requests.get(f"{server.url}/vcd/{path}", params=query, timeout=60)


@pytest.fixture(scope="module")
def kit(server) -> str:
    """An ID token with a picture in a folder of the embeddings, beside a file that is none."""
    folder = server.model_folder("embeddings") / "animals"
    folder.mkdir(parents=True, exist_ok=True)
    picture = make_thumbnail(torch.rand(40, 40, 3, generator=torch.Generator().manual_seed(0)))
    save_id_token(IDToken("kit", torch.ones(4, 768), "cat", 200, thumbnail=picture), folder, overwrite=True)
    (folder / "broken.safetensors").write_bytes(b"nothing")
    return "animals/kit.safetensors"


def test_tokens_are_listed_with_what_a_prompt_says(server, kit):
    (listed,) = [token for token in ask(server, "tokens").json() if token["file"] == kit]
    assert listed.pop("size") == (server.model_folder("embeddings") / kit).stat().st_size
    assert listed == {
        "file": kit,
        "name": "animals/kit",
        "noun": "cat",
        "prompt": "embedding:animals/kit cat",
        "steps": 200,
        "vectors": 4,
        "width": 768,
        "picture": True,
    }
    assert "broken" not in ask(server, "tokens").text


def test_files_that_no_prompt_can_use_do_not_hide_the_others(server, kit):
    folder = (server.model_folder("embeddings") / kit).parent
    link, spaced = folder / "gone.safetensors", folder / "my kit.safetensors"
    link.symlink_to(folder / "nowhere.safetensors")
    spaced.write_bytes((folder / "kit.safetensors").read_bytes())
    try:
        listed = {token["name"] for token in ask(server, "tokens").json()}
        assert "animals/kit" in listed
        assert not {"animals/gone", "animals/my kit"} & listed
        assert ask(server, "token_picture", file="animals/gone.safetensors").status_code == 404
    finally:
        link.unlink()
        spaced.unlink()


def test_a_token_trained_anew_is_listed_anew(server, kit):
    folder = (server.model_folder("embeddings") / kit).parent
    save_id_token(IDToken("again", torch.ones(4, 768), "cat", 1), folder)
    ask(server, "tokens")
    save_id_token(IDToken("again", torch.ones(3, 768), "dog", 22), folder, overwrite=True)
    (listed,) = [token for token in ask(server, "tokens").json() if token["name"] == "animals/again"]
    assert (listed["noun"], listed["steps"], listed["vectors"], listed["picture"]) == ("dog", 22, 3, False)
    assert ask(server, "token_picture", file="animals/again.safetensors").status_code == 404


def test_a_token_s_picture_is_a_small_jpeg(server, kit):
    answer = ask(server, "token_picture", file=kit)
    with Image.open(BytesIO(answer.content)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (128, 128))


def test_photos_are_listed_in_order_with_their_masks(server):
    answer = ask(server, "photos", folder="demo://kit (cat)").json()
    assert [(photo["name"], photo["masked"]) for photo in answer["photos"]] == [(f"{i}.png", True) for i in range(1, 7)]
    assert answer["error"] == ""


def test_a_photo_is_cut_to_its_subject_and_faded_around_it(server):
    answer = ask(server, "photo_picture", folder="demo://kit (cat)", name="1.png")
    shown = np.asarray(Image.open(BytesIO(answer.content)).convert("RGB")).astype(float)
    photo = np.asarray(Image.open(ROOT / "demo/photos/kit/1.png").convert("RGB").resize((128, 128))).astype(float)
    mask = np.asarray(Image.open(ROOT / "demo/photos/kit/1.mask.png").convert("L").resize((128, 128))) / 255
    expected = photo * (0.25 + 0.75 * mask[:, :, None])
    assert abs(shown - expected).mean() < 6  # of JPEG
    assert abs(shown - photo).mean() > 20


def test_a_mask_that_is_empty_is_said_to_be(server):
    folder = server.input_directory / "dark"
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (40, 30), "red").save(folder / "1.png")
    Image.new("L", (40, 30)).save(folder / "1.mask.png")
    answer = ask(server, "photo_picture", folder="dark", name="1.png")
    assert (answer.status_code, answer.json()["error"]) == (
        400,
        "the mask of 1.png is empty: draw the subject white in it, or take the mask away",
    )


@pytest.mark.parametrize("folder", ["", "..", "../models", "/etc", "demo://../weights", "absent", "people/../.."])
def test_no_name_of_a_folder_leads_out_of_those_that_are_offered(server, folder):
    (server.base / "secret.png").write_bytes((ROOT / "demo/photos/kit/1.png").read_bytes())
    answer = ask(server, "photos", folder=folder).json()
    assert answer["photos"] == []
    assert "put 5-10 photos of one subject into a folder" in answer["error"]
    assert ask(server, "photo_picture", folder=folder, name="secret.png").status_code == 400


@pytest.mark.parametrize("name", ["", "1.mask.png", "../mia/1.png", "/etc/passwd", "..", "absent.png"])
def test_no_name_of_a_photo_leads_out_of_its_folder(server, name):
    assert ask(server, "photo_picture", folder="demo://kit (cat)", name=name).status_code == 404


@pytest.mark.parametrize("file", ["", "../checkpoints/x.safetensors", "/etc/passwd", "absent.safetensors"])
def test_no_name_of_a_token_leads_out_of_the_embeddings(server, file):
    assert ask(server, "token_picture", file=file).status_code == 404


def test_a_training_tells_the_page_how_it_stands(server):
    from graphs import shipped

    graph = shipped("demo_t2v").set("VCD_TrainIDToken", steps=5, batch_size=2, sample_every=2, name="told")
    for key in [key for key, node in graph.items() if node["class_type"] in ("SaveVideo", "CreateVideo")]:
        del graph[key]
    trainer, news = graph.find("VCD_TrainIDToken"), []
    with server.running(graph) as wait:
        while not wait.result.status:
            kind, content = wait.next_event()
            if kind == "vcd.training":
                news.append(content)
        result = wait().check()
    assert {one["node"] for one in news} == {trainer}
    assert [one["step"] for one in news if "samples" in one] == [1, 2, 4]
    assert [len(one["samples"]) for one in news if "samples" in one] == [0, 1, 2]
    assert news[-1]["step"] == news[-1]["steps"] == len(news[-1]["losses"]) == 5
    assert news[-1]["seconds_left"] == 0 < news[0]["seconds_left"]
    assert all(url.startswith("data:image/jpeg;base64,") for url in news[0]["photos"])
    assert len(news[0]["photos"]) == 6
    (card,) = result.outputs[trainer]["vcd_token"]
    assert card["prompt"] == "embedding:vcd_demo/told woman"
    assert len(str(news)) + len(str(card)) < 200_000
