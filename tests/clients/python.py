"""Clients of PyPI: websockets and httpx-sse.   python.py CHAT TESTBED (ports)"""
import asyncio
import json
import sys

import httpx
import websockets
from httpx_sse import aconnect_sse

CHAT, TESTBED = sys.argv[1:3]


async def echo(compression):
    async with websockets.connect(f"ws://127.0.0.1:{TESTBED}/echo", compression=compression) as socket:
        for message in ("", "grüße", "x" * 200_000, bytes(70_000)):
            await socket.send(message)
            assert await socket.recv() == message
        await socket.send(["in ", "several ", "fragments"])
        assert await socket.recv() == "in several fragments"
        await (await socket.ping(b"there?"))
        await socket.close(4001, "bye")
        assert socket.close_code == 4001, socket.close_code


async def refused():
    try:
        async with websockets.connect(f"ws://127.0.0.1:{TESTBED}/echo", origin="http://evil.example"):
            raise AssertionError("taken")
    except websockets.InvalidStatus as why:
        assert why.response.status_code == 403, why


async def room_by_socket():
    url = f"ws://127.0.0.1:{CHAT}/room/python-ws?name=python"
    async with httpx.AsyncClient() as client:
        async with websockets.connect(url, subprotocols=["encke.json"]) as socket:
            position = json.loads(await socket.recv())["position"]
        for n in range(3):
            await client.post(f"http://127.0.0.1:{CHAT}/room/python-ws?name=host", content=str(n))
        async with websockets.connect(f"{url}&since={position}", subprotocols=["encke.json"]) as socket:
            assert json.loads(await socket.recv())["recovered"] is True
            got = []
            while len(got) < 3:
                message = json.loads(await socket.recv())
                if message.get("event") != "who":
                    got.append(message["data"])
            assert got == ["host: 0", "host: 1", "host: 2"], got


async def room_by_events():
    url = f"http://127.0.0.1:{CHAT}/room/python-sse?name=python"
    async with httpx.AsyncClient(timeout=30) as client:
        async with aconnect_sse(client, "GET", url) as source:
            async for event in source.aiter_sse():
                last = event.id
                if event.event == "who":
                    break
        for n in range(3):
            await client.post(f"http://127.0.0.1:{CHAT}/room/python-sse?name=host", content=str(n))
        got = []
        async with aconnect_sse(client, "GET", url, headers={"Last-Event-ID": last}) as source:
            async for event in source.aiter_sse():
                if event.event == "recovered":
                    assert event.data == "yes"
                elif event.event == "message" and event.data:
                    got.append(event.data)
                    if len(got) == 3:
                        break
        assert got == ["host: 0", "host: 1", "host: 2"], got


async def main():
    passed = failed = 0
    for name, test in (
        ("echo", lambda: echo(None)), ("echo, compressed", lambda: echo("deflate")), ("another origin", refused),
        ("a room by WebSocket", room_by_socket), ("a room by server-sent events", room_by_events),
    ):
        try:
            await asyncio.wait_for(test(), 60)
            passed += 1
        except Exception as why:
            failed += 1
            print(f"FAILED {name}: {why!r}")
    print(f"python: {passed} passed, {failed} failed")
    return failed > 0


sys.exit(asyncio.run(main()))
