from dataclasses import replace

import aiohttp
import pytest
from blake3 import blake3

from comfyops.errors import DeliveryError, StorageError, UnsafeNameError, UsageError
from comfyops.jobs import deliveries
from comfyops.jobs.deliveries import deliver
from comfyops.jobs.delivery_names import DEFAULT, Facts, check, key_of, with_hash
from tests.unit.jobs.small_s3 import SmallS3

FACTS = Facts("job-1", 2, "x_00001_.png", "0" * 64, 1_700_000_000.0, owner="ann", name="A boat", kind="image")


def kept(tmp_path, data=b"picture", name="kept"):
    path = tmp_path / name
    path.write_bytes(data)
    return path, replace(FACTS, hash=blake3(data).hexdigest())


@pytest.fixture
async def s3(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    async with SmallS3("renders") as server:
        yield server


def bucket(s3, prefix="out", name="renders"):
    return deliveries.parse(f"s3://{name}/{prefix}?endpoint={s3.url}&region=us-east-1")


def test_names_are_made_from_the_facts_of_job_and_file():
    assert key_of(DEFAULT, FACTS) == "2023-11-14/job-1/002-x_00001_.png"
    assert key_of("{owner}/{year}/{month}/{name}-{kind}{ext}", FACTS) == "ann/2023/11/A boat-image.png"
    assert key_of("{batch}/{filename}", replace(FACTS, filename="noext")) == "single/noext"


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", ".", "/", "a\\b", "a:b\n", "", "é" * 400])
def test_facts_cannot_lead_out_of_the_folder(tmp_path, name):
    key = key_of("{owner}/{name}/{filename}", replace(FACTS, owner=name, name=name, filename=name))
    parts = key.split("/")
    assert len(parts) == 3
    assert all(part and part not in (".", "..") and len(part.encode()) <= 150 for part in parts)
    assert (tmp_path / key).resolve().is_relative_to(tmp_path)


@pytest.mark.parametrize("template", ["", "/", "../{job}", "{job}/../x", "{jbo}", "{job", "a//b", "{}", "a\\{job}"])
def test_templates_that_make_no_sense_are_refused(template):
    with pytest.raises(UsageError):
        check(template)


def test_an_unknown_field_is_told_with_the_nearest():
    with pytest.raises(UsageError) as caught:
        check("{filname}")
    assert "{filename}" in caught.value.hint


async def test_a_file_is_copied_into_a_folder_once(tmp_path):
    path, facts = kept(tmp_path)
    folder = deliveries.parse(str(tmp_path / "out"))
    first = await deliver(folder, path, facts)
    second = await deliver(folder, path, facts)
    assert (first.sent, second.sent) == (True, False)
    assert first.key == second.key
    assert (tmp_path / "out" / first.key).read_bytes() == b"picture"
    assert first.address == str(tmp_path / "out" / first.key)
    assert await folder.link(first.key, 60) is None


async def test_other_bytes_under_the_same_name_are_left_and_the_new_ones_are_named_by_their_hash(tmp_path):
    one, facts_one = kept(tmp_path, b"one", "one")
    two, facts_two = kept(tmp_path, b"two", "two")
    folder = deliveries.parse(f"file://{tmp_path}/out")
    first = await deliver(folder, one, facts_one, template="{filename}")
    second = await deliver(folder, two, facts_two, template="{filename}")
    assert first.key == "x_00001_.png"
    assert second.key == f"x_00001_-{facts_two.hash[:12]}.png"
    assert (tmp_path / "out" / first.key).read_bytes() == b"one"
    assert not (await deliver(folder, two, facts_two, template="{filename}")).sent


def test_a_name_without_an_ending_gets_its_hash_too():
    assert with_hash("a/b", "f" * 64) == "a/b-ffffffffffff"
    assert with_hash(".hidden", "f" * 64) == ".hidden-ffffffffffff"


async def test_a_folder_that_is_a_file_is_a_clear_error_and_nothing_is_left(tmp_path):
    path, facts = kept(tmp_path)
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(StorageError):
        await deliver(deliveries.parse(str(tmp_path / "out")), path, facts)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["kept", "out"]


async def test_a_link_inside_the_folder_does_not_lead_out(tmp_path):
    path, facts = kept(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "ann").symlink_to(tmp_path)
    with pytest.raises(UnsafeNameError):
        await deliver(deliveries.parse(str(tmp_path / "out")), path, facts, template="{owner}/{filename}")


async def test_a_file_is_put_into_a_bucket_once_with_its_type(tmp_path, s3):
    path, facts = kept(tmp_path)
    first = await deliver(bucket(s3), path, facts, mime="image/png")
    second = await deliver(bucket(s3), path, facts, mime="image/png")
    key = "out/2023-11-14/job-1/002-x_00001_.png"
    assert (first.sent, second.sent, s3.puts) == (True, False, 1)
    assert s3.objects == {key: b"picture"}
    assert s3.headers[key]["Content-Type"] == "image/png"
    assert s3.headers[key]["x-amz-meta-comfyops-blake3"] == facts.hash
    assert first.address == f"s3://renders/{key}"


async def test_a_large_file_goes_in_parts_and_comes_out_whole(tmp_path, s3):
    data = bytes(range(256)) * 50_000
    path, facts = kept(tmp_path, data)
    sent = await deliver(bucket(s3), path, facts)
    assert s3.objects[f"out/{sent.key}"] == data
    assert not (await deliver(bucket(s3), path, facts)).sent


async def test_an_object_with_other_bytes_is_left(tmp_path, s3):
    path, facts = kept(tmp_path)
    s3.objects["out/x_00001_.png"], s3.headers["out/x_00001_.png"] = b"somebody else's", {}
    sent = await deliver(bucket(s3), path, facts, template="{filename}")
    assert s3.objects["out/x_00001_.png"] == b"somebody else's"
    assert s3.objects[f"out/{sent.key}"] == b"picture"


async def test_a_signed_link_gives_the_object_without_a_login(tmp_path, s3):
    path, facts = kept(tmp_path)
    target = bucket(s3)
    sent = await deliver(target, path, facts)
    link = await target.link(sent.key, 300)
    assert link is not None
    async with aiohttp.ClientSession() as session, session.get(link) as answer:
        assert (answer.status, await answer.read()) == (200, b"picture")
    assert "secret" not in link


@pytest.mark.parametrize(("name", "status"), [("renders", 403), ("renders", 400), ("other", 0)])
async def test_a_bucket_that_refuses_is_a_clear_error_without_secrets(tmp_path, s3, name, status):
    path, facts = kept(tmp_path)
    s3.status = status
    with pytest.raises(DeliveryError) as caught:
        await deliver(bucket(s3, name=name), path, facts)
    assert "secret" not in str(caught.value)
    assert s3.objects == {}


@pytest.mark.parametrize(
    "text",
    ["", " ", "ftp://host/x", "s3://", "s3://user:pw@bucket/x", "s3://bucket?colour=red", "gs://b?region=x", "az://?x",
     "s3://bucket?endpoint"],
)  # fmt: skip
def test_what_is_no_destination_is_refused(text):
    with pytest.raises(UsageError):
        deliveries.parse(text)


def test_google_and_azure_are_destinations_too():
    assert deliveries.parse("gs://renders/a").address("k") == "gs://renders/a/k"
    assert deliveries.parse("az://renders?account=me").address("k") == "az://renders/k"
