#!/usr/bin/env python3
"""What the guest must find, computed without the code under test."""
import hashlib

def pattern(length):
    return bytes((n * n + n // 7) & 0xFF for n in range(length))

def md5(data):
    return hashlib.md5(data).hexdigest()

CONTENT = pattern(5_000_000)
MIB = 1 << 20

def say(*words):
    print("RESULT", *words)

say("ports", "ring3.control ring3.stdin ring3.stdout ring3.tty")
say("stdin", md5(pattern(300_000)))
say("stdin-again", md5(pattern(100_000)))
say("disk-serial", "ring3-serial")
say("disk-limits", 126, 65536)
say("stdout", "right")
say("tty-size", "25 80")
say("tty-resized", "43 132")
say("tty", md5(pattern(2000)))
say("tty-output", "right")
say("disk-direct", md5(CONTENT[:4 * MIB]))
say("disk-cached", md5(CONTENT))
say("disk-zeros", md5(bytes(2 * MIB)))
for index in (1, 2):
    say(f"scratch-{index}", md5(CONTENT[:4 * MIB]), md5(CONTENT[:4 * MIB]))
    say(f"scratch-cached-{index}", md5(CONTENT[:4 * MIB]))
say("read-only", "yes")
say("rng", "virtio_rng.0")
say("rng-bytes", 3000)
say("net", "52:54:00:12:34:56 1")
for size in (0, 56, 1472):
    say(f"ping-{size}", "5 packets transmitted, 5 packets received, 0% packet loss")
say("net-unplugged", 0)
say("disk-reloaded", md5(CONTENT[:4 * MIB]))
say("stdin-reloaded", md5(pattern(50_000)))
say("end")
