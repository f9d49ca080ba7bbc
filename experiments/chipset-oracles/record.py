#!/usr/bin/env python3
"""Records how other emulators of the chipset answer random register accesses.

    python3 record.py RECORDING... DIRECTORY

writes DIRECTORY/RECORDING.txt for each; without RECORDING all of them. The tests of crates/devices
replay these files. README.md says what is compared and what is not, and why.
"""

import random
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
OUT8, IN8, WRITE32, READ32, WRMSR, RDMSR, WINDOW, WAIT, IN32 = range(1, 10)
GUEST_MACHINE = ["-nodefaults", "-display", "none", "-no-reboot", "-m", "64"]


def build(directory):
    guest = Path(directory) / "guest.elf"
    compiled = Path(directory) / "guest.o"
    subprocess.run(["gcc", "-m32", "-c", HERE / "guest.S", "-o", compiled], check=True)
    link = ["ld", "-m", "elf_i386", "-Ttext-segment=0x100000", "--build-id=none"]
    subprocess.run([*link, "-e", "_start", compiled, "-o", guest], check=True)
    return guest


def run(script, machine):
    """Lets the guest carry out `script`, a list of (operation, a, b, c); returns a list of (time stamp,
    value, whether it faulted)."""
    with tempfile.TemporaryDirectory() as directory:
        guest = build(directory)
        module = Path(directory) / "script"
        records = b"".join(struct.pack("<4I", *entry) for entry in script)
        module.write_bytes(records + bytes(16))
        report = Path(directory) / "report"
        command = ["qemu-system-x86_64", *GUEST_MACHINE, *machine]
        command += ["-kernel", guest, "-initrd", module, "-debugcon", f"file:{report}"]
        command += ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
        subprocess.run(command, timeout=60, stdin=subprocess.DEVNULL)
        data = report.read_bytes()
        assert len(data) == 24 * len(script), (len(data), len(script))
        return [struct.unpack_from("<3Q", data, 24 * i) for i in range(len(script))]


class Stopped:
    """A machine that stands still and whose registers and lines are driven from outside."""

    def __init__(self, machine):
        command = ["qemu-system-x86_64", *GUEST_MACHINE, *machine, "-S", "-qtest", "stdio"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, bufsize=1
        )

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        while True:
            answer = self.process.stdout.readline().split()
            if answer and answer[0] == "OK":
                return int(answer[1], 0) if len(answer) > 1 else None
            if not answer or answer[0] in ("FAIL", "ERR"):
                raise RuntimeError(f"{command}: {answer}")

    def close(self):
        self.process.kill()


# How many instructions an access is before its time stamp.
STAMP_LATE = 3


# ---- scripts -------------------------------------------------------------------------------------


def local_apic(rng):
    """Priorities in xAPIC mode: self-IPIs, task priority, acknowledges, ends of interrupt. QEMU."""
    steps = Steps()
    base = 0xFEE00000
    # Firmware was there before.
    for offset in [0x80, 0xD0, 0x310]:
        steps.add(WRITE32, base + offset, 0)
    steps.add(WRITE32, base + 0xE0, 0xFFFFFFFF)
    for offset in [0x320, 0x330, 0x340, 0x350, 0x360, 0x370]:
        steps.add(WRITE32, base + offset, 0x10000)
    steps.add(WRITE32, base + 0xF0, 0x1FF)
    readable = [0x20, 0x80, 0xA0, 0xD0, 0xE0, 0xF0, 0x320, 0x330, 0x340, 0x370]
    # The first vectors are firmware's: the 8259 and the IOAPIC are still as it left them.
    readable += [area + 0x10 * part for area in (0x100, 0x200) for part in range(1, 8)] * 3
    for _ in range(1500):
        kind = rng.randrange(14)
        if kind < 4:
            # A fixed IPI to self.
            steps.add(WRITE32, base + 0x300, 0x44000 | rng.randrange(32, 256))
        elif kind < 7:
            steps.add(WINDOW)
        elif kind < 10:
            steps.add(WRITE32, base + 0xB0, 0)
        elif kind < 11:
            steps.add(WRITE32, base + 0x80, rng.choice([0, 0, rng.randrange(256)]))
        elif kind < 12:
            offset = rng.choice([0xD0, 0xE0, 0x320, 0x330, 0x340, 0x370])
            writable = {0xD0: 0xFF000000, 0xE0: 0xFFFFFFFF, 0x320: 0x600FF}
            value = rng.getrandbits(32) & writable.get(offset, 0xFF)
            steps.add(WRITE32, base + offset, value | (0x10000 if offset >= 0x320 else 0))
        elif kind < 13:
            steps.add(WRITE32, base + 0xF0, rng.choice([0x1FF, 0x1EF]))
        for _ in range(2):
            steps.add(READ32, base + rng.choice(readable))
    return untimed(steps, ["-accel", "tcg"])


def local_apic_faults(_):
    """Modes, which registers x2APIC mode has, and which of their bits are reserved. KVM."""
    steps = Steps()
    base = 0xFEE00000
    # Every transition of the mode.
    for mode in [0x400, 0x800, 0xC00, 0x800, 0xC00, 0x400, 0, 0xC00, 0x400, 0x800, 0xC00]:
        steps.add(WRMSR, 0x1B, base | 0x100 | mode)
        steps.add(RDMSR, 0x1B)
    for bit in range(64):
        if bit in (8, 10, 11) or 12 <= bit < 52:
            continue
        value = (base | 0xD00) ^ (1 << bit)
        steps.add(WRMSR, 0x1B, value & 0xFFFFFFFF, value >> 32)
    steps.add(WRMSR, 0x80F, 0x1FF)
    # Which registers can be read; not their values, which firmware's doings are part of.
    for number in range(0x800, 0x900):
        steps.add(RDMSR, number)
    # KVM has the write-only registers' faults too, but not those of registers that do not exist.
    existing = [0x808, 0x80B, 0x80F, 0x828, 0x832, 0x834, 0x835, 0x836, 0x837, 0x838, 0x83E, 0x83F]
    read_only = [0x802, 0x803, 0x80A, 0x80D, 0x810, 0x818, 0x820, 0x827, 0x839, 0x831, 0x80E]
    for number in existing[:-1] + read_only:
        steps.add(WRMSR, number, 0)
    steps.add(WRMSR, 0x80F, 0x1FF)
    for number in existing:
        for bit in range(32, 64):
            value = 1 << bit
            steps.add(WRMSR, number, value & 0xFFFFFFFF, value >> 32)
    for bit in [12, 13, 16, 17] + list(range(20, 32)):
        # To an identifier that nobody has.
        steps.add(WRMSR, 0x830, 1 << bit | 0x40, 0x12345678)
        steps.add(RDMSR, 0x830)
    steps.add(WRMSR, 0x828, 1)
    # The deadline MSR outside and inside its mode.
    steps.add(WRMSR, 0x6E0, 0xFFFFFFFF, 0xFFFFFFFF)
    steps.add(RDMSR, 0x6E0)
    steps.add(WRMSR, 0x832, 0x500E0)
    steps.add(WRMSR, 0x6E0, 0xFFFFFFFF, 0x7FFFFFFF)
    steps.add(RDMSR, 0x6E0)
    steps.add(WRMSR, 0x838, 0x1000)
    steps.add(RDMSR, 0x839)
    steps.add(WRMSR, 0x832, 0x100E0)
    steps.add(RDMSR, 0x6E0)
    lines = untimed(steps, ["-accel", "kvm", "-cpu", "host,-arch-capabilities"])
    in_x2apic = re.compile(r"(msr 0x8[0-9a-f]{2}) = 0x.*")
    before = next(i for i, line in enumerate(lines) if line.startswith("msr 0x830 <-"))
    return [in_x2apic.sub(r"\1 = any", line) for line in lines[:before]] + lines[before:]


def untimed(steps, machine):
    lines = []
    for (operation, a, b, c), (_, value, fault) in zip(steps, run(steps, machine)):
        answer = "gp" if fault else f"{value:#x}"
        if operation == WRITE32:
            lines.append(f"mem {a:#x} <- {b:#x}")
        elif operation == READ32:
            lines.append(f"mem {a:#x} = {value:#x}")
        elif operation == WRMSR:
            lines.append(f"msr {a:#x} <- {c << 32 | b:#x} {'gp' if fault else 'ok'}")
        elif operation == RDMSR:
            lines.append(f"msr {a:#x} = {answer}")
        elif operation == WINDOW:
            lines.append("take none" if value == 0xFFFFFFFF else f"take {value:#x}")
    return lines


def timed(steps, machine, shift=6):
    """Carries out `steps` on a machine whose time is counted in executed instructions; for each step a
    line with the time of its access in nanoseconds, or None where it only waits."""
    # One instruction takes 2^shift ns; the time-stamp counter counts nanoseconds.
    results = run(steps, ["-accel", "tcg", "-icount", f"shift={shift}", *machine])
    lines = []
    for (operation, a, b, _), (stamp, value, _) in zip(steps, results):
        stamp -= STAMP_LATE << shift
        lines.append(
            {
                OUT8: f"{stamp} port {a:#x} <- {b:#x}",
                IN8: f"{stamp} port {a:#x} = {value:#x}",
                IN32: f"{stamp} port32 {a:#x} = {value:#x}",
                WRITE32: f"{stamp} mem {a:#x} <- {b:#x}",
                READ32: f"{stamp} mem {a:#x} = {value:#x}",
            }.get(operation)
        )
    return lines


class Steps(list):
    """A script with a clock: `wait` is relative to the wait before."""

    def __init__(self):
        self.time = 0

    def add(self, *entry):
        self.append((*entry, 0, 0, 0)[:4])

    def wait(self, nanoseconds):
        self.time += nanoseconds
        self.add(WAIT, 0, self.time & 0xFFFFFFFF, self.time >> 32)


def pit(rng):
    """Counter 2, whose gate and output software can reach, in modes 0, 2 and 3. QEMU."""
    steps = Steps()
    for _ in range(80):
        mode = rng.choice([0, 2, 3])
        count = rng.choice([100, 1193, 9999, rng.randrange(100, 65536), 0])
        steps.wait(100_000)
        steps.add(OUT8, 0x61, 0)
        steps.add(OUT8, 0x43, 0xB0 | mode << 1)
        steps.add(OUT8, 0x42, count & 0xFF)
        steps.add(OUT8, 0x42, count >> 8)
        steps.add(OUT8, 0x61, 1)
        for _ in range(6):
            steps.wait(rng.randrange(30_000, 40_000_000))
            steps.add(OUT8, 0x43, 0xC8)
            steps.add(IN8, 0x42)
            steps.add(IN8, 0x42)
            steps.add(IN8, 0x42)
            steps.add(IN8, 0x61)
    lines = []
    for entry in filter(None, timed(steps, ["-machine", "pc"])):
        words = entry.split()
        if words[1:4] == ["port", "0x61", "="]:
            # The refresh bit toggles with each read there.
            entry += " & 0xef"
        lines.append(entry)
    return lines


def cmos(rng):
    """The clock: reading, setting, formats, alarms, flags. QEMU."""
    steps = Steps()
    sessions = []

    def out(index, value):
        steps.add(OUT8, 0x70, index)
        steps.add(OUT8, 0x71, value)

    def inb(index):
        steps.add(OUT8, 0x70, index)
        steps.add(IN8, 0x71)

    def bcd(value):
        return value // 10 << 4 | value % 10

    steps.wait(SECOND // 2)
    # No periodic interrupt: it runs there only while it is enabled.
    out(0x0A, 0x20)
    for _ in range(40):
        binary = rng.randrange(2)
        hours_24 = rng.randrange(2)
        form = binary << 2 | hours_24 << 1
        write = int if binary else bcd
        second = rng.choice([0, 58, 59])
        hour = rng.choice([0, 11, 12, 23, rng.randrange(24)])
        if hours_24:
            hour_byte = write(hour)
        else:
            hour_byte = write((hour + 11) % 12 + 1) | (0x80 if hour >= 12 else 0)
        out(0x0B, 0x80 | form)
        for index, value in [
            (0, write(second)),
            (2, write(rng.choice([59, rng.randrange(60)]))),
            (4, hour_byte),
            (7, write(rng.choice([1, 28, rng.randrange(1, 29)]))),
            (8, write(rng.randrange(1, 13))),
            (9, write(rng.randrange(100))),
            (0x32, write(rng.choice([19, 20, 21]))),
        ]:
            out(index, value)
        dont_care = rng.choice([0xC0, 0xFF])
        out(1, rng.choice([dont_care, write(rng.randrange(60))]))
        out(3, rng.choice([dont_care, write(rng.randrange(60))]))
        out(5, rng.choice([dont_care, hour_byte]))
        out(0x0B, form | rng.choice([0, 0x10, 0x20, 0x30]))
        inb(0x0C)
        begin = len(steps)
        for _ in range(4):
            # Reads stay away from the end of the second, where the two differ in UIP.
            steps.wait(SECOND * rng.choice([1, 1, 2, 3]))
            for index in [0, 2, 4, 7, 8, 9, 0x32, 0x0B, 0x0C, 0x0C]:
                inb(index)
        sessions.append((begin, len(steps), second, bool(binary)))
    machine = ["-machine", "pc", "-rtc", "base=2001-09-09T01:46:40,clock=vm"]
    lines = timed(steps, machine, shift=10)
    for i in range(1, len(lines)):
        if lines[i] and " = " in lines[i] and lines[i - 1].endswith("port 0x70 <- 0xc"):
            lines[i] += " & 0xbf"
    # Now and then QEMU gains a second when the clock is set: more of them have ended than there was
    # time for. What follows is read, but not compared.
    for begin, end, second, binary in sessions:
        # The wait, the index, then the first read.
        stamp, value = int(lines[begin + 2].split()[0]), int(lines[begin + 2].split()[4], 0)
        shown = value if binary else 10 * (value >> 4) + (value & 15)
        since = int(lines[begin - 1].split()[0])
        if (shown - second) % 60 > -(-(stamp - since) // SECOND):
            for i in range(begin, end):
                if lines[i] and " = " in lines[i]:
                    lines[i] = lines[i].split(" & ")[0] + " & 0x0"
    return lines


SECOND = 1_000_000_000


def hpet(rng):
    """Counter, comparators and level status. QEMU."""
    steps = Steps()
    base = 0xFED00000
    steps.wait(1_000_000)
    steps.add(READ32, base)
    steps.add(READ32, base + 4)
    for _ in range(60):
        steps.add(WRITE32, base + 0x10, 0)
        steps.add(WRITE32, base + 0x20, 7)
        # One-shot comparators are not taken across the counter's wrap.
        wraps = rng.randrange(4) == 0
        start = 0xFFFFF000 if wraps else rng.choice([0, rng.getrandbits(31)])
        steps.add(WRITE32, base + 0xF0, start)
        steps.add(WRITE32, base + 0xF4, rng.getrandbits(16))
        span = rng.randrange(20_000, 5_000_000)
        for timer in range(3):
            periodic = 1 if wraps else rng.randrange(2)
            registers = base + 0x100 + 0x20 * timer
            # Level-triggered and in 32 bits, so that the status shows what happened.
            steps.add(WRITE32, registers, 20 + timer << 9 | 0x106 | periodic * 0x48)
            first = start + rng.randrange(10_000, 10_000_000) & 0xFFFFFFFF
            steps.add(WRITE32, registers + 8, first)
            if periodic:
                steps.add(WRITE32, registers + 8, span)
        steps.add(WRITE32, base + 0x10, 1)
        for _ in range(6):
            steps.wait(rng.randrange(20_000, 40_000_000))
            for timer in range(3):
                steps.add(READ32, base + 0x100 + 0x20 * timer)
            steps.add(READ32, base + 0x20)
            steps.add(READ32, base + 0xF0)
            if rng.randrange(2):
                steps.add(WRITE32, base + 0x20, rng.randrange(8))
    return timed(steps, ["-machine", "pc,hpet=on"])


def pm_timer(rng):
    """The power management timer, at the port where firmware puts it and this machine has it. QEMU."""
    steps = Steps()
    for _ in range(400):
        steps.wait(rng.choice([1000, 1_000_000, 1_000_000_000]) * rng.randrange(1, 9))
        steps.add(IN32, 0x608)
    return timed(steps, ["-machine", "pc"])


def pic(rng):
    """The 8259A pair: lines, priorities, rotation, masks, polling. QEMU."""
    machine = Stopped(["-machine", "pc"])
    lines = []

    def out(port, value):
        machine.ask(f"outb {port:#x} {value:#x}")
        lines.append(f"port {port:#x} <- {value:#x}")

    def inb(port):
        value = machine.ask(f"inb {port:#x}")
        lines.append(f"port {port:#x} = {value:#x}")
        return value

    def line(irq, level):
        chip = CHIPS[irq // 8]
        machine.ask(f"set_irq_in {chip} unnamed-gpio-in {irq % 8} {level}")
        lines.append(f"line {irq} {level}")

    for _ in range(30):
        # One chip at a time; what the slave requests of the master is left out.
        chip = rng.randrange(2)
        base = [0x20, 0xA0][chip]
        other = [0xA0, 0x20][chip]
        inputs = [n for n in range(8) if chip or n != 2]
        for irq in range(16):
            if irq != 2:
                line(irq, 0)
        out(0x4D0, 0)
        out(0x4D1, 0)
        for first in (other, base):
            out(first, 0x11)
            out(first + 1, 0x30)
            out(first + 1, 4 if first == 0x20 else 2)
            automatic = rng.choice([0, 0, 2]) if first == base else 0
            out(first + 1, 1 | automatic)
        out(other + 1, 0xFF)
        special_mask = False
        out(0x4D0 + chip, rng.getrandbits(8) & [0xF8, 0xDE][chip])
        inb(0x4D0 + chip)
        for _ in range(60):
            kind = rng.randrange(16)
            if kind < 6:
                n = rng.choice(inputs)
                out(base, 0x0A)
                # A request that goes before it is acknowledged QEMU remembers.
                if inb(base) >> n & 1 == 0:
                    line(8 * chip + n, 0)
                line(8 * chip + n, 1)
            elif kind < 9:
                out(base, 0x0C)
                inb(base)
            elif kind < 12:
                # In special mask mode QEMU ends masked levels with a non-specific command too.
                ends = [0x60, 0x60, 0xE0] if special_mask else [0x20, 0x20, 0x60, 0xA0, 0xE0]
                command = rng.choice(ends + [0xC0, 0x80, 0x00, 0x40])
                out(base, command | (rng.randrange(8) if command & 0x40 else 0))
            elif kind < 13:
                out(base + 1, rng.getrandbits(8) & rng.getrandbits(8))
            elif kind < 14:
                command = rng.choice([0x68, 0x48, 0x28])
                special_mask = special_mask if command == 0x28 else command == 0x68
                out(base, command)
            out(base, rng.choice([0x0A, 0x0B]))
            inb(base)
            inb(base + 1)
    machine.close()
    return lines


CHIPS = ["/machine/unattached/device[6]", "/machine/unattached/device[7]"]


def ioapic(rng):
    """Redirection entries and their remote IRR. QEMU."""
    machine = Stopped(["-machine", "pc"])
    lines = []

    def write(index, value):
        for offset, word in [(0, index), (0x10, value)]:
            machine.ask(f"writel {0xFEC00000 + offset:#x} {word:#x}")
            lines.append(f"mem {0xFEC00000 + offset:#x} <- {word:#x}")

    def read(index):
        machine.ask(f"writel 0xfec00000 {index:#x}")
        lines.append(f"mem 0xfec00000 <- {index:#x}")
        value = machine.ask("readl 0xfec00010") & 0xFFFFFFFF
        lines.append(f"mem 0xfec00010 = {value:#x}")

    def line(pin, level):
        machine.ask(f"set_irq_in /machine/i440fx/ioapic unnamed-gpio-in {pin} {level}")
        lines.append(f"line {pin} {level}")

    read(1)
    for _ in range(800):
        # QEMU's IOAPIC takes input 0 for input 2, which is the board's business.
        pin = rng.choice([n for n in range(24) if n not in (0, 2)])
        kind = rng.randrange(8)
        if kind < 3:
            line(pin, rng.randrange(2))
        elif kind < 5:
            # QEMU does not see a level that rose while the entry was one for edges.
            line(pin, 0)
            # Fixed or lowest priority, few vectors, to nobody.
            masked = rng.choice([0, 0, 0x10000])
            low = rng.choice([0, 0x8000]) | rng.randrange(2) << 8 | masked
            write(0x10 + 2 * pin, low | rng.randrange(0x30, 0x34) | rng.choice([0, 0x7800]))
        elif kind < 6:
            write(0x11 + 2 * pin, rng.choice([0, 0x77, rng.getrandbits(8)]) << 24)
        else:
            vector = rng.randrange(0x30, 0x34)
            machine.ask(f"writel 0xfec00040 {vector:#x}")
            lines.append(f"mem 0xfec00040 <- {vector:#x}")
        for _ in range(2):
            read(0x10 + rng.randrange(48))
        read(0x10 + 2 * pin)
    machine.close()
    return lines


def uart(rng):
    """Registers, FIFOs, loopback, interrupt identification. QEMU."""
    machine = Stopped(["-machine", "pc", "-serial", "null"])
    lines = []

    def out(offset, value):
        machine.ask(f"outb {0x3F8 + offset:#x} {value:#x}")
        lines.append(f"port {0x3F8 + offset:#x} <- {value:#x}")

    def inb(offset):
        value = machine.ask(f"inb {0x3F8 + offset:#x}")
        # Changes of the modem status QEMU does not report in loopback.
        mask = " & 0xf0" if offset == 6 else ""
        lines.append(f"port {0x3F8 + offset:#x} = {value:#x}{mask}")
        return value

    out(3, 3)
    out(4, 0)
    for _ in range(1500):
        kind = rng.randrange(16)
        if kind < 6:
            out(0, rng.getrandbits(8))
        elif kind < 8:
            # Not the modem status interrupt, for the same reason.
            out(1, rng.randrange(8))
        elif kind < 9:
            # To QEMU a transmitter FIFO that is emptied is news, even if it was empty.
            out(1, rng.randrange(8) & 5)
            out(2, rng.choice([0, 1, 1, 3, 7, 0x41, 0x81, 0xC1]))
        elif kind < 10:
            out(4, rng.choice([0x10, 0x10, 0x08, 0x0B, 0x13, 0x1F, 0x1A]))
        elif kind < 11:
            out(7, rng.getrandbits(8))
        elif kind < 12:
            out(3, 0x83)
            out(rng.randrange(2), rng.getrandbits(8))
            inb(0)
            inb(1)
            out(3, 3)
        for _ in range(3):
            offset = rng.choice([0, 0, 1, 2, 2, 3, 4, 5, 5, 6, 7])
            # What the receiver buffer shows when nothing is in it is left out.
            if offset != 0 or inb(5) & 1:
                inb(offset)
    machine.close()
    return lines


RECORDINGS = [
    local_apic,
    local_apic_faults,
    ioapic,
    pic,
    pit,
    cmos,
    uart,
    pm_timer,
    hpet,
]

if __name__ == "__main__":
    *names, directory = sys.argv[1:]
    for recording in RECORDINGS:
        name = recording.__name__
        if names and name not in names:
            continue
        lines = list(filter(None, recording(random.Random(name))))
        text = f"# {recording.__doc__}\n" + "\n".join(lines) + "\n"
        (Path(directory) / f"{name}.txt").write_text(text)
        print(f"{name}: {len(lines)} lines")
