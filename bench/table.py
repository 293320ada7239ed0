"""The figures beside what they should be."""

from typing import Any, Callable, Dict, List, Optional, Tuple

# Ray's time may be exceeded by this factor: metal9 writes every call to disk, Ray keeps it in memory.
PEER_FACTOR = 1.5
# Used where Ray was not measured: what it does on two cores.
USUAL_PEER = 913.0

Verdict = Optional[bool]
Row = Tuple[str, str, str, Verdict]


def rows(report: Dict[str, Any]) -> List[Row]:
    """Title, figure, target and verdict of everything that was measured."""
    out: List[Row] = []
    for name, make in SECTIONS.items():
        if name in report:
            out += make(report[name], report)
    return out


def _most(title: str, value: float, most: float, unit: str) -> Row:
    return title, f"{value:.2f} {unit}", f"≤ {most:g} {unit}", value <= most


def _plain(title: str, text: str) -> Row:
    return title, text, "", None


def _shares(figures: Dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in figures.items()) + " ms"


def _core(figures: Dict[str, Any], _: Dict[str, Any]) -> List[Row]:
    rate = figures["decisions_per_second"]
    told = f"{figures['workers']:,} workers, {figures['queued']:,} queued"
    return [
        (f"scheduler alone, {told}", f"{rate:,.0f} /s", "≥ 100,000 /s", rate >= 100_000),
    ]


def _idle(figures: Dict[str, Any], _: Dict[str, Any]) -> List[Row]:
    return [
        _most("gateway, idle, resident", figures["gateway"]["rss_mib"], 40, "MiB"),
        _most("worker, idle, resident", figures["worker"]["rss_mib"], 20, "MiB"),
    ]


def _api(figures: Dict[str, Any], _: Dict[str, Any]) -> List[Row]:
    best, median = figures["best"], figures["median"]
    return [
        _most("warm call, gRPC API, p50, best round", best["p50_ms"], 2, "ms"),
        _most("warm call, gRPC API, p99, best round", best["p99_ms"], 10, "ms"),
        _plain(
            "   median round, p50 / p99", f"{median['p50_ms']:.2f} / {median['p99_ms']:.2f} ms"
        ),
        _plain("   processor time per call", _shares(figures["processor_ms_per_call"])),
        _plain(
            "   client alone / each of two waits for the disk, p50",
            f"{figures['floor']['client']['p50_ms']:.2f} / {figures['floor']['disk']['p50_ms']:.2f} ms",
        ),
    ]


def _cold(figures: Dict[str, Any], _: Dict[str, Any]) -> List[Row]:
    out = [
        _most("cold call, spare there, p50", figures["spare"]["p50_ms"], 150, "ms"),
        _most("cold calls in a row, p50", figures["in_a_row"]["p50_ms"], 150, "ms"),
    ]
    phases = figures["in_a_row"]["phases_p50_ms"].items()
    out.append(_plain("   of which", ", ".join(f"{name} {ms:.0f}" for name, ms in phases) + " ms"))
    first, *later = figures["bursts"]
    out.append(_plain("4 cold calls at once, the first time, slowest", f"{first['max_ms']:.0f} ms"))
    slowest = min(burst["max_ms"] for burst in later)
    out.append(_most("   again, slowest", slowest, 150, "ms"))
    return out


def _spawn(figures: Dict[str, Any], _: Dict[str, Any]) -> List[Row]:
    count, complete = figures["count"], figures["complete"]
    whole = complete == count == figures["ids"]
    return [
        (f"{count:,} calls at once, complete", f"{complete:,}", f"{count:,}", whole),
        _plain("   accepted", f"{figures['accepted_per_second']:.0f} /s"),
        _plain("   done", f"{figures['done_per_second']:.0f} /s"),
        _plain("   processor time per call", _shares(figures["processor_ms_per_call"])),
    ]


def _sdk(figures: Dict[str, Any], report: Dict[str, Any]) -> List[Row]:
    ray = report.get("ray")
    remote, rate = figures["remote"], figures["map"]["per_second"]
    beside = f" (Ray {ray['remote']['p50_ms']:.2f})" if ray else ""
    peer = ray["map"]["per_second"] if ray else USUAL_PEER
    steps = f" (Ray {ray['steps']['seconds']:.3f})" if ray else ""
    return [
        _plain("f.remote(), p50", f"{remote['p50_ms']:.2f} ms{beside}"),
        _plain("f.remote(), p99", f"{remote['p99_ms']:.2f} ms"),
        (
            f"f.map of {figures['map']['count']:,}",
            f"{rate:.0f} /s" + (f" (Ray {peer:.0f})" if ray else ""),
            f"≥ {peer / PEER_FACTOR:.0f} /s",
            rate >= peer / PEER_FACTOR,
        ),
        _plain("   processor time per call", _shares(figures["processor_ms_per_call"])),
        _plain(
            "   the SDK alone, server that answers at once",
            f"{figures['alone']['per_second']:.0f} /s, "
            f"{figures['alone']['processor_ms_per_call']:.2f} ms",
        ),
        _plain(
            f"{figures['steps']['count']} steps of 10 ms in a row",
            f"{figures['steps']['seconds']:.3f} s{steps}",
        ),
    ]


def _after(figures: Dict[str, Any], _: Dict[str, Any]) -> List[Row]:
    return [
        _plain(f"{name}, after all of this, resident", f"{part['rss_mib']:.1f} MiB")
        for name, part in figures.items()
    ]


# The most that a container may take until user code runs, in milliseconds, beyond the user's own imports.
START = {"native": 150, "runc": 200, "runsc": 500}


def _containers(figures: Dict[str, Any], _: Dict[str, Any]) -> List[Row]:
    out: List[Row] = []
    for kind, found in figures.items():
        spare, own = found["spare"], found["spare"]["phases_p50_ms"].get("import", 0.0)
        start = spare["p50_ms"] - own
        out.append(_most(f"{kind}: first call without imports, p50", start, START[kind], "ms"))
        phases = found["no_spare"]["phases_p50_ms"].items()
        told = ", ".join(f"{name} {ms:.0f}" for name, ms in phases)
        out.append(_plain("   without a spare process", f"{found['no_spare']['p50_ms']:.0f} ms: {told}"))
        out.append(_plain("   `python3 -c pass` by itself", f"{found['bare_ms']:.0f} ms"))
        many = found["at_once"]
        title = f"   {many['count']} containers at once, failed ({many['seconds']:.1f} s)"
        out.append((title, str(many["failed"]), "0", many["failed"] == 0))
    return out


def _scale(figures: Dict[str, Any], _: Dict[str, Any]) -> List[Row]:
    workers = figures["workers"]
    kept = figures["still_connected"] == workers and not figures["lost"]
    calls = figures["calls"]
    return [
        (f"{workers:,} workers, sessions kept", f"{figures['still_connected']:,}", f"{workers:,}", kept),
        _plain("   all connected after", f"{figures['connect_seconds']:.1f} s"),
        _plain(
            "   gateway, resident",
            f"{figures['rss_mib']:.0f} MiB, {figures['kib_per_session']:.1f} KiB per session",
        ),
        _plain("   gateway, heartbeats only", f"{figures['idle_processor_percent']:.0f} % of a core"),
        _plain("   call through them, p50 / p99", f"{calls['p50_ms']:.2f} / {calls['p99_ms']:.2f} ms"),
        _plain("   calls at once", f"{figures['calls_at_once_per_second']:.0f} /s"),
    ]


def _devices(figures: Dict[str, Any], _: Dict[str, Any]) -> List[Row]:
    best = min(figures["joins"], key=lambda join: join["accepted_seconds"])
    return [
        _most("worker with a simulated GPU, idle, resident", figures["idle"]["rss_mib"], 20, "MiB"),
        _most("from `worker join` to the first GPU job accepted", best["accepted_seconds"], 1, "s"),
        _plain("   of which joining", f"{best['join_seconds']:.2f} s"),
        _most("cold GPU job without imports, p50", figures["cold"]["p50_ms"], 150, "ms"),
    ]


def _endpoint(figures: Dict[str, Any], _: Dict[str, Any]) -> List[Row]:
    ours, plain, unthreaded = figures["ours"], figures["plain"], figures["unthreaded"]
    ratio = figures["ratio"]
    whole = not any(part["failed"] for part in (ours, plain, unthreaded))
    return [
        _plain(
            "endpoint with JSON, 2 containers, 32 connections",
            f"{ours['per_second']:.0f} /s, p99 {ours['p99_ms']:.1f} ms",
        ),
        _plain(
            "   uvicorn + FastAPI alone, 2 processes",
            f"{plain['per_second']:.0f} /s, p99 {plain['p99_ms']:.1f} ms",
        ),
        _plain("   the same as `async def`", f"{unthreaded['per_second']:.0f} /s"),
        ("   part of it that is left", f"{ratio:.2f}", "≥ 0.5", ratio >= 0.5),
        ("   requests that failed", "none" if whole else str(ours["failed"]), "none", whole),
        _plain("   processor time per request", _shares(figures["processor_ms_per_request"])),
    ]


def _application(figures: Dict[str, Any], _: Dict[str, Any]) -> List[Row]:
    echo, upload = figures["echo"], figures["upload"]
    growth = ", ".join(f"{name} {mib:+.1f}" for name, mib in upload["growth_mib"].items())
    flat = all(mib <= 16 for mib in upload["growth_mib"].values())
    return [
        _plain("WebSocket echo, p50 / p99", f"{echo['p50_ms']:.2f} / {echo['p99_ms']:.2f} ms"),
        _plain(f"upload of {upload['mib']:,} MiB", f"{upload['mib_per_second']:.0f} MiB/s"),
        ("   memory grew meanwhile by", f"{growth} MiB", "≤ 16 MiB", flat),
    ]


def _first_byte(figures: Dict[str, Any], _: Dict[str, Any]) -> List[Row]:
    return [
        _plain(
            "endpoint from no container to its first byte, p50 / slowest",
            f"{figures['p50_ms']:.0f} / {figures['max_ms']:.0f} ms",
        )
    ]


def _queues(figures: Dict[str, Any], report: Dict[str, Any]) -> List[Row]:
    calm, killed, peer = figures["calm"], figures["killed"], report.get("celery")
    beside = lambda name: f" (Celery {peer[name]:.0f})" if peer else ""
    calls = killed["calls"]
    lost = calls - killed["complete"] + killed["never_ran"]
    return [
        _plain("queue, put", f"{calm['put_per_second']:.0f} /s{beside('put_per_second')}"),
        _plain(
            f"queue, {calm['calls']:,} put and done by 4 containers",
            f"{calm['done_per_second']:.0f} /s{beside('done_per_second')}",
        ),
        (
            f"queue, a worker killed every 5 s ({killed['kills']} times), complete",
            f"{killed['complete']:,}",
            f"{calls:,}",
            not lost,
        ),
        _plain(
            "   in, tried again as their worker died",
            f"{killed['seconds']:.0f} s, {killed['tried_again']}",
        ),
        ("   done twice without that", str(killed["doubled"]), "0", not killed["doubled"]),
    ]


def _celery(figures: Dict[str, Any], _: Dict[str, Any]) -> List[Row]:
    return [
        _plain(
            f"Celery {figures['version']} and Redis in memory, 4 processes: put, done",
            f"{figures['put_per_second']:.0f}, {figures['done_per_second']:.0f} /s",
        )
    ]


def _volumes(figures: Dict[str, Any], _: Dict[str, Any]) -> List[Row]:
    job, bare = figures["job"], figures["bare"]
    out = [
        _plain(
            f"JuiceFS, {name} {figures['mib']:,} MiB, job (bare mount)",
            f"{job[key]:.0f} ({bare[key]:.0f}) MiB/s",
        )
        for name, key in (("write", "write_mib_per_second"), ("read", "read_mib_per_second"))
    ]
    steps = ("create", "read", "unlink")
    each = ", ".join(f"{it} {job[f'{it}_ms']:.2f} ({bare[f'{it}_ms']:.2f})" for it in steps)
    return [*out, _plain(f"   {figures['files']:,} files of 4 KiB, each", f"{each} ms")]


def _soak(figures: Dict[str, Any], _: Dict[str, Any]) -> List[Row]:
    calls, growth = figures["calls"], figures["growth_per_hour"]
    whole = figures["complete"] == calls
    minutes = figures["seconds"] / 60
    steady = None if minutes < 4 else not figures["grows"]
    return [
        (f"soak, {minutes:.0f} min, complete", f"{figures['complete']:,}", f"{calls:,}", whole),
        _plain("   p50 / p99", f"{figures['p50_ms']:.2f} / {figures['p99_ms']:.2f} ms"),
        (
            "   growth per hour after the warm-up",
            ", ".join(f"{name} {slope:+.2f}" for name, slope in growth.items()),
            "≤ 2 MiB, ≤ 4 files",
            steady,
        ),
    ]


SECTIONS: Dict[str, Callable[[Dict[str, Any], Dict[str, Any]], List[Row]]] = {
    "core": _core,
    "memory_idle": _idle,
    "api": _api,
    "cold": _cold,
    "spawn": _spawn,
    "sdk": _sdk,
    "memory_after": _after,
    "endpoint": _endpoint,
    "application": _application,
    "first_byte": _first_byte,
    "queues": _queues,
    "celery": _celery,
    "devices": _devices,
    "containers": _containers,
    "volumes": _volumes,
    "scale": _scale,
    "soak": _soak,
}


def show(report: Dict[str, Any]) -> None:
    """Prints the table."""
    machine = report["machine"]
    print(f"\n{machine['system']}, {machine['cores']} cores, load at start {machine['load']:.1f}\n")
    table = rows(report)
    widths = [max(len(row[column]) for row in table) for column in range(3)]
    for title, figure, target, verdict in table:
        word = {True: "met", False: "MISSED", None: ""}[verdict]
        line = f"{title:{widths[0]}}  {figure:>{widths[1]}}  {target:>{widths[2]}}  {word}"
        print(line.rstrip())
    for name, why in report.get("failed", {}).items():
        print(f"{name}: not measured: {why}")
