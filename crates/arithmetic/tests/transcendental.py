#!/usr/bin/env python3
"""Writes transcendental.txt: operands of the x87's transcendental instructions, and their results
computed with 400 bits by mpmath and rounded once.

Each line: mnemonic, rounding control, ST(0), ST(1), result; the numbers as 80-bit hexadecimal."""
import random
from fractions import Fraction
from mpmath import mp, mpf, sin, cos, tan, atan2, log, expm1, log1p

mp.prec = 400
random.seed(20260)
PI_66 = Fraction(0x3243F6A8885A308D3, 1 << 64)


def value(bits):
    exponent = bits >> 64 & 0x7FFF
    significand = bits & ((1 << 64) - 1)
    magnitude = Fraction(significand) * Fraction(2) ** (max(exponent, 1) - 16383 - 63)
    return -magnitude if bits >> 79 else magnitude


def number(fraction):
    return mpf(fraction.numerator) / mpf(fraction.denominator)


def encode(result, rounding):
    """Rounds an inexact nonzero result to 80 bits."""
    sign, mantissa, exponent, length = result._mpf_
    top = exponent + length - 1
    unit = max(top, -16382) - 63
    shift = unit - exponent
    assert shift > 64
    kept, rest = mantissa >> shift, mantissa & ((1 << shift) - 1)
    half = 1 << (shift - 1)
    # Far enough from a rounding boundary that 400 bits decide.
    assert rest != half and 0 < rest
    if rounding == 0:
        kept += rest > half
    elif rounding == 1:
        kept += sign
    elif rounding == 2:
        kept += 1 - sign
    if kept >> 64:
        kept, unit = kept >> 1, unit + 1
    field = unit + 63 + 16383 if kept >> 63 else 0
    assert field < 0x7FFF
    return sign << 79 | field << 64 | kept


def operand(low, high):
    """A random number whose exponent lies between two values."""
    exponent = 16383 + random.randint(low, high)
    significand = random.getrandbits(63) | 1 << 63
    if random.random() < 0.3:
        significand = significand >> 40 << 40
    return random.getrandbits(1) << 79 | exponent << 64 | significand


def reduced(bits):
    """The operand less the nearest multiple of the processor's pi/2, and that multiple mod 4."""
    x = value(bits)
    turns = round(x / (PI_66 / 2))
    return number(x - turns * PI_66 / 2), turns % 4


def circular(bits, ahead):
    rest, turns = reduced(bits)
    return [sin(rest), cos(rest), -sin(rest), -cos(rest)][(turns + ahead) % 4]


def tangent(bits):
    rest, turns = reduced(bits)
    return tan(rest) if turns % 2 == 0 else -1 / tan(rest)


def cases():
    for _ in range(60):
        trigonometric = operand(*random.choice([(-3, 3), (-40, -1), (0, 62)]))
        yield "fsin", trigonometric, 0, circular(trigonometric, 0)
        yield "fcos", trigonometric, 0, circular(trigonometric, 1)
        yield "fptan", trigonometric, 0, tangent(trigonometric)
        y, x = operand(-8, 8), operand(-8, 8)
        if random.random() < 0.3:
            y, x = operand(-100, 100), operand(-100, 100)
        yield "fpatan", x, y, atan2(number(value(y)), number(value(x)))
        power = operand(*random.choice([(-3, -1), (-70, -1)]))
        yield "f2xm1", power, 0, expm1(number(value(power)) * log(mpf(2)))
        y = operand(-5, 5)
        x = operand(*random.choice([(-2, 1), (-3000, 3000)])) & ~(1 << 79)
        if random.random() < 0.3:
            x = (16383 - random.getrandbits(1)) << 64 | (1 << 63) + random.getrandbits(random.randint(1, 63))
        if value(x) != 1:
            logarithm = log(number(value(x))) / log(mpf(2))
            if logarithm != int(logarithm):
                yield "fyl2x", x, y, number(value(y)) * logarithm
        x = operand(*random.choice([(-4, -2), (-70, -2)]))
        if abs(value(x)) < Fraction(29, 100):
            yield "fyl2xp1", x, y, number(value(y)) * log1p(number(value(x))) / log(mpf(2))


with open("transcendental.txt", "w") as file:
    for mnemonic, st0, st1, result in cases():
        rounding = random.choice([0, 0, 1, 2, 3])
        print(mnemonic, rounding, f"{st0:020x} {st1:020x} {encode(result, rounding):020x}", file=file)
