"""The page as it is served: to this machine, asking nothing of others, and no file that is not a visitor's own."""

import http.client
import io
import json
import re
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from lowerbound.errors import InputError
from lowerbound.web.recipe import Recipe
from lowerbound.web.serve import _listen


def ask(served, path, method="GET", body=None, **headers):
    """Status, headers and body of an answer to a path as it is written."""
    if body is not None:
        headers.setdefault("Content-Length", str(len(body)))
    with closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=120)) as connection:
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders(body)
        with connection.getresponse() as answer:
            return answer.status, dict(answer.getheaders()), answer.read()


def call(served, name, *data):
    """What a function of the page says at the end, or its error."""
    body = json.dumps({"data": data}).encode()
    status, _, content = ask(served, f"/gradio_api/call/{name}", "POST", body, Content_Type="application/json")
    if status != 200:
        return status, content
    event = json.loads(content)["event_id"]
    _, _, stream = ask(served, f"/gradio_api/call/{name}/{event}")
    events = re.findall(r"event: (\w+)\ndata: (.*)", stream.decode())
    return events[-1][0], json.loads(events[-1][1])


WAY = ["ddim", 3, "visible", 1, "none", False]


def test_the_page_asks_nothing_of_other_places(served):
    status, headers, body = ask(served, "/")
    assert status == 200
    assert "default-src 'self'" in headers["content-security-policy"]
    text = body.decode()
    assert not re.findall(r"<(?:link|script|img|iframe)[^>]*https?://(?!127\.0\.0\.1)", text)
    assert "lowerbound studio" in text


def test_samples_by_the_page_s_own_interface(served, digits):
    kind, values = call(served, "draw", "digits", 2, 0, *WAY, False, *WAY)
    assert kind == "complete"
    assert "2 samples" in values[0]
    assert 'download="samples.npz"' in values[2]
    assert values[5] == Recipe("digits", "ddim", 3, count=2).query


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (["digits", 5000, 0, *WAY, False, *WAY], ""),
        (["../digits", 2, 0, *WAY, False, *WAY], ""),
        (["digits", 2, -1, *WAY, False, *WAY], "seed"),
        (["digits", 2, 0, "ddim", 3, "ddpm", 1, "none", False, False, *WAY], "ddpm"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(served, data, words):
    kind, error = call(served, "draw", *data)
    assert kind == "error"
    assert words in json.dumps(error)
    assert "Traceback" not in json.dumps(error)


SECRET = "/etc/passwd"
SPELLINGS = [
    "/gradio_api/file=/etc/passwd",
    "/file=/etc/passwd",
    "/gradio_api/file=%2fetc%2fpasswd",
    "/gradio_api/file=%252fetc%252fpasswd",
    "/gradio_api/file=../../../../etc/passwd",
    "/gradio_api/file=..%2f..%2f..%2fetc%2fpasswd",
    "/gradio_api/file=%2e%2e/%2e%2e/etc/passwd",
    "/gradio_api/file=%252e%252e/etc/passwd",
    "/gradio_api/file=..\\..\\etc\\passwd",
    "/gradio_api/file=UPLOADS/../../etc/passwd",
    "/gradio_api/file=UPLOADS/%2e%2e/%2e%2e/etc/passwd",
    "/gradio_api/file/etc/passwd",
    "/gradio_api/file=file:///etc/passwd",
    "/gradio_api/file=http://127.0.0.1/",
    "/gradio_api/proxy=http://127.0.0.1/",
    "/gradio_api//file=/etc/passwd",
    "//gradio_api/file=/etc/passwd",
    "/static/../../../../../etc/passwd",
    "/static/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/assets/..%2f..%2f..%2f..%2fetc%2fpasswd",
    "/theme.css/../../etc/passwd",
    "/gradio_api/file=RUN/config.json",
    "/gradio_api/file=RUN/model.safetensors",
    "/gradio_api/file=pyproject.toml",
    "/gradio_api/file=.",
    "/gradio_api/file=%c0%ae%c0%ae/%c0%ae%c0%ae/etc/passwd",
    "/gradio_api/file=%u002e%u002e/etc/passwd",
    "/gradio_api/file=....//....//etc/passwd",
    "/gradio_api/file=..%5c..%5cetc%5cpasswd",
    "/gradio_api/file=..;/..;/etc/passwd",
    "/gradio_api/file=/etc/passwd%00.png",
    "/gradio_api/file=/etc/./passwd",
    "/gradio_api/file=//etc/passwd",
    "/gradio_api/file=/proc/self/root/etc/passwd",
    "/gradio_api/file=/proc/self/cwd/../../etc/passwd",
    "/gradio_api/file=~root/.bashrc",
    "/gradio_api/file=%EF%BC%8E%EF%BC%8E/etc/passwd",
    "/gradio_api/FILE=/etc/passwd",
    "/gradio_api/%66ile=/etc/passwd",
    "/%67radio_api/file=/etc/passwd",
    "/gradio_api/file=UPLOADS%2f..%2f..%2f..%2fetc%2fpasswd",
    "/gradio_api/file=UPLOADS/....//....//etc/passwd",
    "/gradio_api/stream/../../etc/passwd",
    "/gradio_api/custom_component/x/y/z/../../../../etc/passwd",
    "/gradio_api/component_server",
    "/gradio_api/file?path=/etc/passwd",
    "/svelte/../../../../../../etc/passwd",
    "/gradio_api/file=RUN/../digits/log.jsonl",
]


@pytest.mark.parametrize("path", SPELLINGS)
def test_no_file_of_this_machine_is_served(served, folder, uploaded, path):
    path = path.replace("UPLOADS", str(uploaded.parent)).replace("RUN", str(folder / "digits"))
    status, _, body = ask(served, path)
    assert status >= 400, (path, status)
    assert b"root:" not in body
    assert b"schema_version" not in body


def multipart(name, content):
    boundary = "studio"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    return head.encode() + content + f"\r\n--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


@pytest.fixture(scope="module")
def uploaded(served, digits):
    """Where an example lies that was uploaded under a name that leads elsewhere."""
    content = io.BytesIO()
    np.save(content, digits.dataset.examples[digits.dataset.test[:1]][:, 0])
    body, kind = multipart("../../one.npy", content.getvalue())
    status, _, answer = ask(served, "/gradio_api/upload", "POST", body, Content_Type=kind)
    assert status == 200
    return Path(json.loads(answer)[0])


def test_a_link_among_the_uploads_leads_nowhere(served, uploaded):
    link = uploaded.parent / "link"
    link.symlink_to(SECRET)
    assert ask(served, f"/gradio_api/file={link}")[0] == 403
    assert ask(served, f"/gradio_api/file={uploaded}")[0] == 200
    link.unlink()


def test_an_upload_is_scored_and_one_too_large_refused(served, uploaded):
    assert uploaded.name == "one.npy"
    assert "lowerbound-studio-" in str(uploaded)
    file = {"path": str(uploaded), "orig_name": "one.npy", "meta": {"_type": "gradio.FileData"}}
    done, values = call(served, "score", "digits", "test", 0, file, False, 0)
    assert done == "complete"
    assert "example 0 of the file" in values[1]
    body, kind = multipart("large.npy", bytes(3 << 20))
    assert ask(served, "/gradio_api/upload", "POST", body, Content_Type=kind)[0] == 413
    assert ask(served, "/gradio_api/call/draw", "POST", bytes(2 << 20), Content_Type="application/json")[0] == 413


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (["../mine", "moons", None, 1, False], "no name of a run"),
        (["digits", "moons", None, 1, False], "already"),
        (["mine", "moons", None, 600, False], ""),
        (["mine", "/etc/passwd", None, 1, False], ""),
    ],
)
def test_a_training_that_cannot_be_is_refused_in_words(served, folder, data, words):
    kind, error = call(served, "train", *data)
    assert kind == "error"
    assert words in json.dumps(error)
    assert not (folder / "mine").exists()


def test_a_file_of_another_place_is_not_fetched(served):
    for place in ({"path": SECRET}, {"path": "x", "url": "http://127.0.0.1:1/"}, {"path": "/proc/self/environ"}):
        done, error = call(
            served, "score", "digits", "test", 0, {**place, "meta": {"_type": "gradio.FileData"}}, False, 0
        )
        assert done == "error"
        assert "root:" not in json.dumps(error)


def test_another_name_of_this_machine_is_refused(served):
    assert ask(served, "/", Host="evil.example")[0] == 421
    assert ask(served, "/", Host=f"localhost:{served.port}")[0] == 200


def test_a_hundred_requests_at_once_are_served_or_refused_in_words(served):
    outcomes = []

    def one(seed):
        outcomes.append(call(served, "draw", "digits", 1, seed, *WAY, False, *WAY))

    threads = [threading.Thread(target=one, args=(seed % 2,)) for seed in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(outcomes) == 100
    served_ones = [values for kind, values in outcomes if kind == "complete"]
    refused = [(kind, values) for kind, values in outcomes if kind != "complete"]
    assert served_ones
    assert refused  # the queue holds four
    assert all("full" in str(values) or kind == 503 for kind, values in refused)
    assert len({values[0] for values in served_ones}) <= 2  # the same seed gives the same picture under load
    assert call(served, "draw", "digits", 1, 0, *WAY, False, *WAY)[0] == "complete"


def test_a_port_that_is_taken_is_refused(served):
    with pytest.raises(InputError, match="--port"):
        _listen("127.0.0.1", served.port)


def test_sliders_stand_within_the_limits(served):
    config = json.loads(ask(served, "/config")[2])
    sliders = [each["props"] for each in config["components"] if each["type"] == "slider"]
    assert {"Number of samples", "Answers", "Variations"} <= {each["label"] for each in sliders}
    assert [each["label"] for each in sliders if not each["minimum"] <= each["value"] <= each["maximum"]] == []
