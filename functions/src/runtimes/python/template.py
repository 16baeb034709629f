"""Loads a Python function once and forks it into sandboxes.

This process is the template of a function. The platform tells it on descriptor 3 of slots that stand (six namespaces, a
log, lanes, a cgroup) and orders forks into them. A fork is a copy of this process with everything imported; it enters its
slot, gives up every right that only the template needs, and serves as an instance. Nothing runs here between forks.

What the kernel is asked for goes through ctypes and not through os.fork(): a fork has to be born in the right cgroup, with
named process ids, and as a child of the process that watches it. The hooks of the interpreter run all the same, but
last, when the fork is confined: they may be the function's.
"""

import os
import sys
import time

import _socket
import ctypes
import errno
import gc
import json

import bootstrap as shim

# The name belongs to the function, which may have a module that is called so.
del sys.modules["bootstrap"]

rehearsal = shim.beside("rehearsal")

ORDERS = 3
OWN_PIDS = 4
LONGEST_ORDER = 4096
REHEARSED_ORDER = b'{"fork":0,"rehearse":false}'
MOST_DESCRIPTORS = 128

NEWPID, NEWNS, NEWNET, NEWIPC, NEWUTS, NEWCGROUP = 0x20000000, 0x20000, 0x40000000, 0x8000000, 0x4000000, 0x2000000
# In the order in which they come with a slot, the pid namespace before them.
ENTERED = (NEWNS, NEWNET, NEWIPC, NEWUTS, NEWCGROUP)
PARENT, CHILD_CLEARTID, CHILD_SETTID, INTO_CGROUP = 0x8000, 0x200000, 0x1000000, 0x200000000
SET_DUMPABLE, GET_TID_ADDRESS = 4, 40
SET_MODE_FILTER = 1
CAPABILITIES_3 = 0x20080522
CLONE3, SECCOMP, SET_ROBUST_LIST, GET_ROBUST_LIST = {
    "x86_64": (435, 317, 273, 274),
    "aarch64": (435, 277, 99, 100),
}[os.uname().machine]

# PyDLL keeps the interpreter's lock: a fork must not come back without it.
libc = ctypes.PyDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
interpreter = ctypes.pythonapi


class CloneArguments(ctypes.Structure):
    """struct clone_args of clone3(2)."""

    _fields_ = [
        (name, ctypes.c_uint64)
        for name in "flags pidfd child_tid parent_tid exit_signal stack stack_size tls set_tid set_tid_size cgroup".split()
    ]


class Program(ctypes.Structure):
    """struct sock_fprog of seccomp(2)."""

    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def check(result, what):
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
    return result


class Kernel:
    """Everything a fork asks the kernel for, laid out ahead, so that a fork allocates next to nothing."""

    def __init__(self, filter_bytes):
        self.arguments = CloneArguments(flags=PARENT | CHILD_SETTID | CHILD_CLEARTID)
        self.pids = (ctypes.c_int * 2)(2, 0)
        self.arguments.set_tid = ctypes.addressof(self.pids)
        self.arguments.set_tid_size = 2
        # Where the C library keeps the thread's id, and its list of locks that outlive a thread: a clone that it does not
        # make itself leaves both behind.
        address = ctypes.c_void_p()
        check(libc.prctl(GET_TID_ADDRESS, ctypes.byref(address), 0, 0, 0), "prctl(PR_GET_TID_ADDRESS)")
        self.arguments.child_tid = address.value
        self.robust, size = ctypes.c_void_p(), ctypes.c_size_t()
        check(libc.syscall(GET_ROBUST_LIST, 0, ctypes.byref(self.robust), ctypes.byref(size)), "get_robust_list")
        self.robust_size = ctypes.c_size_t(size.value)
        self.filter = ctypes.create_string_buffer(filter_bytes, len(filter_bytes))
        self.program = Program(len(filter_bytes) // 8, ctypes.addressof(self.filter))
        self.no_capabilities = (ctypes.c_uint32 * 6)()
        self.capabilities_of_self = (ctypes.c_uint32 * 2)(CAPABILITIES_3, 0)

    def clone(self, slot):
        """Returns 0 in the fork, and a negative error number where there is none."""
        check(libc.setns(slot.namespaces[0], NEWPID), "setns(pid)")
        self.pids[1] = slot.pid
        into = 0 if slot.birthplace is None else INTO_CGROUP
        self.arguments.flags = PARENT | CHILD_SETTID | CHILD_CLEARTID | into
        self.arguments.cgroup = slot.birthplace or 0
        pid = libc.syscall(CLONE3, ctypes.byref(self.arguments), ctypes.sizeof(self.arguments))
        if pid == 0:
            return 0
        error = ctypes.get_errno()
        # The next process would go to that slot too.
        check(libc.setns(OWN_PIDS, NEWPID), "setns(own pid)")
        return -error if pid < 0 else pid

    def rehearse(self):
        """Touches what clone() does."""
        check(libc.setns(OWN_PIDS, NEWPID), "setns(own pid)")
        self.pids[1] = 0
        self.arguments.flags = self.arguments.cgroup = 0

    def enter(self, slot):
        """Confines a fork. After this it can do nothing that an executed function can't."""
        for tasks in slot.tasks:
            os.write(tasks, b"0")
        # It was born into the process group of its template, where a signal to the group reaches that and every other fork.
        check(libc.setsid(), "setsid")
        for namespace, kind in zip(slot.namespaces[1:], ENTERED):
            check(libc.setns(namespace, kind), "setns")
        check(libc.capset(self.capabilities_of_self, self.no_capabilities), "capset")
        check(libc.prctl(SET_DUMPABLE, 0, 0, 0, 0), "prctl(PR_SET_DUMPABLE)")
        check(libc.syscall(SECCOMP, SET_MODE_FILTER, 0, ctypes.byref(self.program)), "seccomp")
        libc.syscall(SET_ROBUST_LIST, self.robust, self.robust_size)


class Slot:
    """A place for one fork."""

    def __init__(self, announcement, descriptors):
        lanes = announcement["lanes"]
        self.pid = announcement["pid"]
        self.descriptors = descriptors
        self.namespaces = descriptors[:6]
        self.log = descriptors[6]
        self.lanes = descriptors[7 : 7 + lanes]
        entrances = descriptors[7 + lanes :]
        self.birthplace = entrances.pop() if announcement["born_in"] else None
        self.tasks = entrances

    def close(self):
        for descriptor in self.descriptors:
            os.close(descriptor)


class Template:
    """The loaded function, and the slots that stand for its forks."""

    def __init__(self, kernel, orders, handler, after_restore):
        self.kernel = kernel
        self.orders = orders
        self.handler = handler
        self.after_restore = after_restore
        self.slots = {}

    def say(self, **word):
        self.orders.send(json.dumps(word).encode())

    def run(self):
        """Never returns: forks leave by serving."""
        size = _socket.CMSG_SPACE(4 * MOST_DESCRIPTORS)
        while True:
            data, beside, _, _ = self.orders.recvmsg(LONGEST_ORDER, size, _socket.MSG_CMSG_CLOEXEC)
            if not data:
                os._exit(0)
            order = json.loads(data)
            if "slot" in order:
                # The cell has looked at what this process holds, before the first slot came. From now on nobody does.
                check(libc.prctl(SET_DUMPABLE, 0, 0, 0, 0), "prctl(PR_SET_DUMPABLE)")
                slot = Slot(order, received(beside))
                if len(slot.lanes) == order["lanes"]:
                    self.slots[order["slot"]] = slot
                else:
                    slot.close()
            elif "fork" in order:
                slot = self.slots.pop(order["fork"], None)
                if slot is None:
                    self.say(forked=order["fork"], pid=-errno.ESRCH)
                else:
                    self.fork(order["fork"], slot, order["rehearse"])
            else:
                slot = self.slots.pop(order["drop"], None)
                if slot is not None:
                    slot.close()

    def fork(self, number, slot, rehearse):
        began = time.monotonic_ns()
        interpreter.PyOS_BeforeFork()
        pid = self.kernel.clone(slot)
        if pid == 0:
            self.become_instance(slot, rehearse, began)
        interpreter.PyOS_AfterFork_Parent()
        slot.close()
        # Closing the lanes has told the host already that there is none.
        self.say(forked=number, pid=pid)
        self.prepare_for_the_next()

    def prepare_for_the_next(self):
        """A fork leaves every page of this process to be copied, or at least claimed, when it is next written to. Doing now
        what the next order will do pays for that while nobody waits."""
        order = json.loads(REHEARSED_ORDER)
        if "fork" in order:
            self.slots.pop(order["fork"], None)
        interpreter.PyOS_BeforeFork()
        self.kernel.rehearse()
        interpreter.PyOS_AfterFork_Parent()

    def become_instance(self, slot, rehearse, began):
        try:
            self.kernel.enter(slot)
            # Its number belongs to a lane from now on.
            self.orders.detach()
            adopt(slot)
            interpreter.PyOS_AfterFork_Child()
            os.chdir("/function")
            reseed()
            if self.after_restore is not None:
                self.after_restore()
            if rehearse:
                rehearsal.rehearse(2)
            servers = shim.announce(self.handler, began)
        except BaseException as error:
            try:
                shim.refuse(error)
            finally:
                os._exit(72)
        shim.serve(servers)


def received(beside):
    for level, kind, data in beside:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            return [int.from_bytes(data[at : at + 4], sys.byteorder) for at in range(0, len(data) // 4 * 4, 4)]
    return []


def adopt(slot):
    """Puts the descriptors of a slot where an instance has them, and closes all others."""
    os.dup2(slot.log, 1)
    os.dup2(slot.log, 2)
    for number, lane in enumerate(slot.lanes):
        os.dup2(lane, 3 + number, False)
    os.closerange(3 + len(slot.lanes), 1 << 20)


def settle_random_numbers():
    """Makes OpenSSL set its generator up here. It sees by the process id, which is another one in every fork than here, that it has
    to seed it anew; setting it up in each fork would cost as much as the rest of the fork."""
    ssl = sys.modules.get("_ssl")
    if ssl is not None:
        ssl.RAND_bytes(1)


def reseed():
    """Random numbers that would be the same in all forks. What lives in the function's own objects only it knows: that is
    what after_restore() is for."""
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        numpy.seed()


def keep_low_numbers(lanes):
    """Takes the numbers that lanes get in a fork, so that nothing a slot brings lies in the way."""
    null = os.open("/dev/null", os.O_RDONLY)
    while null < 3 + lanes:
        null = os.dup(null)
    os.close(null)


def main():
    filter_bytes = bytes.fromhex(sys.argv[1])
    sys.argv = [shim.__file__]
    orders = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, ORDERS)
    shim.prepare()
    spec = os.environ.get("_HANDLER", "")
    try:
        handler = shim.loading.load(spec)
    except BaseException as error:
        failure = shim.describe(error)
        shim.flush()
        orders.send(json.dumps({"failed": f"{failure['errorType']}: {failure['errorMessage']}"[:2000]}).encode())
        os._exit(1)
    shim.adopt_logging()
    after_restore = getattr(sys.modules.get(shim.loading.module_name(spec)), "after_restore", None)
    kernel = Kernel(filter_bytes)
    # Often enough for the interpreter to have rewritten its own code, which each fork would pay for otherwise.
    rehearsal.rehearse(64)
    settle_random_numbers()
    shim.flush()
    template = Template(kernel, orders, handler, after_restore)
    written = sorted(os.listdir("/tmp") + os.listdir("/dev/shm"))[:3]
    gc.collect()
    gc.freeze()
    template.say(ready=True, written=written)
    keep_low_numbers(shim.lane_count())
    template.run()


if __name__ == "__main__":
    main()
