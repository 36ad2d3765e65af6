# What gdb says of a stopped process's threads, for gdb_oracle.rs, which talks to it by lines.
#
#   attach PID   stops a process; the answer is a line for each of its threads
#   step TID     takes one instruction of a thread; the answer is its line
#   detach       lets the process go
#
# `# done` ends each answer. A thread's line:
#   # TID IP RAX RDX RCX RBX RSI RDI RBP RSP R8 … R15 | PC PC …
# The registers are in DWARF's order; the addresses are those of the frames, the innermost first.
import sys

import gdb

REGISTERS = "rip rax rdx rcx rbx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15".split()
FRAMES_AT_MOST = 1100
WORD = (1 << 64) - 1


def tell_thread():
    frame = gdb.newest_frame()
    registers = [int(frame.read_register(name)) & WORD for name in REGISTERS]
    addresses = []
    while frame is not None and len(addresses) < FRAMES_AT_MOST:
        # An inlined function is in the frame of the one that it was inlined in; that of a caller which has jumped on
        # is gone: gdb concludes from debug info that there was one.
        if frame.type() not in (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME):
            addresses.append(frame.pc())
        frame = frame.older()
    words = [" ".join(f"{word:x}" for word in words) for words in (registers, addresses)]
    print("#", gdb.selected_thread().ptid[1], words[0], "|", words[1])


def attach(pid):
    gdb.execute("attach " + pid, to_string=True)
    # Other threads stay where they are when one takes a step.
    gdb.execute("set scheduler-locking on")
    for thread in gdb.selected_inferior().threads():
        thread.switch()
        tell_thread()


def step(tid):
    if str(gdb.selected_thread().ptid[1]) != tid:
        next(thread for thread in gdb.selected_inferior().threads() if str(thread.ptid[1]) == tid).switch()
    gdb.execute("stepi", to_string=True)
    tell_thread()


def detach():
    gdb.execute("detach", to_string=True)
    # Nothing of this program is good for the next one.
    gdb.execute("file", to_string=True)


for setting in (
    "pagination off",
    "confirm off",
    "debuginfod enabled off",
    "backtrace past-main on",
    "backtrace past-entry on",
):
    gdb.execute("set " + setting)

for line in iter(sys.stdin.readline, ""):
    command, *arguments = line.split()
    {"attach": attach, "step": step, "detach": detach}[command](*arguments)
    print("# done", flush=True)
