"""The suite's `wstest` (Python 2.7): python2 wstest.py -m fuzzingclient -s SPEC

Its masking and its validation of text take a loop turn per byte, which is most of its running time. Here masking is
done four bytes at a time, and text that is all ASCII needs no loop; everything else is left to the suite's own code.
"""

import random
import sys

from autobahn.websocket import utf8validator, xormasker

PlainValidator, plain_masker = utf8validator.Utf8Validator, xormasker.createXorMasker
ASCII = "".join(map(chr, range(128)))
# XORED[key] translates every byte to what it is under that key.
XORED = ["".join(chr(byte ^ key) for byte in range(256)) for key in range(256)]


class Validator(PlainValidator):
    def validate(self, chunk):
        if self.state != utf8validator.UTF8_ACCEPT or chunk.translate(None, ASCII):
            return PlainValidator.validate(self, chunk)
        self.i += len(chunk)
        return True, True, len(chunk), self.i


class Masker(object):
    def __init__(self, mask):
        self.mask = bytearray(mask)
        self.reset()

    def pointer(self):
        return self.position

    def reset(self):
        self.position = 0

    def process(self, data):
        masked = bytearray(data)
        for offset in range(4):
            key = self.mask[(self.position + offset) % 4]
            masked[offset::4] = masked[offset::4].translate(XORED[key])
        self.position += len(masked)
        return bytes(masked)


def self_test():
    """Compares with the code that is replaced."""
    dice = random.Random(1)
    pieces = ["plain text", "\xce\xba", "\xe2\x82\xac", "\xf0\x9f\x8e\xba", "\xed\xa0\x80", "\xc0", "\xf4\x90", "\x80"]
    for _ in range(20000):
        text = "".join(dice.choice(pieces[: dice.choice((1, 4, 8))]) for _ in range(dice.randrange(6)))
        mask = "".join(chr(dice.randrange(256)) for _ in range(4))
        validators, maskers = (Validator(), PlainValidator()), (Masker(mask), plain_masker(mask, len(text)))
        for validator in validators:
            validator.reset()
        while text:
            cut = dice.randrange(len(text) + 1)
            chunk, text = text[:cut], text[cut:]
            quick, plain = [validator.validate(chunk) for validator in validators]
            assert quick == plain, (chunk, quick, plain)
            quick, plain = [masker.process(chunk) for masker in maskers]
            assert quick == plain, (chunk, mask)


# Before the modules that import these names.
utf8validator.Utf8Validator, xormasker.createXorMasker = Validator, lambda mask, length=None: Masker(mask)
from autobahn.websocket import protocol
from autobahntestsuite import wstest

assert protocol.Utf8Validator is Validator and protocol.createXorMasker is xormasker.createXorMasker

if sys.argv[1:] == ["--self-test"]:
    self_test()
else:
    wstest.run()
