"""Publishes on Redis what a program that is no fanfare may publish.

usage: publish.py SOCKET CHANNEL raw HEX
       publish.py SOCKET CHANNEL envelope KIND ORIGIN SEQ ROOM HEX

An envelope is as docs/backplane.md describes it: written from there, in another language.
"""

import socket
import struct
import sys

KINDS = {"text": 1, "binary": 2}


def envelope(kind, origin, seq, room, payload):
    name = room.encode()
    head = b"\xffWB\x01" + struct.pack(">BQQB", KINDS[kind], origin, seq, len(name))
    return head + name + payload


def publish(path, channel, payload):
    words = [b"PUBLISH", channel.encode(), payload]
    command = b"*%d\r\n" % len(words)
    for word in words:
        command += b"$%d\r\n%s\r\n" % (len(word), word)
    with socket.socket(socket.AF_UNIX) as redis:
        redis.settimeout(10)
        redis.connect(path)
        redis.sendall(command)
        answer = redis.makefile("rb").readline()
    if not answer.startswith(b":"):
        sys.exit(f"not a number: {answer!r}")
    print(int(answer[1:]))


def main():
    path, channel, form, *rest = sys.argv[1:]
    if form == "raw":
        payload = bytes.fromhex(rest[0])
    else:
        kind, origin, seq, room, payload = rest
        payload = envelope(kind, int(origin), int(seq), room, bytes.fromhex(payload))
    publish(path, channel, payload)


main()
