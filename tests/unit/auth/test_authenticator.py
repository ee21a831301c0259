"""Tokens, passwords and sessions: who is let in, for how long, and what stops them."""

from __future__ import annotations

import asyncio
import stat
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from comfyops.auth.administration import Administration
from comfyops.auth.authenticator import Authenticator
from comfyops.auth.principal import Principal
from comfyops.auth.records import Change
from comfyops.auth.store import Store
from comfyops.auth.watch import LOOK_EVERY
from comfyops.config import AuthSettings
from comfyops.errors import AccountError, StorageError, TooManyAttemptsError, WrongCredentialError
from tests.unit.auth.conftest import CHEAP, PASSWORD, Clock

HERE = "192.0.2.1"


async def refused_within(gate: Authenticator, token: str, seconds: float) -> bool:
    """Whether the token stops within this time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if await gate.bearer(token, HERE) is None:
            return True
        await asyncio.sleep(0.01)
    return False


async def test_a_token_lets_in_its_owner(gate: Authenticator, administration: Administration) -> None:
    made = administration.create_token("ci", "artist")
    principal = await gate.bearer(made.text, HERE)
    assert principal is not None and principal.may("jobs:write") and not principal.may("jobs:all")
    assert (principal.name, principal.role, principal.kind, principal.token_id) == (
        "ci",
        "artist",
        "token",
        made.token.id,
    )
    assert principal.id == made.token.owner


async def test_a_wrong_token_lets_in_nobody(gate: Authenticator, administration: Administration) -> None:
    made = administration.create_token("ci", "artist")
    other = administration.create_token("other", "artist")
    mixed = made.text[:22] + other.text[22:]
    wrong = ["", " ", "x", mixed, made.text + "x", made.text[:-1], made.text.upper(), made.token.hash, "\ud800" * 9]
    for text in [*wrong, "Bearer " + made.text, made.text + "\n", "é" * 5000, f"cops_{'0' * 16}_{'a' * 43}"]:
        assert await gate.bearer(text, HERE) is None, text
    assert await gate.bearer(made.text, HERE) is not None


async def test_a_revoked_token_stops_within_a_second(gate: Authenticator, administration: Administration) -> None:
    made = administration.create_token("ci", "artist")
    assert await gate.bearer(made.text, HERE) is not None
    administration.revoke_token("ci")
    assert await refused_within(gate, made.text, 1.0)


async def test_a_token_revoked_by_another_process_stops_within_a_second(
    gate: Authenticator, administration: Administration, store: Store
) -> None:
    made = administration.create_token("ci", "artist")
    assert await gate.bearer(made.text, HERE) is not None
    code = (
        "import sys, time; from pathlib import Path; from comfyops.auth.store import Store; "
        "Store(Path(sys.argv[1])).tokens.revoke('ci', time.time())"
    )
    done = await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(store.path))
    still_in = 0
    while done.returncode is None:
        still_in += await gate.bearer(made.text, HERE) is not None
        await asyncio.sleep(0.01)
    assert done.returncode == 0 and still_in > 0
    assert await refused_within(gate, made.text, 1.0)


async def test_a_change_elsewhere_costs_no_hash_and_lets_others_stay(
    gate: Authenticator, administration: Administration
) -> None:
    made = administration.create_token("ci", "artist")
    before = await gate.bearer(made.text, HERE)
    administration.create_token("other", "viewer")
    await asyncio.sleep(LOOK_EVERY)
    assert await gate.bearer(made.text, HERE) == before


async def test_other_scopes_of_a_role_count_within_a_second(
    gate: Authenticator, administration: Administration
) -> None:
    administration.set_role("batch", ["jobs:write"])
    made = administration.create_token("ci", "batch")
    administration.set_role("batch", ["jobs:read"])
    await asyncio.sleep(LOOK_EVERY)
    principal = await gate.bearer(made.text, HERE)
    assert principal is not None and principal.scopes == {"jobs:read"}


async def test_a_token_ends_at_its_time(gate: Authenticator, administration: Administration, clock: Clock) -> None:
    made = administration.create_token("ci", "artist", lifetime=60.0)
    clock.now += 59.9
    assert await gate.bearer(made.text, HERE) is not None
    clock.now += 0.2
    assert await gate.bearer(made.text, HERE) is None


async def test_a_rotated_token_keeps_its_owner_and_the_old_one_overlaps(
    gate: Authenticator, administration: Administration, clock: Clock
) -> None:
    old = administration.create_token("ci", "artist")
    new = administration.rotate_token("ci", overlap=60.0)
    first, second = await gate.bearer(old.text, HERE), await gate.bearer(new.text, HERE)
    assert first is not None and second is not None and first.id == second.id and first.token_id != second.token_id
    clock.now += 61
    assert await gate.bearer(old.text, HERE) is None and await gate.bearer(new.text, HERE) == second


async def test_the_tokens_of_a_disabled_user_stop(gate: Authenticator, administration: Administration) -> None:
    user = administration.create_user("ann", "artist", PASSWORD)
    made = administration.create_token("anns", "viewer", user="ann")
    principal = await gate.bearer(made.text, HERE)
    assert principal is not None and principal.id == user.id and principal.role == "viewer"
    administration.disable_user("ann")
    assert await refused_within(gate, made.text, 1.0)
    with pytest.raises(WrongCredentialError):
        await gate.login("ann", PASSWORD, HERE)


async def test_guessing_secrets_of_one_token_makes_the_guesser_wait_not_its_owner(
    gate: Authenticator, administration: Administration
) -> None:
    made = administration.create_token("ci", "artist")
    with pytest.raises(TooManyAttemptsError):
        for number in range(20):
            assert await gate.bearer(f"cops_{made.token.id}_{number:043}", "203.0.113.9") is None
    assert await gate.bearer(made.text, HERE) is not None


async def test_many_requests_at_once_prove_a_token_once(store: Store, administration: Administration) -> None:
    made = administration.create_token("ci", "artist")
    gate = Authenticator(store, AuthSettings(max_login_attempts=1))
    found = await asyncio.gather(*(gate.bearer(made.text, HERE) for _ in range(100)))
    gate.close()
    assert len(set(found)) == 1 and found[0] is not None


async def test_a_remembered_token_costs_microseconds(gate: Authenticator, administration: Administration) -> None:
    made = administration.create_token("ci", "artist")
    await gate.bearer(made.text, HERE)
    started = time.process_time()
    for _ in range(5000):
        await gate.bearer(made.text, HERE)
    assert (time.process_time() - started) / 5000 < 100e-6


async def test_nobody_is_let_in_where_the_store_cannot_be_read(
    gate: Authenticator, administration: Administration, store: Store
) -> None:
    made = administration.create_token("ci", "artist")
    assert await gate.bearer(made.text, HERE) is not None
    store.close()
    for path in store.path.parent.glob("auth.db*"):
        path.unlink()
    store.path.write_bytes(b"no database at all" * 100)
    await asyncio.sleep(LOOK_EVERY)
    with pytest.raises(StorageError):
        await gate.bearer(made.text, HERE)


async def test_a_session_lasts_from_sign_in_to_sign_out(gate: Authenticator, administration: Administration) -> None:
    user = administration.create_user("ann", "artist", PASSWORD)
    signed_in = await gate.login("ann", PASSWORD, HERE)
    assert signed_in.value not in repr(signed_in)
    principal = await gate.session(signed_in.value)
    assert principal == signed_in.principal and principal is not None
    assert (principal.id, principal.kind, principal.token_id) == (user.id, "user", signed_in.session_id)
    assert await gate.logout(signed_in.value) == signed_in.session_id
    assert await gate.session(signed_in.value) is None and await gate.logout(signed_in.value) is None
    assert await gate.session("") is None and await gate.session("\ud800") is None and await gate.session("x") is None


async def test_a_stolen_cookie_is_worthless_after_sign_out_in_another_process(
    gate: Authenticator, administration: Administration, store: Store, settings: AuthSettings
) -> None:
    administration.create_user("ann", "artist", PASSWORD)
    signed_in = await gate.login("ann", PASSWORD, HERE)
    elsewhere = Authenticator(store, settings)
    assert await elsewhere.session(signed_in.value) is not None
    await gate.logout(signed_in.value)
    await asyncio.sleep(LOOK_EVERY)
    assert await elsewhere.session(signed_in.value) is None
    elsewhere.close()


async def test_a_session_ends_when_it_is_idle_and_in_any_case(
    gate: Authenticator, administration: Administration, clock: Clock
) -> None:
    administration.create_user("ann", "artist", PASSWORD)
    idle, busy = await gate.login("ann", PASSWORD, HERE), await gate.login("ann", PASSWORD, HERE)
    for _ in range(19):
        clock.now += 52.0
        assert await gate.session(busy.value) is not None
    assert await gate.session(idle.value) is None
    clock.now += 20.0
    assert await gate.session(busy.value) is None


@pytest.mark.parametrize(("back", "lasts"), [(30.0, True), (3600.0, False)])
async def test_a_clock_that_is_set_back_makes_no_session_longer(
    gate: Authenticator,
    administration: Administration,
    store: Store,
    settings: AuthSettings,
    clock: Clock,
    back: float,
    lasts: bool,
) -> None:
    """One that began while the clock was wrong ends, rather than to count until that time comes."""
    administration.create_user("ann", "artist", PASSWORD)
    signed_in = await gate.login("ann", PASSWORD, HERE)
    clock.now -= back
    elsewhere = Authenticator(store, settings)
    for one in (gate, elsewhere):
        assert (await one.session(signed_in.value) is not None) == lasts
    elsewhere.close()


async def test_a_session_that_is_used_in_one_process_is_not_idle_in_another(
    gate: Authenticator, administration: Administration, store: Store, settings: AuthSettings, clock: Clock
) -> None:
    administration.create_user("ann", "artist", PASSWORD)
    signed_in = await gate.login("ann", PASSWORD, HERE)
    elsewhere = Authenticator(store, settings)
    assert await elsewhere.session(signed_in.value) is not None
    for _ in range(4):
        clock.now += 60.0
        assert await gate.session(signed_in.value) is not None
    assert await elsewhere.session(signed_in.value) is not None
    elsewhere.close()


async def test_another_password_ends_every_session(gate: Authenticator, administration: Administration) -> None:
    administration.create_user("ann", "artist", PASSWORD)
    signed_in = await gate.login("ann", PASSWORD, HERE)
    await gate.change_password("ann", PASSWORD, "and now some others", HERE)
    await asyncio.sleep(LOOK_EVERY)
    assert await gate.session(signed_in.value) is None
    with pytest.raises(WrongCredentialError):
        await gate.login("ann", PASSWORD, HERE)
    assert await gate.login("ann", "and now some others", HERE)


@pytest.mark.parametrize("tail", ["", "x" * 72, "ü" * 60, "\0" + "z" * 10])
async def test_every_character_of_a_password_counts(
    gate: Authenticator, administration: Administration, tail: str
) -> None:
    administration.create_user("ann", "artist", PASSWORD + tail + "1")
    assert await gate.login("ann", PASSWORD + tail + "1", HERE)
    with pytest.raises(WrongCredentialError):
        await gate.login("ann", PASSWORD + tail + "2", HERE)


async def test_a_composed_letter_is_the_same_as_a_decomposed_one(
    gate: Authenticator, administration: Administration
) -> None:
    administration.create_user("ann", "artist", "caf\u00e9 caf\u00e9 caf\u00e9")
    assert await gate.login("ann", "cafe\u0301 cafe\u0301 cafe\u0301", HERE)


async def test_addresses_of_one_customer_guess_secrets_together(
    gate: Authenticator, administration: Administration
) -> None:
    made = administration.create_token("ci", "artist")
    with pytest.raises(TooManyAttemptsError):
        for number in range(30):
            assert await gate.bearer(f"cops_{made.token.id}_{number:043}", f"2001:db8::{number:x}") is None
    assert await gate.bearer(made.text, HERE)


async def test_wrong_passwords_lead_to_growing_waits(
    gate: Authenticator, administration: Administration, clock: Clock
) -> None:
    administration.create_user("ann", "artist", PASSWORD)
    waits = []
    for _ in range(6):
        try:
            await gate.login("ann", "wrong wrong wrong", HERE)
        except TooManyAttemptsError as error:
            waits.append(error.facts["retry_after"])
            clock.now += error.facts["retry_after"]
        except WrongCredentialError:
            pass
        if len(waits) < 3:
            with pytest.raises((WrongCredentialError, TooManyAttemptsError)):
                await gate.login("ann", "wrong wrong wrong", HERE)
    assert waits == sorted(waits) and waits[0] == 1 and waits[-1] >= 4
    clock.now += waits[-1] * 2
    assert await gate.login("ann", PASSWORD, HERE)


async def test_an_unknown_name_is_answered_like_a_wrong_password(
    gate: Authenticator, administration: Administration
) -> None:
    administration.create_user("ann", "artist", PASSWORD)
    said = set()
    for name in ("ann", "nobody", "", "\ud800", "x" * 10_000):
        with pytest.raises(WrongCredentialError) as caught:
            await gate.login(name, "wrong wrong wrong", f"198.51.100.{len(name) % 250}")
        said.add(caught.value.message)
    assert len(said) == 1


async def test_guessing_at_one_account_does_not_lock_its_owner_out_for_long(
    gate: Authenticator, administration: Administration, clock: Clock
) -> None:
    administration.create_user("ann", "artist", PASSWORD)
    for number in range(60):
        with pytest.raises((WrongCredentialError, TooManyAttemptsError)):
            await gate.login("ann", "wrong wrong wrong", f"203.0.113.{number}")
        clock.now += 10.0
    clock.now += 31.0
    assert await gate.login("ann", PASSWORD, HERE)


async def test_the_addresses_of_one_customer_count_as_one(gate: Authenticator) -> None:
    with pytest.raises(TooManyAttemptsError):
        for number in range(8):
            with pytest.raises(WrongCredentialError):
                await gate.login(f"name{number}", "wrong wrong wrong", f"2001:db8:0:1::{number:x}")


async def test_a_thousand_sign_ins_at_once_stall_nobody(store: Store, administration: Administration) -> None:
    made = administration.create_token("ci", "artist")
    administration.create_user("ann", "artist", PASSWORD)
    gate = Authenticator(store, AuthSettings(bcrypt_rounds=10, max_login_attempts=1000))
    await gate.bearer(made.text, HERE)
    storm = [asyncio.ensure_future(gate.login("ann", "wrong wrong", f"10.0.{n // 250}.{n % 250}")) for n in range(1000)]
    waits = []
    for _ in range(100):
        await asyncio.sleep(0.005)
        started = time.perf_counter()
        assert await gate.bearer(made.text, HERE) is not None
        waits.append(time.perf_counter() - started)
    done = sum(task.done() for task in storm)
    for task in storm:
        task.cancel()
    await asyncio.gather(*storm, return_exceptions=True)
    gate.close()
    assert done < 1000 and sorted(waits)[50] < 0.005 and max(waits) < 0.5


async def test_the_first_administrator_needs_the_one_time_secret_once(
    gate: Authenticator, administration: Administration, clock: Clock
) -> None:
    secret = administration.offer_setup()
    with pytest.raises(WrongCredentialError):
        await gate.setup("x" * 32, "boss", PASSWORD, "198.51.100.1")
    with pytest.raises(WrongCredentialError):
        await gate.setup("", "boss", PASSWORD, "198.51.100.1")
    signed_in = await gate.setup(secret, "boss", PASSWORD, HERE)
    assert signed_in.principal.role == "administrator"
    with pytest.raises(WrongCredentialError):
        await gate.setup(secret, "second", PASSWORD, HERE)
    with pytest.raises(AccountError):
        administration.offer_setup()
    with pytest.raises(AccountError):
        administration.first_administrator("third", PASSWORD)


async def test_a_one_time_secret_ends_after_an_hour(
    gate: Authenticator, administration: Administration, clock: Clock
) -> None:
    secret = administration.offer_setup()
    clock.now += 3601
    with pytest.raises(WrongCredentialError):
        await gate.setup(secret, "boss", PASSWORD, HERE)


async def test_there_are_no_guests_unless_they_are_let_in(store: Store, settings: AuthSettings) -> None:
    closed, opened = Authenticator(store, settings), Authenticator(store, replace(settings, guest_mode=True))
    guest = opened.guest()
    assert closed.guest() is None and guest is not None and guest.scopes == {"self", "server:read"}
    closed.close()
    opened.close()


async def test_subscribers_hear_of_what_ends(gate: Authenticator, administration: Administration, clock: Clock) -> None:
    user = administration.create_user("ann", "artist", PASSWORD)
    signed_in = await gate.login("ann", PASSWORD, HERE)
    token = administration.create_token("ci", "viewer", lifetime=500.0)
    bearer = await gate.bearer(token.text, HERE)
    assert bearer is not None
    heard: asyncio.Queue[Change] = asyncio.Queue()

    async def listen() -> None:
        async for change in gate.subscribe_revocations():
            heard.put_nowait(change)

    async def until(kind: str, principal: Principal) -> list[Change]:
        before = []
        async with asyncio.timeout(10):
            while not ((change := await heard.get()).kind == kind and change.concerns(principal)):
                before.append(change)
        return before

    listener = asyncio.ensure_future(listen())
    await asyncio.sleep(0.2)
    await gate.logout(signed_in.value)
    assert not any(change.concerns(bearer) for change in await until("session", signed_in.principal))
    clock.now += 600
    await until("token", bearer)
    again = await gate.login("ann", PASSWORD, HERE)
    administration.disable_user(user.name)
    await until("user", again.principal)
    listener.cancel()


def test_only_its_owner_can_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "auth.db"
    path.touch(0o644)
    store = Store(path)
    assert {stat.S_IMODE(item.stat().st_mode) for item in tmp_path.glob("auth.db*")} == {0o600}
    store.close()


def test_no_secret_is_kept(store: Store, administration: Administration) -> None:
    made = administration.create_token("ci", "artist")
    administration.create_user("ann", "artist", PASSWORD)
    secret = administration.offer_setup()
    held = b"".join(path.read_bytes() for path in store.path.parent.iterdir())
    assert made.text[22:].encode() not in held and PASSWORD.encode() not in held and secret.encode() not in held
    assert made.text not in repr(made) and made.token.hash not in repr(made)
    assert int(made.token.hash.split("$")[2]) == CHEAP
