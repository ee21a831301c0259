"""What a slow reader of a channel finds."""

from comfyops.backends import channel as channel_module
from comfyops.backends.channel import MAX_EVENTS, Channel, Look
from comfyops.backends.events import NodeStarted, Preview, Progress


def everything(channel):
    items = []
    while (item := channel.take_now()) is not None:
        items.append(item)
    return items


def test_newer_progress_and_previews_replace_older_ones_of_the_same_node():
    channel = Channel("r")
    for step in range(50):
        channel.put(Progress("r", "1", step, 50))
        channel.put(Preview("r", "1", "image/jpeg", bytes([step])))
    channel.put(Progress("r", "2", 1, 2))
    assert everything(channel) == [
        Progress("r", "1", 49, 50),
        Preview("r", "1", "image/jpeg", bytes([49])),
        Progress("r", "2", 1, 2),
    ]


def test_finished_pictures_sent_as_png_are_all_kept():
    channel = Channel("r")
    for number in range(20):
        channel.put(Preview("r", "1", "image/png", bytes([number])))
    assert [item.data[0] for item in everything(channel)] == list(range(20))


def test_a_channel_is_bounded_and_drops_previews_first():
    channel = Channel("r")
    channel.put(Preview("r", "1", "image/png", b"x"))
    for number in range(MAX_EVENTS + 10):
        channel.put(NodeStarted("r", str(number)))
    items = everything(channel)
    assert len(items) == MAX_EVENTS and all(isinstance(item, NodeStarted) for item in items)
    assert items[-1].node == str(MAX_EVENTS + 9)


def test_the_bytes_of_pictures_are_bounded():
    channel = Channel("r")
    size = channel_module.MAX_PREVIEW_BYTES // 4
    picture = bytes(size)
    for _ in range(8):
        channel.put(Preview("r", "1", "image/png", picture))
    assert len(everything(channel)) == 4
    channel.put(Preview("r", "1", "image/png", picture))
    assert len(channel) == 1


async def test_hints_of_a_kind_are_one():
    channel = Channel("r")
    for _ in range(100):
        channel.put(Look())
    channel.put(Look(ending=True))
    assert len(channel) == 2
    assert await channel.take(0) is not None


async def test_an_empty_channel_gives_none_after_its_time():
    assert await Channel("r").take(0.01) is None
