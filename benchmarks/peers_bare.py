"""A bare loop a core over static halves of the clips: python peers_bare.py WORKERS FOLDER..."""

import subprocess
import sys
from pathlib import Path


def main() -> None:
    workers, folders = int(sys.argv[1]), sys.argv[2:]
    command = [sys.executable, str(Path(__file__).with_name("bare_loop.py"))]
    running = [subprocess.Popen([*command, *folders[i::workers]]) for i in range(min(workers, len(folders)))]
    sys.exit(max(process.wait() for process in running))


if __name__ == "__main__":
    main()
