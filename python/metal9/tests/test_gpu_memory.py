"""MLX is held to the memory of the job; the real MLX, on the processor."""

VARIABLE = "METAL9_GPU_MEMORY_MIB"
MIB = 1024 * 1024

# Each setter returns the limit there was before.
LIMITS = """
def main():
    import mlx.core as mx
    return [mx.set_memory_limit(1), mx.set_cache_limit(1)]
"""


def test_limits_hold_from_the_import_on(load):
    app = "import mlx.core as mx\nAT_IMPORT = mx.set_memory_limit(7 << 20)\ndef main(): return AT_IMPORT\n"
    assert load(app, env={VARIABLE: "512"}).value() == 512 * MIB


def test_an_import_within_a_call_is_limited_too(load):
    assert load(LIMITS, env={VARIABLE: "300"}).value() == [300 * MIB, 300 * MIB]


def test_the_module_works_as_ever(load):
    app = """
import sys
def main():
    import mlx.core as mx
    a = mx.ones((8, 8))
    return (a @ a).sum().item(), mx.__spec__.name, "mlx.nn" in sys.modules
"""
    assert load(app, env={VARIABLE: "300"}).value() == (512.0, "mlx.core", False)


def test_a_job_without_an_apple_gpu_keeps_what_mlx_sets_itself(load):
    import mlx.core as mx

    usual = mx.set_memory_limit(MIB)
    mx.set_memory_limit(usual)
    assert load(LIMITS).value()[0] == usual
    assert usual != 300 * MIB


def test_nothing_is_imported_for_the_limit(load):
    app = "import sys\ndef main(): return [name for name in sys.modules if name.startswith('mlx')]\n"
    assert load(app, env={VARIABLE: "300"}).value() == []


def test_a_missing_mlx_is_missing_as_ever(load):
    app = """
import sys
def main():
    sys.path[:] = [path for path in sys.path if "site-packages" not in path]
    try:
        import mlx.core
    except ImportError as error:
        return str(error)
"""
    assert load(app, env={VARIABLE: "300"}).value() == "No module named 'mlx'"


def test_processes_of_the_job_are_limited_too(load):
    app = """
import multiprocessing
def limit(_):
    import mlx.core as mx
    return mx.set_memory_limit(1)
def main(method):
    with multiprocessing.get_context(method).Pool(1) as pool:
        return pool.map(limit, [0])
"""
    worker = load(app, env={VARIABLE: "300"})
    assert worker.value("spawn") == [300 * MIB]
    assert worker.value("fork") == [300 * MIB]


def test_nonsense_limits_nothing(load):
    assert load(LIMITS, env={VARIABLE: "much"}).value()[0] > 300 * MIB


PROGRAM = """
import json, os, subprocess, sys
CODE = "import sys, mlx.core as mx; print([mx.set_memory_limit(1), sys.path, getattr(sys, 'theirs', None)])"
def main(**env):
    arguments = [sys.executable, "-c", CODE]
    return eval(subprocess.run(arguments, check=True, stdout=subprocess.PIPE, env={**os.environ, **env}).stdout)
"""


def test_programs_of_the_job_are_limited_too(load):
    limit, path, _ = load(PROGRAM, env={VARIABLE: "300"}).value()
    assert limit == 300 * MIB
    assert not any(entry.endswith("startup") for entry in path)


def test_programs_of_other_jobs_are_started_as_ever(load):
    app = PROGRAM + "\ndef path(): return os.environ.get('PYTHONPATH'), main()[0]\n"
    path, limit = load(app, handler="app:path", env={"PYTHONPATH": "/somewhere"}).value()
    assert path == "/somewhere" and limit > 300 * MIB


def test_what_users_have_python_start_with_is_kept(load, tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "sitecustomize.py").write_text("import sys\nsys.theirs = __name__\n")
    theirs = str(tmp_path / "theirs")
    limit, path, ran = load(PROGRAM, env={VARIABLE: "300", "PYTHONPATH": theirs}).value()
    assert (limit, ran) == (300 * MIB, "sitecustomize")
    assert theirs in path
