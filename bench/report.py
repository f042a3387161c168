"""What was measured, as a table for people and as figures for programs."""

from __future__ import annotations

import statistics
import sys

from measure import MIB, Sample
from row import Row, size_text


def report(rows: list[Row], memory: list[tuple[str, int, int]]) -> tuple[str, list[dict[str, object]]]:
    """The table for people and the figures for programs."""
    titles = ["row", "floor", "", "kit", "ratio", "of the fastest", "CPU", "peak", "goal", "met"]
    lines = [_line(titles), "|---" * len(titles) + "|"]
    figures: list[dict[str, object]] = []
    others = []
    for row in rows:
        for name, why in row.failures.items():
            others.append(_line([row.name, name or "floor", "failed", ""]))
            print(f"{row.name}: {name or 'floor'} failed: {why}", file=sys.stderr)
            if name == "kit" and not row.samples.get(name):
                lines.append(_line([row.name, row.floor_name, "", "failed", "", "", "", "", row.goal_text, "NO"]))
        floors = row.floors or [Sample(float("nan"))]
        floor = statistics.median(sample.seconds for sample in floors)
        for name, samples in row.samples.items():
            figure = _figure(row.name, name, samples, floors)
            seconds = statistics.median(sample.seconds for sample in samples)
            ratio = f"{seconds / floor:.2f}x"
            if name != "kit":
                others.append(_line([row.name, name, _ms(seconds), ratio]))
            else:
                figure["goal"], figure["met"] = row.goal_text, row.goal(seconds, floor)
                fastest = f"{figure['fastest_ratio']:.2f}x"
                cpu = f"{_ms(float(str(figure['cpu'])))} of {_ms(float(str(figure['floor_cpu'])))}"
                peak = f"{int(str(figure['peak'])) / MIB:.0f} MiB"
                met = "yes" if figure["met"] else "NO"
                cells = [row.name, row.floor_name, _ms(floor), _ms(seconds), ratio, fastest, cpu, peak]
                lines.append(_line([*cells, row.goal_text, met]))
            figures.append(figure)
    if line := _peak_line(figures, memory):
        above = [number for number, text in enumerate(lines) if not text.startswith("| kit ")]
        lines.insert(above[-1] + 1, line)
    if others:
        lines += ["", "| row | other command | | ratio |", "|---|---|---|---|", *others]
    figures += [{"row": "peak RSS", "command": name, "size": size, "peak": peak} for name, size, peak in memory]
    return "\n".join(lines), figures


def _figure(row: str, name: str, samples: list[Sample], floors: list[Sample]) -> dict[str, object]:
    """One command of one row: medians, the fastest runs, what the processors did, and the peak of memory in bytes."""
    seconds = [sample.seconds for sample in samples]
    beside = [sample.seconds for sample in floors]
    return {
        "row": row,
        "command": name,
        "seconds": statistics.median(seconds),
        "floor": statistics.median(beside),
        "ratio": statistics.median(seconds) / statistics.median(beside),
        "fastest_ratio": min(seconds) / min(beside),
        "spread": [min(seconds), max(seconds)],
        "floor_spread": [min(beside), max(beside)],
        "cpu": statistics.median(sample.cpu for sample in samples),
        "floor_cpu": statistics.median(sample.cpu for sample in floors),
        "peak": max(sample.peak for sample in samples),
        "runs": len(samples),
    }


def _peak_line(figures: list[dict[str, object]], memory: list[tuple[str, int, int]]) -> str | None:
    peaks = [
        int(str(figure["peak"])) for figure in figures if figure["command"] == "kit" and "pack" in str(figure["row"])
    ]
    peaks += [peak for name, _, peak in memory if name == "kit"]
    if not peaks:
        return None
    sizes = ", ".join(f"{size_text(size)}: {peak / MIB:.0f}" for name, size, peak in memory if name == "kit")
    shown = f"{max(peaks) / MIB:.0f} MiB" + (f" ({sizes})" if sizes else "")
    met = "yes" if max(peaks) <= 150 * MIB else "NO"
    return _line(["peak RSS of all of the above", "", "", "", "", "", "", shown, "<= 150 MiB", met])


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
