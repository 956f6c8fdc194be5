"""What people do with Matrix, each as a function that returns what it has seen. One that does not see what it should raises `UnmetError`."""

import io
import json
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias

import nio
import vodozemac
from attrs import define, evolve, field, frozen
from canonicaljson import encode_canonical_json
from nio.crypto.attachments import decrypt_attachment
from PIL import Image
from unpaddedbase64 import decode_base64, encode_base64

from tests.live.clients.people import PATIENCE, Person, done, eventually, expect, segment

V3 = "/_matrix/client/v3"
V1 = "/_matrix/client/v1"
UNSTABLE = "/_matrix/client/unstable"
SLIDING_SYNC = f"{UNSTABLE}/org.matrix.simplified_msc3575/sync"

Facts: TypeAlias = dict[str, Any]


@frozen
class Place:
    """What the scenarios must know about the installation. Parts that it does not have are None."""

    server_name: str
    push_gateway: str | None = None
    """The URL that an app would give, e.g. `http://sygnal.matrix.svc.cluster.local:5000/_matrix/push/v1/notify`."""
    openid: bool = False
    """Whether the server tells services whose an OpenID token is: with calls or with federation."""
    federation: bool = False
    """Whether other servers are heard."""


@define(eq=False)
class Cast:
    """Who takes part: two people and a bot, a public plain room of all three, and an encrypted room of all three."""

    place: Place
    passwords: dict[str, str]
    """By name."""
    alice: Person
    bob: Person
    bot: Person
    alias: str = ""
    plain: str = ""
    encrypted: str = ""
    events: dict[str, list[str]] = field(factory=dict)
    """The ids of the messages that were accepted, by room."""

    @property
    def people(self) -> tuple[Person, ...]:
        """All of them."""
        return self.alice, self.bob, self.bot

    async def say(self, person: Person, room: str, text: str, **content: Any) -> str:
        """Send a text and remember that it was accepted."""
        event_id = await person.say(room, text, **content)
        self.events.setdefault(room, []).append(event_id)
        return event_id


async def rooms(cast: Cast) -> Facts:
    """A public room with an alias, which bob joins by that alias and the bot by invitation, and an encrypted one, by invitation."""
    alice, bob, bot = cast.people
    for person in cast.people:
        await person.sync(0)
    word = f"plain-{secrets.token_hex(4)}"
    cast.alias = f"#{word}:{cast.place.server_name}"
    created = done(
        await alice.client.room_create(
            visibility=nio.RoomVisibility.public, preset=nio.RoomPreset.public_chat, alias=word, name="Plain", invite=[bot.id]
        )
    )
    cast.plain = created.room_id
    resolved = done(await bob.client.room_resolve_alias(cast.alias))
    expect(resolved.room_id == cast.plain, "the alias names the room", resolved)
    joined = done(await bob.client.join(cast.alias))
    expect(joined.room_id == cast.plain, "bob is in the room of the alias", joined)
    await bot.until(lambda: cast.plain in bot.client.invited_rooms, "the invitation")
    done(await bot.client.join(cast.plain))

    encryption = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
    invited = [bob.id, bot.id]
    created = done(
        await alice.client.room_create(preset=nio.RoomPreset.private_chat, name="Secret", invite=invited, initial_state=[encryption])
    )
    cast.encrypted = created.room_id
    for person in (bob, bot):
        await person.until(lambda person=person: cast.encrypted in person.client.invited_rooms, "the invitation")  # type: ignore[misc]
        done(await person.client.join(cast.encrypted))
    everyone = {person.id for person in cast.people}
    for person in cast.people:
        for room in (cast.plain, cast.encrypted):
            await person.until(lambda person=person, room=room: everyone <= set(_members(person, room)), "everybody in the room")  # type: ignore[misc]
    version = await alice.ask("GET", f"{V3}/rooms/{segment(cast.plain)}/state/m.room.create/")
    return {"version": version.get("room_version", "1"), "members": len(everyone)}


def _members(person: Person, room: str) -> list[str]:
    return list(person.client.rooms[room].users) if room in person.client.rooms else []


async def messages(cast: Cast) -> Facts:
    """Send, reply by the bot, edit, react, redact: the others see each, and the server tells the same when asked."""
    alice, bob, bot = cast.people
    room = cast.plain
    question = await cast.say(alice, room, "!echo hello")
    heard = await bot.sees(room, question)
    reply = await cast.say(bot, room, heard.body.removeprefix("!echo "))
    for person in (alice, bob):
        expect((await person.sees(room, reply)).body == "hello", f"{person.name} reads the bot's reply")
    edit = await cast.say(
        alice,
        room,
        "* !echo goodbye",
        **{
            "m.new_content": {"msgtype": "m.text", "body": "!echo goodbye"},
            "m.relates_to": {"rel_type": "m.replace", "event_id": question},
        },
    )
    seen = await bob.sees(room, edit)
    expect(seen.source["content"]["m.relates_to"]["event_id"] == question, "bob sees the edit", seen.source)
    latest = await bob.ask("GET", f"{V3}/rooms/{segment(room)}/event/{segment(question)}")
    expect(latest["unsigned"]["m.relations"]["m.replace"]["event_id"] == edit, "the server knows the edit", latest)

    reaction = {"m.relates_to": {"rel_type": "m.annotation", "event_id": question, "key": "+1"}}
    reacted = done(await bob.client.room_send(room, "m.reaction", reaction))
    await alice.sees(room, reacted.event_id)
    related = await alice.ask("GET", f"{V1}/rooms/{segment(room)}/relations/{segment(question)}/m.annotation")
    expect([event["event_id"] for event in related["chunk"]] == [reacted.event_id], "the reaction is related", related)

    thread = {"rel_type": "m.thread", "event_id": reply}
    await alice.sees(room, await cast.say(bob, room, "in the thread", **{"m.relates_to": thread}))
    threads = await alice.ask("GET", f"{V1}/rooms/{segment(room)}/threads")
    expect([event["event_id"] for event in threads["chunk"]] == [reply], "the thread is listed", threads)

    regretted = await alice.say(room, "a word that I regret")
    await bob.sees(room, regretted)
    done(await alice.client.room_redact(room, regretted, reason="sorry"))
    await bob.until(
        lambda: any(isinstance(event, nio.RedactionEvent) and event.redacts == regretted for _, event in bob.timeline), "redaction"
    )
    remains = await bob.ask("GET", f"{V3}/rooms/{segment(room)}/event/{segment(regretted)}")
    expect(remains["content"] == {}, "nothing remains of what was redacted", remains)
    around = done(await bob.client.room_context(room, reply))
    expect(around.event.event_id == reply, "the context of the reply", around)
    return {"accepted": len(cast.events[room])}


async def encrypted_messages(cast: Cast) -> Facts:
    """Each sends into the encrypted room, and the others read it; the server holds no word of it."""
    for person in cast.people:
        text = f"only for us, {person.name}"
        event_id = await cast.say(person, cast.encrypted, text)
        for other in cast.people:
            if other is not person:
                read = await other.sees(cast.encrypted, event_id)
                expect(getattr(read, "decrypted", False) and read.body == text, f"{other.name} reads {person.name}'s message", read)
        stored = await cast.alice.ask("GET", f"{V3}/rooms/{segment(cast.encrypted)}/event/{segment(event_id)}")
        expect(stored["type"] == "m.room.encrypted" and text not in json.dumps(stored), "what the server holds is encrypted", stored)
    return {"algorithm": "m.megolm.v1.aes-sha2", "readers": len(cast.people)}


async def ephemeral(cast: Cast) -> Facts:
    """Typing, receipts, read markers and presence."""
    alice, bob, _ = cast.people
    room = cast.plain
    done(await alice.client.room_typing(room, True, timeout=20_000))
    await bob.until(lambda: any(isinstance(e, nio.TypingNoticeEvent) and alice.id in e.users for _, e in bob.ephemeral), "that alice types")
    done(await alice.client.room_typing(room, False))

    last = await cast.say(alice, room, "have you read this?")
    await bob.sees(room, last)
    done(await bob.client.update_receipt_marker(room, last))

    def receipt() -> bool:
        found = [receipt for _, event in alice.ephemeral if isinstance(event, nio.ReceiptEvent) for receipt in event.receipts]
        return any(one.user_id == bob.id and one.event_id == last for one in found)

    await alice.until(receipt, "bob's receipt")
    done(await bob.client.room_read_markers(room, last, last))
    marker = await bob.ask("GET", f"{V3}/user/{segment(bob.id)}/rooms/{segment(room)}/account_data/m.fully_read")
    expect(marker["event_id"] == last, "the read marker", marker)

    for one, other in ((alice, bob), (bob, alice)):
        mood = f"busy {secrets.token_hex(4)}"
        done(await one.client.set_presence("unavailable", mood))
        await other.until(partial(_knows_mood, other, one.id, mood), f"{one.name}'s presence")
        asked = done(await other.client.get_presence(one.id))
        expect(asked.status_msg == mood, f"{one.name}'s presence when asked", asked)
    return {"typing": True, "receipt": True, "read_marker": True, "presence": True}


def _knows_mood(person: Person, of: str, mood: str) -> bool:
    return any(event.user_id == of and event.status_msg == mood for event in person.presence)


async def to_device(cast: Cast) -> Facts:
    """A message from device to device, which no room carries."""
    alice, bob, _ = cast.people
    word = secrets.token_hex(8)
    done(await alice.client.to_device(nio.ToDeviceMessage("com.example.greeting", bob.id, bob.device, {"word": word})))
    await bob.until(
        lambda: any(getattr(event, "source", {}).get("content", {}).get("word") == word for event in bob.to_device), "the greeting"
    )
    return {"delivered": True}


async def devices(cast: Cast) -> Facts:
    """Alice's keys are published, her device gets a name, and bob's client hears of her devices."""
    alice, bob, _ = cast.people
    done(await alice.client.update_device(alice.device, {"display_name": "Alice's phone"}))
    listed = done(await alice.client.devices())
    expect("Alice's phone" in [device.display_name for device in listed.devices], "the list of alice's devices", listed)
    found = await bob.ask("POST", f"{V3}/keys/query", {"device_keys": {alice.id: []}})
    published = found["device_keys"][alice.id][alice.device]["keys"]
    expect(published[f"ed25519:{alice.device}"] == alice.client.olm.account.identity_keys["ed25519"], "alice's published key", published)
    before = bob.client.next_batch
    changes = await bob.ask("GET", f"{V3}/keys/changes?from={segment(before)}&to={segment(before)}")
    expect("changed" in changes, "a list of changes", changes)
    return {"devices": len(listed.devices)}


async def cross_signing(cast: Cast) -> Facts:
    """Alice makes her three keys, signs her device with one of them, and bob verifies the chain from her master key down."""
    alice, bob, _ = cast.people
    keys = {usage: vodozemac.Account() for usage in ("master", "self_signing", "user_signing")}
    public = {usage: account.ed25519_key.to_base64() for usage, account in keys.items()}

    def signed(value: Facts, by: str, key_id: str) -> Facts:
        unsigned = {key: part for key, part in value.items() if key not in ("signatures", "unsigned")}
        signature = keys[by].sign(encode_canonical_json(unsigned)).to_base64()
        present = value.get("signatures", {}).get(alice.id, {})
        return {**unsigned, "signatures": {alice.id: {**present, key_id: signature}}}

    upload: Facts = {}
    for usage, key in public.items():
        body = {"user_id": alice.id, "usage": [usage], "keys": {f"ed25519:{key}": key}}
        upload[f"{usage}_key"] = body if usage == "master" else signed(body, "master", f"ed25519:{public['master']}")
    await alice.ask("POST", f"{V3}/keys/device_signing/upload", upload)

    mine = (await alice.ask("POST", f"{V3}/keys/query", {"device_keys": {alice.id: []}}))["device_keys"][alice.id][alice.device]
    device = signed(mine, "self_signing", f"ed25519:{public['self_signing']}")
    uploaded = await alice.ask("POST", f"{V3}/keys/signatures/upload", {alice.id: {alice.device: device}})
    expect(uploaded.get("failures") == {}, "the signature is accepted", uploaded)

    async def chain() -> Facts | None:
        seen = await bob.ask("POST", f"{V3}/keys/query", {"device_keys": {alice.id: []}})
        signatures = seen["device_keys"][alice.id][alice.device]["signatures"][alice.id]
        return seen if f"ed25519:{public['self_signing']}" in signatures else None

    seen = await eventually(chain, "bob sees the signature of alice's device")
    master = next(iter(seen["master_keys"][alice.id]["keys"].values()))
    self_signing = next(iter(seen["self_signing_keys"][alice.id]["keys"].values()))
    _verify(master, seen["self_signing_keys"][alice.id], alice.id)
    _verify(self_signing, seen["device_keys"][alice.id][alice.device], alice.id)
    return {"master_key": master == public["master"], "verified": ["self_signing_key", "device"]}


def _verify(key: str, value: Facts, user: str) -> None:
    """Raise unless `key` has signed this object in the user's name."""
    unsigned = {name: part for name, part in value.items() if name not in ("signatures", "unsigned")}
    signature = vodozemac.Ed25519Signature.from_base64(value["signatures"][user][f"ed25519:{key}"])
    vodozemac.Ed25519PublicKey.from_base64(key).verify_signature(encode_canonical_json(unsigned), signature)


async def verification(cast: Cast) -> Facts:
    """Alice and bob compare the emoji that their devices show (SAS): each device knows the other's to be genuine then."""
    alice, bob, _ = cast.people
    await alice.until(lambda: bob.device in alice.client.device_store[bob.id], "bob's device")
    await bob.until(lambda: alice.device in bob.client.device_store[alice.id], "alice's device")
    theirs = {alice: alice.client.device_store[bob.id][bob.device], bob: bob.client.device_store[alice.id][alice.device]}
    expect(not any(device.verified for device in theirs.values()), "no device is verified yet")
    done(await alice.client.start_key_verification(theirs[alice]))
    (transaction,) = alice.client.key_verifications
    await bob.until(lambda: transaction in bob.client.key_verifications, "alice's wish to compare")
    done(await bob.client.accept_key_verification(transaction))
    shown = []
    for turn in range(2 * int(PATIENCE)):
        person = (alice, bob)[turn % 2]
        await person.sync()
        sas = [each.client.key_verifications[transaction] for each in (alice, bob)]
        if all(side.established_sas for side in sas):
            shown = [side.get_emoji() for side in sas]
            break
    expect(len(shown) == 2 and shown[0] == shown[1] and len(shown[0]) == 7, "both see the same seven emoji", shown)
    for person in (alice, bob):
        done(await person.client.confirm_short_auth_string(transaction))
    for person in (alice, bob):
        await person.until(lambda person=person: theirs[person].verified, "the other's word that the emoji are the same")  # type: ignore[misc]
    return {"emoji": len(shown[0])}


async def key_backup(cast: Cast) -> Facts:
    """Alice backs the key of the encrypted room up; what comes back with her recovery key decrypts a message of that room."""
    alice = cast.alice
    event_id = await cast.say(alice, cast.encrypted, "remember me")
    stored = await alice.ask("GET", f"{V3}/rooms/{segment(cast.encrypted)}/event/{segment(event_id)}")
    session = alice.client.olm.inbound_group_store.get(
        cast.encrypted, alice.client.olm.account.identity_keys["curve25519"], stored["content"]["session_id"]
    )
    recovery = vodozemac.PkDecryption()
    algorithm = "m.megolm_backup.v1.curve25519-aes-sha2"
    auth = {"public_key": recovery.public_key.to_base64()}
    version = (await alice.ask("POST", f"{V3}/room_keys/version", {"algorithm": algorithm, "auth_data": auth}))["version"]
    secret = {"algorithm": "m.megolm.v1.aes-sha2", "session_key": session.export_session(session.first_known_index)}
    # The parts by their names: `to_base64` gives them in another order than its documentation says (vodozemac 0.10).
    sealed = vodozemac.PkEncryption.from_key(recovery.public_key).encrypt(json.dumps(secret).encode())
    parts = {"ciphertext": sealed.ciphertext, "mac": sealed.mac, "ephemeral": sealed.ephemeral_key}
    row = {
        "first_message_index": session.first_known_index,
        "forwarded_count": 0,
        "is_verified": True,
        "session_data": {name: encode_base64(part) for name, part in parts.items()},
    }
    path = f"{V3}/room_keys/keys/{segment(cast.encrypted)}/{segment(session.id)}?version={version}"
    await alice.ask("PUT", path, row)
    back = (await alice.ask("GET", path))["session_data"]
    message = vodozemac.Message(*(decode_base64(back[name]) for name in ("ciphertext", "mac", "ephemeral")))
    restored = vodozemac.InboundGroupSession.import_session(
        vodozemac.ExportedSessionKey(json.loads(recovery.decrypt(message))["session_key"])
    )
    text = json.loads(restored.decrypt(vodozemac.MegolmMessage.from_base64(stored["content"]["ciphertext"])).plaintext)["content"]["body"]
    expect(text == "remember me", "the message is readable with the key from the backup", text)
    latest = await alice.ask("GET", f"{V3}/room_keys/version")
    expect(latest["count"] == 1, "the backup holds one key", latest)
    return {"keys": latest["count"], "algorithm": algorithm}


async def sliding_sync(cast: Cast) -> Facts:
    """Simplified sliding sync (MSC4186): a list of rooms, then news alone, with what the extensions add."""
    bob, alice = cast.bob, cast.alice
    lists = {"all": {"ranges": [[0, 9]], "required_state": [["m.room.name", ""]], "timeline_limit": 5}}
    extensions = {name: {"enabled": True} for name in ("to_device", "e2ee", "account_data", "receipts", "typing")}
    request = {"conn_id": "phone", "lists": lists, "extensions": extensions}
    first = await bob.ask("POST", f"{SLIDING_SYNC}?timeout=0", request)
    expect({cast.plain, cast.encrypted} <= set(first["rooms"]), "both rooms are listed", list(first["rooms"]))
    event_id = await cast.say(alice, cast.plain, "news for the phone")
    position = first["pos"]

    async def news() -> bool:
        nonlocal position
        answer = await bob.ask("POST", f"{SLIDING_SYNC}?pos={segment(position)}&timeout=2000", request)
        position = answer["pos"]
        timeline = answer["rooms"].get(cast.plain, {}).get("timeline", [])
        return event_id in [event["event_id"] for event in timeline]

    await eventually(news, "the new message in the sliding sync")
    return {"rooms": len(first["rooms"]), "extensions": sorted(first["extensions"])}


async def search(cast: Cast) -> Facts:
    """Full-text search in messages, and the user directory."""
    alice, bob, _ = cast.people
    word = f"needle{secrets.token_hex(4)}"
    event_id = await cast.say(alice, cast.plain, f"a {word} in the haystack")
    body = {"search_categories": {"room_events": {"search_term": word, "filter": {"rooms": [cast.plain]}}}}

    async def found() -> list[str]:
        answer = await bob.ask("POST", f"{V3}/search", body)
        return [hit["result"]["event_id"] for hit in answer["search_categories"]["room_events"]["results"]]

    expect(await eventually(found, f"the search finds {word}") == [event_id], "the search finds the one message")

    async def listed() -> list[str]:
        answer = await alice.ask("POST", f"{V3}/user_directory/search", {"search_term": bob.name})
        return [user["user_id"] for user in answer["results"] if user["user_id"] == bob.id]

    await eventually(listed, "the user directory finds bob")
    return {"messages": 1, "users": 1}


async def media(cast: Cast) -> Facts:
    """A picture: uploaded, fetched and scaled by somebody else who is logged in, refused to who is not; and an encrypted attachment."""
    alice, bob, _ = cast.people
    picture = io.BytesIO()
    # New at each run: what was once put into quarantine, Synapse knows again by its hash.
    Image.frombytes("L", (640, 480), secrets.token_bytes(640 * 480)).save(picture, "PNG")
    uploaded, _ = await alice.client.upload(
        lambda *_: io.BytesIO(picture.getvalue()), "image/png", "noise.png", filesize=len(picture.getvalue())
    )
    uri = done(uploaded).content_uri
    media_id = uri.rpartition("/")[2]
    downloaded = done(await bob.client.download(uri))
    expect(downloaded.body == picture.getvalue(), "bob has the same bytes", len(downloaded.body))
    scaled = done(await bob.client.thumbnail(cast.place.server_name, media_id, 96, 96, nio.ResizingMethod.crop))
    size = Image.open(io.BytesIO(scaled.body)).size
    expect(size == (96, 96), "the thumbnail has the size that was asked for", size)
    path = f"{V1}/media/download/{segment(cast.place.server_name)}/{media_id}"
    refused = await bob.call("GET", path, token=False)
    expect(refused.status == 401, "a stranger gets nothing", refused.status)
    old = await bob.call("GET", f"/_matrix/media/v3/download/{segment(cast.place.server_name)}/{media_id}", token=False)
    expect(old.status == 404, "nor by the old path", old.status)
    await bob.ask("GET", f"{V1}/media/config")

    secret = secrets.token_bytes(100_000)
    uploaded, key = await alice.client.upload(lambda *_: io.BytesIO(secret), "application/octet-stream", encrypt=True, filesize=len(secret))
    stored = done(await bob.client.download(done(uploaded).content_uri)).body
    expect(stored != secret, "what the server holds is encrypted")
    plain = decrypt_attachment(stored, key["key"]["k"], key["hashes"]["sha256"], key["iv"])
    expect(plain == secret, "bob has the attachment with the key")
    return {"uri": uri, "bytes": len(downloaded.body), "thumbnail": list(size)}


async def profiles(cast: Cast) -> Facts:
    """A display name and a picture, which others see in the profile and in the room."""
    alice, bob, _ = cast.people
    name = f"Alice {secrets.token_hex(3)}"
    done(await alice.client.set_displayname(name))
    done(await alice.client.set_avatar(f"mxc://{cast.place.server_name}/abcdefghijklmnopqrstuvwx"))
    seen = done(await bob.client.get_profile(alice.id))
    expect(seen.displayname == name, "alice's display name", seen)
    await bob.until(lambda: bob.client.rooms[cast.plain].user_name(alice.id) == name, "alice's new name in the room")
    return {"displayname": name}


async def settings(cast: Cast) -> Facts:
    """Account data, room tags, a sync filter and a rule for notifications."""
    alice = cast.alice
    user, room = segment(alice.id), segment(cast.plain)
    await alice.ask("PUT", f"{V3}/user/{user}/account_data/com.example.colour", {"colour": "green"})
    kept = await alice.ask("GET", f"{V3}/user/{user}/account_data/com.example.colour")
    expect(kept == {"colour": "green"}, "the account data", kept)
    await alice.ask("PUT", f"{V3}/user/{user}/rooms/{room}/tags/m.favourite", {"order": 0.5})
    tags = await alice.ask("GET", f"{V3}/user/{user}/rooms/{room}/tags")
    expect(list(tags["tags"]) == ["m.favourite"], "the room's tags", tags)
    made = done(await alice.client.upload_filter(room={"timeline": {"limit": 3}}))
    answer = await alice.ask("GET", f"{V3}/sync?filter={segment(made.filter_id)}&timeout=0")
    longest = max(len(joined["timeline"]["events"]) for joined in answer["rooms"]["join"].values())
    expect(longest <= 3, "the filter limits the timeline", longest)
    done(await alice.client.set_pushrule("global", nio.PushRuleKind.content, "greeting", pattern="hello*", actions=[nio.PushNotify()]))
    rules = await alice.ask("GET", f"{V3}/pushrules/global/content/greeting")
    expect(rules["pattern"] == "hello*", "the rule for notifications", rules)
    return {"account_data": True, "tags": True, "filter": made.filter_id, "push_rule": True}


async def push(cast: Cast) -> Facts:
    """Bob's phone has a pusher; a message to him is pushed through the gateway. What the gateway received is for the caller to see."""
    alice, bob, _ = cast.people
    expect(cast.place.push_gateway, "a push gateway")
    pushkey = f"bob-{secrets.token_hex(8)}"
    pusher = {
        "kind": "http",
        "app_id": "com.example.app",
        "pushkey": pushkey,
        "app_display_name": "App",
        "device_display_name": "Phone",
        "lang": "en",
        "data": {"url": cast.place.push_gateway, "format": "event_id_only"},
    }
    await bob.ask("POST", f"{V3}/pushers/set", pusher)
    known = await bob.ask("GET", f"{V3}/pushers")
    expect([one["pushkey"] for one in known["pushers"]] == [pushkey], "the pusher is known", known)
    event_id = await cast.say(alice, cast.plain, f"{bob.name}: wake up", **{"m.mentions": {"user_ids": [bob.id]}})
    await bob.sees(cast.plain, event_id)
    listed = await bob.ask("GET", f"{V3}/notifications?limit=5")
    expect(event_id in [one["event"]["event_id"] for one in listed["notifications"]], "bob is to be notified", listed)
    return {"pushkey": pushkey, "event_id": event_id, "room": cast.plain}


async def turn(cast: Cast) -> Facts:
    """Credentials for TURN. What they are worth is for the caller to try, from where people are."""
    given = await cast.alice.ask("GET", f"{V3}/voip/turnServer")
    expect(given.get("uris") and given.get("username") and given.get("password"), "credentials for TURN", given)
    return given


async def reading(cast: Cast) -> Facts:
    """What clients ask about rooms: messages, members, state, the list of public rooms, the summary of one."""
    bob, room = cast.bob, segment(cast.plain)
    back = done(await bob.client.room_messages(cast.plain, limit=50))
    for path in ("members", "joined_members", "state", "aliases"):
        await bob.ask("GET", f"{V3}/rooms/{room}/{path}")
    await bob.ask("GET", f"{V1}/rooms/{room}/hierarchy")
    await bob.ask("GET", f"{V1}/rooms/{room}/timestamp_to_event?ts=0&dir=f")
    await bob.ask("GET", f"{V1}/room_summary/{segment(cast.alias)}")
    public = await bob.ask("POST", f"{V3}/publicRooms", {"limit": 50})
    expect("chunk" in public, "a list of public rooms", public)
    done(await bob.client.joined_rooms())
    who = done(await bob.client.whoami())
    expect(who.user_id == bob.id, "who bob is", who)
    await bob.ask("GET", f"{V3}/capabilities")
    await bob.ask("GET", "/_matrix/client/versions")
    await bob.ask("GET", f"{V3}/login")
    point = (await bob.ask("GET", f"{V3}/events?timeout=0"))["end"]
    await bob.ask("GET", f"{V3}/events?timeout=0&from={segment(point)}")
    await bob.ask("GET", f"{V3}/rooms/{room}/initialSync")
    return {"messages": len(back.chunk)}


async def membership(cast: Cast) -> Facts:
    """Alice names a room, puts the bot out of it and lets it in again; it knocks, leaves and forgets."""
    alice, _, bot = cast.people
    created = done(
        await alice.client.room_create(
            name="Door", invite=[bot.id], initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}]
        )
    )
    room = created.room_id
    done(await bot.client.join(room))
    await alice.ask("PUT", f"{V3}/rooms/{segment(room)}/state/m.room.topic", {"topic": "Who may come in"})
    done(await alice.client.room_kick(room, bot.id))
    done(await alice.client.room_ban(room, bot.id))
    refused = await bot.client.join(room)
    expect(isinstance(refused, nio.JoinError), "a banned bot stays out", refused)
    done(await alice.client.room_unban(room, bot.id))
    done(await bot.client.room_knock(room))
    done(await alice.client.room_invite(room, bot.id))
    await bot.ask("POST", f"{V3}/rooms/{segment(room)}/join", {})
    done(await bot.client.room_leave(room))
    done(await bot.client.room_forget(room))
    return {"room": room}


async def only_main(cast: Cast) -> Facts:
    """A device that logs out, a new alias, an OpenID token, a report to the administrators."""
    alice, bob, _ = cast.people
    identifier = {"type": "m.id.user", "user": bob.id}
    second = await bob.ask(
        "POST", f"{V3}/login", {"type": "m.login.password", "identifier": identifier, "password": cast.passwords[bob.name]}
    )
    stranger = evolve(bob.wire, requests=bob.wire.requests)
    async with stranger.session() as http:
        headers = {"Authorization": f"Bearer {second['access_token']}"}
        async with http.post(f"{stranger.base}{V3}/logout", headers=headers, json={}) as answer:
            expect(answer.status == 200, "the second device logs out", answer.status)
        async with http.get(f"{stranger.base}{V3}/account/whoami", headers=headers) as answer:
            expect(answer.status == 401, "its token is worth nothing then", answer.status)
    who = done(await bob.client.whoami())
    expect(who.device_id == bob.device, "the first device is still logged in", who)
    alias = f"#second-{secrets.token_hex(4)}:{cast.place.server_name}"
    done(await alice.client.room_put_alias(alias, cast.plain))
    done(await alice.client.room_delete_alias(alias))
    token = await alice.ask("POST", f"{V3}/user/{segment(alice.id)}/openid/request_token", {})
    expect(token["matrix_server_name"] == cast.place.server_name, "an OpenID token of this server", token)
    if cast.place.openid:
        owner = await alice.ask("GET", f"/_matrix/federation/v1/openid/userinfo?access_token={segment(token['access_token'])}", token=False)
        expect(owner == {"sub": alice.id}, "the OpenID token is alice's", owner)
    event_id = cast.events[cast.plain][0]
    await bob.ask("POST", f"{V3}/rooms/{segment(cast.plain)}/report/{segment(event_id)}", {"reason": "a test"})
    return {"logged_out": second["device_id"], "openid": token["token_type"]}


async def closed_doors(cast: Cast) -> Facts:
    """What the public must not reach: administration, replication, metrics, other servers' requests when there are none."""
    alice = cast.alice
    administration = {
        path: (await alice.call("GET", path)).status
        for path in (
            "/_synapse/admin/v1/server_version",
            "/_synapse/admin/v2/users",
            "/_synapse/admin/v1/register",
            "/%5fsynapse/admin/v1/rooms",
        )
    }
    others = {
        path: (await alice.call("GET", path, token=False)).status
        for path in ("/_synapse/replication/", "/_synapse/metrics", "/metrics", "/")
    }
    for path, status in {**administration, **others}.items():
        expect(status in (403, 404), f"{path} is closed", status)
    stranger = await alice.call("GET", f"{V3}/account/whoami", token=False)
    expect(stranger.status == 401, "who does not log in is nobody", stranger.status)
    return {"statuses": {**administration, **others}}


async def sign_in_page(cast: Cast) -> Facts:
    """Single sign-on that is not configured: its worker says so."""
    answer = await cast.alice.call("GET", f"{V3}/login/sso/redirect?redirectUrl=https%3A%2F%2Fapp.example.com", token=False)
    expect(answer.status in (302, 400, 404), "an answer of the sign-on", (answer.status, answer.body))
    return {"status": answer.status, "errcode": answer.json.get("errcode")}


async def well_known(cast: Cast) -> Facts:
    """A client that knows the server name alone finds the homeserver."""
    answer = await cast.alice.call("GET", "/.well-known/matrix/client", token=False, host=cast.place.server_name)
    expect(answer.status == 200, "well-known for clients", (answer.status, answer.body))
    expect(answer.headers.get("access-control-allow-origin") == "*", "browsers may read it", answer.headers)
    return {"homeserver": answer.json["m.homeserver"]["base_url"]}


async def federation(cast: Cast) -> Facts:
    """Other servers are heard: a question that needs no signature is answered, and one without its signature is refused by Synapse."""
    alice = cast.alice
    version = await alice.ask("GET", "/_matrix/federation/v1/version", token=False)
    transaction = await alice.call("PUT", "/_matrix/federation/v1/send/1", {"origin": "other.example.org", "pdus": []}, token=False)
    expect(transaction.status == 401, "an unsigned transaction is refused", (transaction.status, transaction.body))
    profile = await alice.call("GET", f"/_matrix/federation/v1/query/profile?user_id={segment(alice.id)}", token=False)
    expect(profile.status == 401, "nor is a profile told to a stranger", (profile.status, profile.body))
    return {"version": version["server"]["version"], "unsigned": transaction.json.get("errcode")}


async def nothing_is_lost(cast: Cast) -> Facts:
    """Every message that was accepted is in the timeline of every member, once."""
    missing: dict[str, list[str]] = {}
    for person in cast.people:
        for room, accepted in cast.events.items():
            seen = [event["event_id"] for event in await history(person, room)]
            lost = [event_id for event_id in accepted if seen.count(event_id) != 1]
            if lost:
                missing[f"{person.name} in {room}"] = lost
    expect(not missing, "accepted messages are missing", missing)
    return {"accepted": sum(map(len, cast.events.values())), "members": len(cast.people)}


async def history(person: Person, room: str) -> list[Facts]:
    """All events of a room that a member may see, newest first, as the server tells when asked page by page."""
    events: list[Facts] = []
    start: str | None = None
    while True:
        page = await person.ask(
            "GET", f"{V3}/rooms/{segment(room)}/messages?dir=b&limit=100" + (f"&from={segment(start)}" if start else "")
        )
        events += page["chunk"]
        start = page.get("end")
        if not start:
            return events


Scenario: TypeAlias = Callable[[Cast], Awaitable[Facts]]

SCENARIOS: tuple[Scenario, ...] = (
    messages,
    encrypted_messages,
    ephemeral,
    to_device,
    devices,
    cross_signing,
    verification,
    key_backup,
    sliding_sync,
    search,
    media,
    profiles,
    settings,
    push,
    turn,
    reading,
    membership,
    only_main,
    closed_doors,
    sign_in_page,
    well_known,
    federation,
    nothing_is_lost,
)
"""In the order in which they run, after `rooms`."""
