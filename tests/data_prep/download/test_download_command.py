"""`megatron-recipe data download` as a user runs it, in a process of its own."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import ENVIRONMENT, ROOT, interrupt, recipe_command
from hub_server import FakeHub, content
from plain_dataset import parquet

FINEWEB = "HuggingFaceFW/fineweb"


def command(*arguments):
    return recipe_command(["data", "download", *arguments])


def run(folder, *arguments):
    return subprocess.run(
        command(*arguments), cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.fixture
def hub():
    with FakeHub() as fake:
        rows = [{"text": f"page {i}", "id": str(i), "token_count": 2} for i in range(50)]
        fake.repos[FINEWEB] = {f"sample/10BT/{n:03}_00000.parquet": parquet(rows) for n in range(3)}
        fake.repos["Skywork/SkyPile-150B"] = {
            f"data/2020-40_zh_head_{n:04}.jsonl": content(n, 4 << 20) for n in range(3)
        }
        yield fake


def test_fineweb_by_its_name(hub, tmp_path):
    done = run(tmp_path, "fineweb", "--subset", "sample-10BT", "--max-gb", "10", "--mirror", hub.address)
    assert done.returncode == 0, done.stderr
    assert "3 files" in done.stderr
    assert "300 tokens (counted)" in done.stderr
    record = json.loads((tmp_path / "corpora/fineweb/download.json").read_text(encoding="utf-8"))
    assert (record["text_field"], record["license"], record["tokens"]) == ("text", "ODC-By-1.0", 300)


def test_a_dry_run_lists_and_writes_nothing(hub, tmp_path):
    done = run(tmp_path, "fineweb", "--dry-run", "--mirror", hub.address)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[1::2] == sorted(hub.repos[FINEWEB])
    assert list(tmp_path.iterdir()) == []
    assert "(estimated by size)" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["finweb"], "did you mean fineweb?"),
        (["fineweb", "--subset", "sample-10"], "did you mean sample-10BT?"),
        (["fineweb", "--max-gb", "-1"], "--max-gb must be above 0"),
        (["fineweb", "--mirror", "nowhere"], "--mirror nowhere: give hf-mirror"),
        (["wanjuan"], "sign up and accept the terms at https://opendatalab.com"),
    ],
)
def test_a_mistake_is_one_message(tmp_path, arguments, message):
    done = run(tmp_path, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_without_a_name_it_lists_the_datasets(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 0
    assert "skypile: Chinese web pages: 150 billion tokens" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_download_goes_on(hub, tmp_path, number):
    hub.delay_seconds = 0.02
    arguments = ("skypile", "--mirror", hub.address, "--connections", 2)
    done = interrupt(command(*arguments), tmp_path, lambda: sum(hub.sent.values()) > 2 << 20, number)
    if number is signal.SIGINT:
        assert done.returncode == 130
        assert done.stderr.count("\n") == 2, done.stderr  # what it fetches, and that it was stopped
    time.sleep(0.3)  # the server notices
    folder = tmp_path / "corpora/skypile"
    assert not json.loads((folder / "download.json").read_text(encoding="utf-8"))["complete"]
    there = {p.name.split(".")[1]: p.stat().st_size for p in folder.rglob(".*.partial")}
    assert sum(there.values()) > 1 << 20
    hub.delay_seconds = 0.0
    hub.sent.clear()
    assert run(tmp_path, *arguments).returncode == 0
    for path, data in hub.repos["Skywork/SkyPile-150B"].items():
        assert (folder / path).read_bytes() == data
        assert hub.sent[path] == len(data) - there.get(Path(path).stem, 0)  # nothing twice


def test_files_fetched_by_hand_are_registered(tmp_path):
    folder = tmp_path / "corpora/wanjuan/CN"
    folder.mkdir(parents=True)
    (folder / "part-1.jsonl").write_text('{"id": "a", "content": "人工智能"}\n', encoding="utf-8")
    done = run(tmp_path, "wanjuan")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "corpora/wanjuan/download.json").read_text(encoding="utf-8"))
    assert (record["hub"], record["text_field"], record["complete"]) == ("by hand", "content", True)
    assert [entry["path"] for entry in record["files"]] == ["CN/part-1.jsonl"]
    (folder / "part-2.jsonl").write_text('{"img_list": {}}\n', encoding="utf-8")
    done = run(tmp_path, "wanjuan")
    assert done.returncode == 2
    assert "part-2.jsonl: records have 'img_list', not 'content'" in done.stderr


def test_asking_for_help_loads_no_hub():
    code = (
        "import sys, data_prep.download.command, eval.download, data_prep.sources.catalog; "
        "print({'huggingface_hub', 'httpx2', 'pyarrow', 'datatrove'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "set()"
