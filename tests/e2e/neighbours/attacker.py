"""Takes all it can of one resource, within bounds of its own, and says what stopped it: the name of an errno, or `done`."""
import ctypes, errno, os, resource, signal, socket, subprocess, sys, threading, time

libc = ctypes.CDLL(None, use_errno=True)


def checked(result):
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def fork_bomb():
    children = []
    try:
        for _ in range(500):
            child = os.fork()
            if child == 0:
                signal.pause()
            children.append(child)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def threads():
    gate, started = threading.Event(), []
    try:
        for _ in range(500):
            thread = threading.Thread(target=gate.wait)
            try:
                thread.start()
            except RuntimeError as error:
                raise OSError(errno.EAGAIN, "no thread") from error
            started.append(thread)
    finally:
        gate.set()
        for thread in started:
            thread.join()


def memory_bomb():
    eaten = bytearray(512 * 1024 * 1024)
    for at in range(0, len(eaten), 4096):
        eaten[at] = 1


def fill(directory):
    path = f"{directory}/filled"
    try:
        with open(path, "wb", buffering=0) as file:
            for _ in range(256):
                file.write(bytes(1024 * 1024))
    finally:
        os.remove(path)


def inode_fill():
    made = 0
    os.mkdir("/tmp/inodes")
    try:
        for made in range(100_000):
            os.close(os.open(f"/tmp/inodes/{made}", os.O_CREAT | os.O_WRONLY))
    finally:
        subprocess.run(["/bin/rm", "-rf", "/tmp/inodes"], check=True)


def held(make):
    """Makes descriptors until one is refused."""
    kept = []
    try:
        for _ in range(100_000):
            kept.append(make())
    finally:
        for one in kept:
            for part in one if isinstance(one, tuple) else (one,):
                part.close() if hasattr(part, "close") else os.close(part)


def sparse_file():
    with open("/tmp/sparse", "wb") as file:
        try:
            os.ftruncate(file.fileno(), 1 << 42)
            os.pwrite(file.fileno(), b"x", (1 << 42) - 1)
        finally:
            os.remove("/tmp/sparse")


def cpu_spin():
    until = time.monotonic() + 1
    while time.monotonic() < until:
        pass


def stdout_flood():
    line = "x" * 1023 + "\n"
    for _ in range(16 * 1024):
        sys.stdout.write(line)
    sys.stdout.flush()


def dentry_flood():
    for number in range(100_000):
        os.path.exists(f"/tmp/none-{number}")


def page_cache():
    for _ in range(20):
        with open("/tmp/cached", "wb", buffering=0) as file:
            file.write(bytes(8 * 1024 * 1024))
        with open("/tmp/cached", "rb") as file:
            file.read()
    os.remove("/tmp/cached")


def pipe_pages():
    import fcntl
    reader, writer = os.pipe()
    try:
        fcntl.fcntl(writer, 1031, 1024 * 1024)
    finally:
        os.close(reader)
        os.close(writer)


def pipes():
    def full():
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        try:
            while True:
                os.write(writer, bytes(65536))
        except BlockingIOError:
            return reader, writer

    held(full)


def in_flight():
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    near.setblocking(False)
    with near, far:
        for _ in range(10_000):
            socket.send_fds(near, [b"x"], [near.fileno()] * 200)


def mlock():
    size = 64 * 1024 * 1024
    checked(libc.mlock(ctypes.create_string_buffer(size), size))


def deep_directories():
    here = os.open("/tmp", os.O_RDONLY)
    os.mkdir("/tmp/deep")
    os.chdir("/tmp/deep")
    try:
        for _ in range(50_000):
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.fchdir(here)
        os.close(here)
        subprocess.run(["/bin/rm", "-rf", "/tmp/deep"], check=True)


def timers():
    timer = ctypes.c_void_p()
    made = []
    try:
        for _ in range(200_000):
            checked(libc.timer_create(1, None, ctypes.byref(timer)))
            made.append(timer.value)
    finally:
        for one in made:
            libc.timer_delete(ctypes.c_void_p(one))


def exec_churn():
    for _ in range(100):
        subprocess.run(["/bin/true"], check=True)


ATTACKS = {
    "fork bomb": fork_bomb,
    "threads": threads,
    "memory bomb": memory_bomb,
    "tmpfs fill": lambda: fill("/tmp"),
    "shm fill": lambda: fill("/dev/shm"),
    "inode fill": inode_fill,
    "descriptors": lambda: held(lambda: os.open("/dev/null", os.O_RDONLY)),
    "sparse giant file": sparse_file,
    "cpu spin": cpu_spin,
    "real-time priority": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50)),
    "stdout flood": stdout_flood,
    "dentry flood": dentry_flood,
    "page-cache flood": page_cache,
    "larger pipes": pipe_pages,
    "full pipes": pipes,
    "sockets": lambda: held(lambda: socket.socketpair()),
    "descriptors in flight": in_flight,
    "mlock": mlock,
    "deep directories": deep_directories,
    "inotify": lambda: held(lambda: checked(libc.inotify_init())),
    "timers": timers,
    "exec churn": exec_churn,
    "sleep for ever": lambda: time.sleep(10**6),
    "SIGSTOP itself": lambda: os.kill(0, signal.SIGSTOP),
}


def handler(event, context):
    name = event.get("queryStringParameters", {}).get("do")
    if name is None:
        return "quiet"
    try:
        ATTACKS[name]()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"
