"""Archives: where they are looked for, the error for a wrong one, and downloads that break."""

import hashlib
import http.server
import os
import re
import shutil
import threading

import pytest

from sslx.datasets import archives
from sslx.datasets.archives import download, instructions, locate, locate_all, obtain, verify
from sslx.datasets.dataset import Archive, DataSet

CONTENT = bytes(range(256)) * 4096  # 1 MiB


def digest_of(content, kind="sha256"):
    return f"{kind}:{hashlib.new(kind, content).hexdigest()}"


def archive_of(content, file="toys.tar", **changes):
    return Archive(file, size=len(content), digests=(digest_of(content),))._replace(**changes)


def data_set(*archives, disk=1000):
    return DataSet(
        name="toys",
        title="",
        archives=archives,
        read=None,
        sizes={"train": 1},
        classes=1,
        home="https://toys.example/page",
        source="",
        disk=disk,
    )


class Server(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT; the class attributes say how badly."""

    ranges, breaks_after, asked = True, None, []

    def do_GET(self):
        type(self).asked.append(self.headers.get("Range"))
        if self.path != "/toys.tar":
            self.send_error(404)
            return
        begin = int(self.headers.get("Range", "bytes=0-")[6:-1]) if self.ranges else 0
        if begin >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(CONTENT) - begin))
        self.end_headers()
        self.wfile.write(CONTENT[begin:][: self.breaks_after])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    handler = type("Handler", (Server,), {"asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        handler.url = f"http://127.0.0.1:{running.server_port}/toys.tar"
        yield handler
        running.shutdown()


def test_folders_are_searched_in_order_and_what_is_installed_last(tmp_path):
    root, downloads = tmp_path / "data", tmp_path / "data" / "downloads"
    order = [
        tmp_path / "given",
        downloads / "manual" / "toys",
        downloads / "manual",
        downloads / "toys",
    ]
    order += [tmp_path / "installed"]
    dataset = data_set(Archive("toys.tar", installed=str(order[-1])))
    (tmp_path / "given").mkdir()
    assert locate_all(dataset, root, tmp_path / "given") == {}
    for folder in reversed(order):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "toys.tar").write_bytes(b"1")
        assert locate_all(dataset, root, tmp_path / "given") == {"toys.tar": folder / "toys.tar"}
    with pytest.raises(
        ValueError,
        match=r"There is no folder .*/nowhere: --manual_dir is where the archives of toys",
    ):
        obtain(dataset, root, tmp_path / "nowhere")


def test_a_name_in_other_case_is_reported_with_the_command_that_renames_it(tmp_path):
    (tmp_path / "Toys.TAR").write_bytes(b"1")
    with pytest.raises(ValueError, match=rf"mv {tmp_path}/Toys.TAR {tmp_path}/toys.tar$"):
        locate(Archive("toys.tar"), [tmp_path])
    assert locate(Archive("others.tar"), [tmp_path, tmp_path / "missing"]) is None


def test_unpacked_folders_do_for_imagenet_and_for_nothing_else(tmp_path):
    for name in ("train", "val", "toys"):
        (tmp_path / "given" / name).mkdir(parents=True)
    tars = [archive_of(b"1", f"ILSVRC2012_img_{split}.tar") for split in ("train", "val")]
    paths = obtain(data_set(*tars), tmp_path / ".", tmp_path / "given")
    assert list(paths.values()) == [tmp_path / "given" / "train", tmp_path / "given" / "val"]
    assert locate(Archive("toys.tar"), [tmp_path / "given"]) is None
    assert "or their images unpacked in folders train and val" in instructions(
        data_set(*tars), tmp_path, tars
    )


def test_a_file_is_verified_by_any_published_digest_and_a_truncated_one_by_its_size(
    tmp_path, monkeypatch
):
    path = tmp_path / "toys.tar"
    path.write_bytes(CONTENT)
    right, wrong = digest_of(CONTENT), digest_of(b"0")
    for digests in ((), (right,), (wrong.replace("sha256", "md5"), right)):
        verify(archive_of(CONTENT, digests=digests), path)
    verify(
        archive_of(CONTENT, size=7, digests=(wrong, right)), path
    )  # a second packing, of another size
    with pytest.raises(
        ValueError, match=rf"toys.tar: it has the digest {right}, expected is {wrong}; it has 1,048"
    ):
        verify(archive_of(CONTENT, digests=(wrong,)), path)
    longer = archive_of(CONTENT + b"1")
    monkeypatch.setattr(hashlib, "new", None)  # nothing is read
    with pytest.raises(
        ValueError, match=r"is not the published toys.tar: it has 1,048,576 bytes of 1,048,577\.$"
    ):
        verify(longer, path)


def test_a_file_is_read_once_until_its_size_or_date_changes(tmp_path):
    path, notes = tmp_path / "toys.tar", tmp_path / "notes.json"
    path.write_bytes(CONTENT)
    date = path.stat().st_mtime_ns
    archive = archive_of(CONTENT)
    verify(archive, path, notes)
    path.write_bytes(CONTENT[:-1] + b"0")
    os.utime(path, ns=(date, date))
    verify(archive, path, notes)
    with pytest.raises(ValueError, match="not the published"):
        verify(archive._replace(digests=(digest_of(b"0"),)), path, notes)
    os.utime(path, ns=(date, date + 1))
    for noted in (notes, None):
        with pytest.raises(ValueError, match="not the published"):
            verify(archive, path, noted)


def test_what_must_be_fetched_by_hand_is_one_line(tmp_path):
    dataset = data_set(
        archive_of(b"1" * 2_500_000), Archive("lists.zip", url="https://toys.example/lists.zip")
    )
    with pytest.raises(ValueError, match="has no direct download") as error:
        obtain(dataset, tmp_path)
    assert "\n" not in str(error.value)
    assert "Fetch toys.tar (2.5 MB) from https://toys.example/page, put it into " in str(
        error.value
    )
    assert f"{tmp_path}/downloads/manual/toys (or say where else with --manual_dir=FOLDER)" in str(
        error.value
    )
    assert "lists.zip" not in str(error.value)


def test_a_wrong_file_is_left_where_the_user_put_it_and_removed_where_it_was_downloaded(tmp_path):
    manual, downloads = (
        tmp_path / "downloads" / "manual" / "toys.tar",
        tmp_path / "downloads" / "toys" / "toys.tar",
    )
    for path, message in (
        (manual, "Fetch toys.tar .* type the same"),
        (downloads, "It is removed: type the same"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"0")
        with pytest.raises(
            ValueError, match=rf"{re.escape(str(path))} is not the published .*{message}"
        ):
            obtain(data_set(archive_of(b"1")), tmp_path)
        assert path.exists() == (path == manual)
        path.unlink(missing_ok=True)


def test_a_full_disk_is_noticed_before_anything_is_fetched(tmp_path, monkeypatch, server):
    dataset = data_set(archive_of(CONTENT, url=server.url), disk=2_000_000)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=3_000_000))
    with pytest.raises(
        ValueError, match=r"needs 1.0 MB of archives and 2.0 MB of records, and 3.0 MB are free in"
    ):
        obtain(dataset, tmp_path)
    assert not server.asked
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=4_000_000))
    assert obtain(dataset, tmp_path)["toys.tar"].read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("ranges", "asked"), [(True, ["bytes=100-", "bytes=400100-", "bytes=800100-"]), (False, None)]
)
def test_a_download_goes_on_where_it_broke_or_begins_anew(tmp_path, server, ranges, asked):
    (tmp_path / "toys.tar.part").write_bytes(CONTENT[:100])
    server.ranges, server.breaks_after = ranges, 400_000 if ranges else None
    path = download(archive_of(CONTENT, url=server.url), tmp_path, tmp_path / "notes.json")
    assert path.read_bytes() == CONTENT
    assert server.asked == (asked or ["bytes=100-"])
    assert sorted(os.listdir(tmp_path)) == ["notes.json", "toys.tar"]
    verify(
        archive_of(b"0" * len(CONTENT), digests=(digest_of(CONTENT),)),
        path,
        tmp_path / "notes.json",
    )


def test_a_server_that_always_breaks_at_the_same_place_is_given_up(tmp_path, server):
    server.ranges, server.breaks_after = False, 1000
    with pytest.raises(
        ValueError,
        match=r"cannot be fetched \(the connection broke after 1,000 of 1,048,576 bytes\)",
    ):
        download(archive_of(CONTENT, url=server.url), tmp_path)
    assert len(server.asked) == 2
    assert (tmp_path / "toys.tar.part").stat().st_size == 1000


@pytest.mark.parametrize("size", [len(CONTENT), 0])
def test_a_part_that_is_longer_than_the_file_is_begun_anew(tmp_path, server, size):
    (tmp_path / "toys.tar.part").write_bytes(CONTENT + b"0")
    assert (
        download(archive_of(CONTENT, url=server.url, size=size), tmp_path).read_bytes() == CONTENT
    )


def test_a_download_that_is_something_else_is_removed(tmp_path, server):
    archive = archive_of(CONTENT, url=server.url, digests=(digest_of(b"0"),))
    with pytest.raises(
        ValueError, match=r"sent something else, which is removed: .*expected is sha256:.*toys.tar"
    ):
        obtain(data_set(archive), tmp_path)
    assert os.listdir(tmp_path / "downloads" / "toys") == []


def test_without_a_way_to_the_server_the_error_says_what_to_do(tmp_path, server):
    for url, reason in (
        (f"{server.url}s", "404 Not Found"),
        ("http://127.0.0.1:1/toys.tar", "Connection refused"),
    ):
        with pytest.raises(
            ValueError, match=rf"{url} cannot be fetched \({reason}\). Fetch toys.tar .*put it into"
        ):
            obtain(data_set(archive_of(CONTENT, url=url)), tmp_path)
    assert archives.ATTEMPTS > len(server.asked) == 1
