"""A full disk: the loop waits, says so, carries orders out as far as it can, and goes on when there is room."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.fault(7, "the ledger's disk is full")

_OWN_MOUNTS = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]


@pytest.mark.timeout(400)
def test_on_a_full_disk_orders_are_carried_out_and_nothing_is_lost(tmp_path: Path) -> None:
    if not shutil.which("unshare") or subprocess.run([*_OWN_MOUNTS, "true"], capture_output=True, check=False).returncode:
        pytest.skip("a small disk needs a mount namespace (`unshare --mount`), which this system does not allow")
    disk, scratch = tmp_path / "small", tmp_path / "scratch"
    disk.mkdir()
    scratch.mkdir()
    command = [*_OWN_MOUNTS, sys.executable, "-m", "tests.faults.disk_full", str(disk), str(scratch)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=380, check=False)
    assert ran.returncode == 0, ran.stderr[-4000:]
    told = json.loads(ran.stdout.splitlines()[-1])
    assert len(told) == 7
    assert all(told.values()), told
