"""A volume on JuiceFS, used by a job, beside the same mount used by a program without metal9."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

from beta9.clients.gateway import Volume as VolumeOfStub
from harness import SplitFleet, Volume
from harness import juicefs as jfs

PROGRAM = Path(__file__).resolve().parent / "programs" / "file_work.py"


def volumes(root: Path, mib: int, files: int) -> Dict[str, Any]:
    """Names in Redis on this machine, contents in a directory of it."""
    apart = root / "redis"
    apart.mkdir(parents=True)
    redis = jfs.Redis(apart, "bench")
    try:
        return _with_names_in(redis, root / "fleet", mib, files)
    finally:
        redis.stop()


def _with_names_in(redis: jfs.Redis, root: Path, mib: int, files: int) -> Dict[str, Any]:
    root.mkdir()
    fleet = SplitFleet(
        root,
        METAL9_JUICEFS_METADATA=redis.url(0),
        METAL9_JUICEFS_FORMAT="true",
        METAL9_JUICEFS_OWN_MOUNT="true",
    )
    try:
        fleet.start()
        volume = Volume(fleet.api, "bench")
        stub = fleet.api.stub(
            {"app.py": PROGRAM.read_text()},
            "app:measure",
            volumes=[VolumeOfStub(id=volume.id, mount_path="./data")],
            timeout=900,
            memory=1024,
        )
        job = fleet.api.call(stub, "data", mib, files).value
        [worker] = fleet.workers
        directory = worker.state / "juicefs" / "mnt" / volume.id
        assert jfs.mounted_at(directory.parent) == ["fuse.juicefs"], "the job had a copy"
        words = [sys.executable, str(PROGRAM), str(directory), str(mib), str(files)]
        bare = subprocess.run(words, check=True, capture_output=True, text=True)
        return {"mib": mib, "files": files, "job": job, "bare": json.loads(bare.stdout)}
    finally:
        fleet.stop()
