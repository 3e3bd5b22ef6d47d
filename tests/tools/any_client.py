"""A producer that shares no code with Trilane: publishes one task, and prints the result that comes back.

    any_client.py URL AGENT json|msgpack named|unnamed TASK_JSON

`named` sends the Content-Type header, `unnamed` leaves the encoding to be told from the payload. Prints one
line of JSON: the Content-Type of the result, its subject, and its decoded fields.
"""

import asyncio
import json
import sys

import msgpack
import nats

# Seconds until a result that does not come is given up. Generous: only a failing test uses it up.
PATIENCE = 30

ENCODINGS = {
    "json": ("application/json", lambda task: json.dumps(task).encode(), json.loads),
    "msgpack": ("application/msgpack", msgpack.packb, msgpack.unpackb),
}


async def main(url, agent, encoding, naming, task):
    content_type, encode, decode = ENCODINGS[encoding]
    headers = {"Content-Type": content_type} if naming == "named" else None
    client = await nats.connect(url)
    try:
        results = await client.subscribe(f"results.{agent}.>")
        stored = await client.jetstream().publish(f"tasks.{agent}", encode(task), headers=headers)
        message = await results.next_msg(timeout=PATIENCE)
        return {
            "stored_in": stored.stream,
            "subject": message.subject,
            "content_type": (message.headers or {}).get("Content-Type"),
            "result": decode(message.data),
        }
    finally:
        await client.close()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(*sys.argv[1:5], json.loads(sys.argv[5])))))
