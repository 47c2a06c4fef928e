# SPDX-License-Identifier: MIT
"""What the tests of Debian's kernel say to its shell: dialogues for shell.talk(). Expected values are computed here."""
import hashlib
import os
import time

from shell import ESCAPE, Wrong, talk

# It is the program that says so, not the shell, which would be too early.
SLEEPER = b"sh -c 'echo started; exec sleep 1000'\r"
SPINNER = b"sh -c 'echo started; while :; do :; done'\r"


def sha256(data):
    return hashlib.sha256(data).hexdigest() + "  -"


def numbers(last):
    return "".join(f"{n}\n" for n in range(1, last + 1)).encode()


# ---- the terminal ----

def edit_lines(shell):
    """Backspace, cursor keys, ^U and the history, as the shell's editor understands them."""
    for typed, expected in ((b"echo leXXX\x7f\x7f\x7fft\r", rb"\nleft\r\n"), (b"ho mid" + b"\x1b[D" * 6 + b"ec\r", rb"\nmid\r\n"),
                            (b"garbage\x15echo clean\r", rb"\nclean\r\n"), (b"\x1b[A\r", rb"\nclean\r\n")):
        shell.m.send(typed)
        shell.expect(expected)
        shell.prompt()


def interrupt(shell):
    """^C ends what runs in the foreground, also if it never sleeps; ^Z stops it."""
    for program in (SLEEPER, SPINNER):
        shell.m.send(program)
        shell.expect(rb"\nstarted\r\n")
        shell.m.send(b"\x03")
        shell.prompt()
        shell.m.send(b"echo =$?\r")
        shell.expect(rb"\n=130\r\n")
        shell.prompt()
    shell.m.send(SLEEPER)
    shell.expect(rb"\nstarted\r\n")
    shell.m.send(b"\x1a")
    shell.expect(rb"Stopped")
    shell.prompt()
    shell.check("kill -9 %1; wait; echo gone", "gone")


def background(shell):
    shell.run("{ sleep 1000 & }")
    if "Running" not in (jobs := shell.run("jobs")):
        raise Wrong(f"jobs: {jobs}")
    shell.run("kill $!; wait $!", status=143)


def visit_monitor(shell):
    """Into the monitor and back while a job runs, which goes on afterwards; and a pause is a pause."""
    shell.run("{ while :; do i=$((i+1)); echo $i >/tmp/n; done & }")
    shell.m.send(ESCAPE + b"c")
    shell.expect(rb"the guest is paused.*\(nd\) ")
    paused = []
    for _ in range(2):
        shell.m.send(b"regs\n")
        paused.append(shell.expect(rb"rax [0-9a-f]{16}.*rip [0-9a-f]{16} .*\(nd\) ")[0])
        time.sleep(0.3)
    if paused[0] != paused[1]:
        raise Wrong("the guest's registers change while it is paused")
    for command, pattern in ((b"stat", rb"nd-stat "), (b"tb", rb"[1-9]\d* translation blocks"),
                             (b"page 0x1000000", rb"page 0x1000000: write-tracked"),
                             (b"views", rb"kernel view: root 0x[0-9a-f]+.* pages of 4 KiB.* roots kept.*user view: root "),
                             (b"views 0xffffffff81000000",
                              rb"guest: 0x1000000, kernel only, .*kernel view: (4 KiB page at|2 MiB page at|not filled).*user view: not filled"),
                             (b"devices", rb"pic master: vectors from 30, .*pit 0: mode .*uart: divisor \d+, lcr 13 .*next event "),
                             (b"check", rb"check: 0 violations in TB lists, 0 in shadow tables")):
        shell.m.send(command + b"\n")
        shell.expect(pattern)
        shell.expect(rb"\(nd\) ")
    shell.m.send(b"continue\n")
    shell.m.send(b"\r")
    shell.prompt()
    before = int(shell.run("until read n </tmp/n; do :; done; echo $n"))  # the file may be empty, about to be written
    shell.run(f"until read n </tmp/n && [ $n -gt {before} ]; do :; done")
    shell.run("kill $!; wait")


def terminal(runner, test, factor):
    def dialogue(shell):
        shell.check("echo hello $((6*7)); tty", "hello 42\n/dev/ttyS0")
        edit_lines(shell)
        interrupt(shell)
        background(shell)
        visit_monitor(shell)
        shell.m.send(b"\x04")  # end of input: the shell ends, init switches the machine off

    return talk(runner, test, factor, dialogue)


# ---- work ----

def crunch(shell):
    shell.run("dd if=/dev/zero of=a bs=1M count=32; echo the end >>a")
    shell.check("sha256sum <a", sha256(bytes(32 << 20) + b"the end\n"))
    shell.check("rm a; seq 1 5000 >n; gzip -k n; gunzip -c n.gz | sha256sum", sha256(numbers(5000)))
    shell.check("sort -r n | sha256sum", sha256(b"".join(sorted(numbers(5000).splitlines(True), reverse=True))))
    shell.check("awk '{s+=$1*$1} END {printf \"%.0f\\n\", s}' n", str(sum(n * n for n in range(5001))))
    shell.check("echo '3^100' | bc", str(3 ** 100))
    shell.check("echo 'scale=40; 4*a(1)' | bc -l", "3.1415926535897932384626433832795028841968")


def processes(shell):
    shell.check("i=0; while [ $i -lt 1000 ]; do (exit 3); [ $? = 3 ] && i=$((i+1)); done; echo $i", "1000")
    shell.check("cat n | cat | cat | tail -n 1", "5000")
    shell.check("yes | head -n 3 | wc -l", "3")
    shell.check("trap 'echo caught' USR1; kill -USR1 $$; trap - USR1", "caught")
    shell.run("sh -c 'kill -SEGV $$'", status=139)
    shell.check("sh -c 'trap \"echo done; exit 5\" TERM; sleep 1000 & kill $$; wait'; echo $?", "done\n5")


def paste(shell):
    """More than the monitor keeps until the guest takes it (64 KiB), faster than it does: nothing is lost on the way."""
    text = numbers(19000)
    shell.m.send(b"stty -echo; echo rea''dy; head -c %d | sha256sum; stty echo\r" % len(text))
    shell.expect(rb"ready\r\n")
    shell.m.send(text)
    shell.expect(sha256(text).encode())
    shell.prompt()


def work(runner, test, factor):
    def dialogue(shell):
        crunch(shell)
        processes(shell)
        paste(shell)
        shell.m.send(b"poweroff -f\r")

    return talk(runner, test, factor, dialogue)


# ---- idling, endings ----

def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


IDLE_SECONDS = 4
CLOCK_TOLERANCE = 3600  # seconds: how fast it goes is a matter of calibration, which a busy machine disturbs
IDLE_SHARE = 0.35  # of a CPU; a guest that spins uses all of it, in every try
IDLE_TRIES = 5     # a busy machine makes the guest's little work dearer for a while


def idle(runner, test, factor):
    """A guest at its prompt leaves the machine's CPU halted most of the time, and its clock was set right."""
    def dialogue(shell):
        started = time.monotonic()
        while time.monotonic() - started < 1:  # let it settle
            shell.m.pump(0.2)
        share = 1.0
        for _ in range(IDLE_TRIES):
            before, started = cpu_seconds(shell.m.process.pid), time.monotonic()
            while time.monotonic() - started < IDLE_SECONDS:
                shell.m.pump(0.5)
            share = (cpu_seconds(shell.m.process.pid) - before) / (time.monotonic() - started)
            if share <= IDLE_SHARE:
                break
        else:
            raise Wrong(f"an idle guest uses {share:.0%} of a CPU")
        shell.check("echo awake", "awake")
        if abs(wrong := int(shell.run("date +%s")) - time.time()) > CLOCK_TOLERANCE:
            raise Wrong(f"the guest's clock is {wrong:.0f} s ahead")
        shell.m.send(b"exit\r")

    return talk(runner, test, factor, dialogue)


def ends_with(command):
    """Whatever follows the command ends the run: test.status and test.expect say how."""
    def special(runner, test, factor):
        def dialogue(shell):
            shell.check("cat /proc/cmdline", test.cmdline)
            shell.m.send(command.encode() + b"\r")

        return talk(runner, test, factor, dialogue)

    return special
