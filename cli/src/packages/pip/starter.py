# Runs pip so that it can unpack wheels and nothing else: whatever would start a program is refused.
# PermissionError, because pip treats it like a program that is not installed where it only asks for versions.
import runpy
import sys

STARTS = frozenset(
    ("subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "pty.spawn")
)


def refuse(event, args):
    if event in STARTS:
        raise PermissionError("fn: no program may be started while packages are installed")


# The function's own directory is the current one, and its modules must not take the place of pip's.
sys.path[:] = [entry for entry in sys.path if entry not in ("", ".")]
sys.argv = ["pip", *sys.argv[1:]]
sys.addaudithook(refuse)
runpy.run_module("pip", run_name="__main__", alter_sys=True)
