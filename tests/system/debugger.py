# SPDX-License-Identifier: MIT
"""Dialogues with the monitor's debugger about a guest that runs meanwhile."""
import re
import tempfile
import time

import machine
from specials import start
from verdict import CRASH, FAIL, OK, TIMEOUT, Verdict, plain_text

ESCAPE = b"\x01\x01c"  # QEMU has the same escape character, so it is typed twice
PROMPT = rb"\(nd\) "


class Dialogue:
    """A machine whose monitor is talked to: every command's answer is what comes before the next prompt."""

    def __init__(self, m, deadline):
        self.m = m
        self.deadline = deadline

    def expect(self, pattern):
        return self.m.expect(pattern, max(1, self.deadline - time.monotonic()))

    def pause(self):
        self.m.send(ESCAPE)
        self.expect(rb"the guest is paused.*?" + PROMPT)

    def ask(self, command, pattern=rb""):
        """Type a command; its answer must have the pattern before the next prompt."""
        self.m.send(command.encode() + b"\n")
        answer = self.expect(rb"(.*?)" + PROMPT)[1]
        found = machine.re.search(pattern, answer, machine.re.S | machine.re.M)
        if not found:
            raise AssertionError(f"{command}: {pattern!r} is not in the answer: {answer!r}")
        return found

    def go(self, command="continue"):
        self.m.send(command.encode() + b"\n")


def converse(runner, test, factor, talk):
    """Run talk(dialogue) with the test's machine; what it raises is the verdict."""
    deadline = time.monotonic() + test.timeout * factor
    with tempfile.TemporaryDirectory(prefix="debug-", dir=runner.build) as scratch:
        with start(runner, test, scratch, None) as m:
            try:
                talk(Dialogue(m, deadline))
                status, reason = m.wait(max(1, deadline - time.monotonic()))
            except machine.ExpectTimeout as e:
                return Verdict(TIMEOUT if m.status is None else CRASH, str(e), plain_text(m.output))
            except AssertionError as e:
                return Verdict(FAIL, str(e), plain_text(m.output))
            if status != test.status:
                return Verdict(FAIL, f"exit status {status} ({reason}), expected {test.status}", plain_text(m.output))
            return Verdict(OK, output=plain_text(m.output))


def equal(what, got, expected):
    if got != expected:
        raise AssertionError(f"{what}: {got!r}, expected {expected!r}")


def bad_commands(d):
    """Wrong input gets one line and changes nothing."""
    for command in ("break", "break x", "break 1 2", "watch", "watch 0x1000 0", "watch 0xffffffffffffffff 2", "watch 1 2 3",
                    "delete", "delete 0", "delete 1", "step 0", "step x", "disas 0 65", "watch 1 0x200000"):
        name = command.split()[0].encode()
        d.ask(command, rb"^" + name + rb": (expected|there is no)")
    d.ask("info", rb"^guest: dr0 0 ")


def watch_counter(d, counter):
    """Stops at every increment and at no store beside it, although they are on the same page."""
    d.ask(f"watch {counter:#x}", rb"^watch 1 at ")
    last = None
    for _ in range(4):
        d.go()
        hit = d.expect(rb"watch 1 at \S+, 8 bytes: old (\w+) new (\w+), written by\s+(\w+: \w+ [^\r\n]*)\s+next \w+: .*?" + PROMPT)
        old, new = int(hit[1], 16), int(hit[2], 16)
        equal("counter", new, old + 1)
        equal("counter before", old, last if last is not None else old)
        last = new
        if not machine.re.search(rb"(add|inc|mov)", hit[3]):
            raise AssertionError(f"not a store: {hit[3]!r}")
    d.ask("delete 1", rb"gone")
    d.ask(f"watch {counter + 7:#x} 1", rb"^watch 1 at ")  # a byte that is rewritten: counts though its value stays
    d.go()
    d.expect(rb"watch 1 at \S+, 1 bytes: old 00 new 00, .*?" + PROMPT)
    d.ask("info", rb"^watch 1 at .*, 1 hits")
    d.ask("delete 1", rb"gone")
    d.ask(f"awatch {counter:#x} 8", rb"^awatch 1 at ")
    d.go()
    d.expect(rb"awatch 1 at .*?accessed by.*?" + PROMPT)
    d.ask("delete 1", rb"gone")


def break_at(d, add_one):
    d.ask(f"break {add_one:#x}", rb"^break 1 at ")
    for _ in range(3):
        d.go()
        d.expect(rb"break 1 at %016x: .*?" % add_one + PROMPT)
        d.ask("regs", rb"rip %016x " % add_one)
    d.ask("info", rb"^break 1 at .*, 3 hits")
    d.go("step 5")  # out of the function and, at most, back to it
    d.expect(rb"(step|break 1 at).*?" + PROMPT)
    d.ask("delete 1", rb"gone")


def step_straight(d, add_one):
    """A step ends at the next line of the disassembly, where no branch is in between."""
    d.ask(f"break {add_one:#x}", rb"^break 1 at ")
    d.go()
    d.expect(rb"break 1 at.*?" + PROMPT)
    d.ask("delete 1", rb"gone")
    second = d.ask("disas", rb"^%016x: [^\r\n]*\s+(\w+): " % add_one)[1]
    d.go("step")
    d.expect(rb"step: " + second + rb": .*?" + PROMPT)
    d.ask("regs", rb"rip " + second)


def symbols(d, counter, add_one):
    """Addresses by the names that the guest's own file has for them."""
    d.ask("break add_one", rb"^break 1 at %016x" % add_one)
    d.go()
    d.expect(rb"break 1 at %016x: .*?" % add_one + PROMPT)
    d.ask("delete 1", rb"gone")
    offset = counter & 0xfff
    d.ask(f"watch vars+{offset:#x} 8", rb"^watch 1 at %#x, 8 bytes" % counter)
    d.ask(f"watch  vars+{offset + 8}   1", rb"^watch 2 at %#x, 1 bytes" % (counter + 8))
    d.ask("disas add_one+0 1", rb"^%016x" % add_one)
    d.ask("delete 1", rb"gone")
    d.ask("delete 2", rb"gone")
    for wrong in ("break add_on", "break add_one+", "break add_one+x", "break +1", "watch vars+8 8 8", "break main main"):
        d.ask(wrong, rb"^\w+: expected ")


def debug(runner, test, factor):
    """All of the debugger on a guest that counts for ever, until the monitor's `mem` ends it; its sums must then agree."""
    def talk(d):
        at = d.expect(rb"counter=(\w+) add_one=(\w+) stop=(\w+)\s")
        counter, add_one, stop = (int(at[i], 16) for i in (1, 2, 3))
        d.pause()
        bad_commands(d)
        watch_counter(d, counter)
        break_at(d, add_one)
        step_straight(d, add_one)
        symbols(d, counter, add_one)
        for n in range(12):
            d.ask(f"break {0x1000 + n}", rb"^break ")
        d.ask("break 0x1234", rb"no more than 12")
        for n in range(12):
            d.ask(f"delete {n + 1}", rb"gone")
        d.ask("check", rb"check: 0 violations in TB lists, 0 in shadow tables")
        d.ask(f"mem {stop:#x} = 1", rb"1 bytes written")
        d.go()
        d.expect(rb"rounds agree")

    return converse(runner, test, factor, talk)


def round_of(d, n):
    """Ask the guest for its nth round; what it prints of itself behind "round n"."""
    d.ask(f"mem {d.request:#x} = {n}", rb"1 bytes written")
    d.go()
    result = d.expect(rb"round %d (sum \w+ vector \w+ data \d+ bad \d+)\r" % n)[1]
    d.pause()
    return result


def start_rounds(d):
    at = d.expect(rb"request=(\w+) page=(\w+) untouched=(\w+)\s")
    d.request, d.page, d.untouched = (int(at[i], 16) for i in (1, 2, 3))
    d.pause()


def end_rounds(d):
    d.ask("check", rb"check: 0 violations in TB lists, 0 in shadow tables")
    d.ask(f"mem {d.request:#x} = 0xff", rb"1 bytes written")
    d.go()


def dirty_pages(d):
    """Page addresses that `dirty read` tells."""
    answer = d.ask("dirty read", rb"(.*)dirty: (\d+) pages in \d+ ranges\r")
    pages = []
    for start, last in machine.re.findall(rb"dirty: (\w+)-(\w+)\r", answer[1]):
        pages += range(int(start, 16), int(last, 16), 4096)
    equal("number of dirty pages", len(pages), int(answer[2]))
    return pages


def dirty_log(runner, test, factor):
    """A log armed on a page that holds code and data beside it: every round is seen, and no code is stale (SMC case 64)."""
    def talk(d):
        start_rounds(d)
        round_of(d, 1)  # translated, and the page has TBs
        d.ask("dirty read", rb"the log is off")
        d.ask("dirty", rb"expected start, read or stop")
        d.ask("dirty start", rb"logging")
        equal("dirty at first", dirty_pages(d), [])
        for n in (2, 3, 4):
            result = round_of(d, n)
            if not result.endswith(b"bad 0"):
                raise AssertionError(f"stale code: {result!r}")
            pages = dirty_pages(d)
            equal("page with code and data is dirty", d.page in pages, True)
            equal("page that nobody writes is dirty", d.untouched in pages, False)
            equal("dirty when nothing has run", dirty_pages(d), [])
        d.ask(f"mem {d.untouched + 5:#x} = 7", rb"1 bytes written")  # a writer that is not the guest
        equal("dirty after the monitor's write", dirty_pages(d), [d.untouched])
        d.ask(f"watch {d.page + 2048:#x} 4", rb"^watch 1")  # a third client of the same page
        d.ask(f"mem {d.request:#x} = 5", rb"1 bytes written")
        d.go()
        d.expect(rb"watch 1 at .*?" + PROMPT)
        equal("page with three clients is dirty", d.page in dirty_pages(d), True)
        d.ask("delete 1", rb"gone")
        d.go()
        d.expect(rb"round 5 .*bad 0\r")
        d.pause()
        d.ask("dirty stop", rb"the log is off")
        round_of(d, 6)
        end_rounds(d)

    return converse(runner, test, factor, talk)


def page_states(runner, test, factor):
    """What `page` and `stat` say of a page with code and data: not protected without code, self-checking once it is written, and with a
    short `smc_quiet_ticks` protected again when the writing has stopped."""
    wanted = rb"; (self-checking), .* 0 returns.*pc " if test.name.endswith("stays") else rb"; (protected|not protected), .* [1-9]\d* returns"
    counts = rb"page_self_check=[1-9]\d* page_reprotect=" + (rb"" if test.name.endswith("stays") else rb"[1-9]")

    def talk(d):
        start_rounds(d)
        d.ask(f"page {d.page:#x}", rb"write-tracked for nobody; not protected, .* 0 misses, 0 hits lately; 0 ticks quiet, 0 returns")
        for n in range(1, 41):  # a busy machine may be late for either state
            round_of(d, n)
            if re.search(wanted, d.ask(f"page {d.page:#x}", rb"(.*)")[0], re.S):
                d.ask("stat", counts)
                break
            d.go()
            d.m.pump(0.05)
            d.pause()
        else:
            raise AssertionError("`page` never shows the state")
        end_rounds(d)

    return converse(runner, test, factor, talk)


def snapshot(runner, test, factor):
    """The guest runs on, is taken back, and comes to the same results, in memory, code and vector registers."""
    def talk(d):
        start_rounds(d)
        round_of(d, 1)
        d.ask("snapshot restore", rb"there is none")
        d.ask("snapshot", rb"expected save")
        saved = d.ask("snapshot save", rb"saved at pc (\w+), (\d+) of")[1]
        first = [round_of(d, n) for n in (2, 3, 4)]
        for _ in range(3):
            d.ask("snapshot restore", rb"restored to pc " + saved + rb", \d+ pages")
            equal("rounds after restoring", [round_of(d, n) for n in (2, 3, 4)], first)
        equal("another way", round_of(d, 5) == first[0], False)
        d.ask("snapshot save", rb"saved at pc")
        again = round_of(d, 6)
        d.ask("snapshot restore", rb"restored to pc")
        equal("round after a second snapshot", round_of(d, 6), again)
        end_rounds(d)

    return converse(runner, test, factor, talk)


def monitor_profile(runner, test, factor):
    """A guest that does nothing but exit: NMIs find the monitor, in functions that have names, and only while they are asked for."""
    def samples(d):
        found = d.ask("top", rb"^(\d+) samples of the monitor's PC by NMI\s+([0-9]+)\.\d %  in the monitor\s")
        return int(found[1]), int(found[2])

    def run_for(d, seconds):
        d.go()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            d.m.pump(0.1)
        d.pause()

    def talk(d):
        d.expect(rb"spinning")
        d.pause()
        d.ask("top nmi on", rb"^top: expected nothing, ")
        d.ask("top nmi")
        count = share = 0
        while count < 20 and time.monotonic() < d.deadline:  # on a busy machine they take their time
            run_for(d, 1)
            count, share = samples(d)
        if count < 20 or share < 30:
            raise AssertionError(f"{count} samples, {share} % of them in the monitor")
        d.ask("top", rb"^ +[0-9.]+ %  monitor: [a-z_]{4,}\r?$")
        d.ask("top nmi off")
        run_for(d, 0.5)
        equal("samples after the end", samples(d)[0], count)
        d.m.send(b"quit\n")

    return converse(runner, test, factor, talk)


def expected_pixel(x, y):
    return (255, 0, 0) if 200 <= x < 300 and 300 <= y < 320 else (x & 255, y & 255, (x ^ y) & 255)


def wrong_pixels(screen, pixel):
    """How many of a sample of pixels are not pixel(x, y), and the first of them."""
    width, height, data = screen
    wrong, first = 0, None
    for y in range(0, height, 7):
        for x in range(0, width, 5):
            got = tuple(data[(y * width + x) * 3:(y * width + x) * 3 + 3])
            if got != pixel(x, y):
                wrong += 1
                first = first or (x, y, got, pixel(x, y))
    return wrong, first


def framebuffer(runner, test, factor):
    """QEMU's screen shows what the guest has drawn; the second time only pages of the rectangle were copied."""
    def shows(d, pixel):
        while True:  # a frame takes its time
            wrong, first = wrong_pixels(d.m.screendump(), pixel)
            if not wrong:
                return
            if time.monotonic() > d.deadline:
                raise AssertionError(f"{wrong} pixels are wrong, first {first}")
            d.m.pump(0.3)

    def talk(d):
        shape = d.expect(rb"framebuffer (\d+)x(\d+) pitch (\d+)\s")
        d.expect(rb"picture drawn")
        width, height, _ = d.m.screendump()
        equal("shape", (width, height), (int(shape[1]), int(shape[2])))
        shows(d, lambda x, y: (x & 255, y & 255, (x ^ y) & 255))
        if test.engine == "translate":
            d.pause()
            before = d.ask("stat", rb"fb_frames=(\d+).*?fb_pages=(\d+)")
            d.go()
        d.m.send(b"x")
        d.expect(rb"pixels executed.*?rectangle drawn")
        shows(d, expected_pixel)
        if test.engine == "translate":
            d.pause()
            after = d.ask("stat", rb"fb_frames=(\d+).*?fb_pages=(\d+)")
            copied, frames = int(after[2]) - int(before[2]), int(after[1]) - int(before[1])
            if not 1 <= copied <= 40 * frames:  # 20 lines, each on at most two pages
                raise AssertionError(f"{copied} pages copied in {frames} frames")
            d.go()
        d.m.send(b"x")

    return converse(runner, test, factor, talk)
