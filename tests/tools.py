"""Programs that judge what lbcproxy writes; tests that need one are skipped where it is absent."""

import shutil
import subprocess

import pytest


def tshark(*arguments: str) -> str:
    """Run tshark, Wireshark without windows, and give what it prints."""
    program = shutil.which("tshark")
    if program is None:
        pytest.skip("install tshark")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
