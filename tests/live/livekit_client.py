"""Two people in a call, with LiveKit's own SDK: one speaks, the other hears. Run by a Python that has PyPI's `livekit`.

Usage: livekit_client.py URL TOKEN URL TOKEN. Prints, as JSON, the frames that were heard and the addresses from which LiveKit sent them.
"""

import asyncio
import json
import sys

from livekit import rtc  # type: ignore[import-not-found]

FRAMES = 20


async def main(urls: list[str], tokens: list[str]) -> None:
    """Give up after half a minute."""
    speaker, listener = rtc.Room(), rtc.Room()
    heard, frames = asyncio.Event(), 0

    @listener.on("track_subscribed")  # type: ignore[untyped-decorator]
    def subscribed(track: rtc.Track, *_: object) -> None:
        async def hear() -> None:
            nonlocal frames
            async for _ in rtc.AudioStream(track):
                frames += 1
                if frames >= FRAMES:
                    heard.set()
                    return

        tasks.append(asyncio.ensure_future(hear()))

    async def speak() -> None:
        while True:
            await source.capture_frame(rtc.AudioFrame.create(48_000, 1, 480))

    await listener.connect(urls[1], tokens[1])
    await speaker.connect(urls[0], tokens[0])
    source = rtc.AudioSource(48_000, 1)
    await speaker.local_participant.publish_track(rtc.LocalAudioTrack.create_audio_track("voice", source))
    tasks = [asyncio.ensure_future(speak())]
    await asyncio.wait_for(heard.wait(), 30)
    stats = await listener.get_rtc_stats()
    both = [*stats.publisher_stats, *stats.subscriber_stats]
    remote = [stat.remote_candidate.candidate for stat in both if stat.HasField("remote_candidate")]
    ports = sorted({candidate.port for candidate in remote if candidate.protocol == "udp"})
    print(json.dumps({"frames": frames, "udp_ports": ports}))
    for task in tasks:
        task.cancel()
    await speaker.disconnect()
    await listener.disconnect()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1::2], sys.argv[2::2]))
