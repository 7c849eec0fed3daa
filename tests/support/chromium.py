"""The Chromium that browser tests run: the machine's own, or one that this module installs as a program.

`python tests/support/chromium.py` is a step of `make environments`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

_COMMANDS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
# Debian's packages bring every library that the browser needs. Without a font, text has no size and no contrast.
_PACKAGES = ("chromium-headless-shell", "fonts-dejavu-core")


def found() -> str | None:
    """Return the path of a Chromium that can run without a screen, or None."""
    for command in _COMMANDS:
        if path := shutil.which(command):
            return path
    own = _playwrights_own()
    return str(own) if own is not None and own.exists() else None


def install() -> None:
    """Install Chromium: by Debian's package manager where we may, else by Playwright's download.

    Raises:
        CalledProcessError: neither way worked.
    """
    if shutil.which("apt-get") and os.geteuid() == 0:
        wait = ("-o", "DPkg::Lock::Timeout=600")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for step in (("update", "-qq"), ("install", "-qq", "--yes", "--no-install-recommends", *_PACKAGES)):
            subprocess.run(["apt-get", *wait, *step], check=True, env=environment, stdout=subprocess.DEVNULL)
    else:
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=True)


def _playwrights_own() -> Path | None:
    """Return where Playwright puts the browser that it downloads."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        return Path(playwright.chromium.executable_path)


def main() -> int:
    """Install a browser unless there is one. Return the exit code."""
    if found() is None:
        try:
            install()
        except subprocess.CalledProcessError as error:
            sys.stderr.write(f"`{' '.join(map(str, error.cmd))}` failed\n")
    path = found()
    if path is None:
        sys.stderr.write("no Chromium was found, and none could be installed: install one by hand\n")
        return 1
    sys.stdout.write(f"browser of the tests: {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
