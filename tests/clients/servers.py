# encke-dump against a server of the package websockets: servers.py ENCKE-DUMP
import asyncio
import json
import sys

import websockets

dump = sys.argv[1]
passed = failed = 0


async def run(*arguments):
    process = await asyncio.create_subprocess_exec(dump, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode, [json.loads(line) for line in out.decode().splitlines()], err.decode()


async def check(name, f):
    global passed, failed
    try:
        await f()
        passed += 1
    except Exception as why:
        failed += 1
        print(f"FAILED {name}: {why!r}")


def same(found, wanted):
    assert found == wanted, f"{found!r:.500} instead of {wanted!r:.500}"


async def kinds_of_messages():
    ponged = []

    async def feed(socket):
        await socket.send("Zoë")
        await socket.send(b"\xff\x00")
        await (await socket.ping(b"are you there"))
        ponged.append(True)

        async def pieces():
            for i in range(50):
                yield f"{i:05}" * 400

        await socket.send(pieces())
        await socket.send("")
        await socket.close(4000, "bye")

    async with websockets.serve(feed, "127.0.0.1", 0, ping_interval=None) as server:
        port = server.sockets[0].getsockname()[1]
        code, messages, err = await run("-j", "-w", "0", f"ws://127.0.0.1:{port}/feed?a=b")
    text = "text/plain; charset=utf-8"
    same(code, 1)
    same([message["type"] for message in messages], [text, "application/octet-stream", text, text])
    same(messages[0]["data"], "Zoë")
    same(messages[1]["base64"], "/wA=")
    same(messages[2]["data"], "".join(f"{i:05}" * 400 for i in range(50)))
    same(messages[3]["data"], "")
    same(ponged, [True])
    assert "the server closed the WebSocket: 4000 bye" in err, err


async def subprotocols():
    async def feed(socket):
        await socket.send(socket.subprotocol or "none")
        await socket.wait_closed()

    async with websockets.serve(feed, "127.0.0.1", 0, subprotocols=["other", "ours"]) as server:
        port = server.sockets[0].getsockname()[1]
        same((await run("-j", "-n", "1", "-P", "ours", f"ws://127.0.0.1:{port}/"))[1][0]["data"], "ours")
    async with websockets.serve(feed, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        same((await run("-j", "-n", "1", "-P", "ours", f"ws://127.0.0.1:{port}/"))[1][0]["data"], "none")


async def left():
    codes = []

    async def feed(socket):
        await socket.send("one")
        await socket.wait_closed()
        codes.append(socket.close_code)

    async with websockets.serve(feed, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        same((await run("-j", "-n", "1", f"ws://127.0.0.1:{port}/"))[0], 0)
        for _ in range(1000):
            if codes:
                break
            await asyncio.sleep(0.01)
    same(codes, [1001])


async def main():
    await check("kinds of messages", kinds_of_messages)
    await check("subprotocols", subprotocols)
    await check("a client that leaves says so", left)
    print(f"websockets: {passed} passed, {failed} failed")
    sys.exit(failed > 0)


asyncio.run(main())
