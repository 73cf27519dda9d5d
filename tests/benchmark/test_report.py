"""What the benchmark tells: the table, the Markdown, the machine."""

import sys
from pathlib import Path

import pytest
import torch

from napari_cliper.benchmark import machine
from napari_cliper.benchmark.report import COLUMNS, Figures, Measured, Report

ROOT = Path(__file__).parents[2]
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*.json"))


def figures(seconds: float, peak: int | None = 200_000_000) -> Figures:
    return Figures(seconds=seconds, multiply_adds=10**9, peak=peak)


def report(**changes: object) -> Report:
    step = Measured(name="encode a picture", ours=figures(0.5), plain=figures(2, 400_000_000))
    fields = {
        "preset": "base",
        "device": "cpu",
        "precision": "bfloat16",
        "random_weights": True,
        "machine": "A processor",
        "units": ("AVX2", "AVX-512"),
        "threads": 2,
        "torch": "2.15.0",
        "rate": 1e10,
        "weights": 10**9,
        "plain_weights": 2 * 10**9,
        "steps": (step, Measured(name="slider", ours=figures(0.02), plain=figures(1))),
    }
    return Report(**(fields | changes))


def test_rows() -> None:
    quick = Measured(name="encode a picture", ours=figures(42e-6), plain=figures(1))
    encode, slider, peak, weights = report().rows()
    assert encode == (
        *("encode a picture", "500.0 ms", "2.00 s", "4.00×", "100.0 ms", "20 %"),
        *("0.20 GB", "0.40 GB"),
    )
    assert slider[3] == "50×"
    [point, *_] = report(steps=(quick,)).rows()
    assert point[1] == "42 µs"
    assert peak[:4] == ("peak memory, without the models", "0.20 GB", "0.40 GB", "0.50×")
    assert weights[:4] == ("the models", "1.00 GB", "2.00 GB", "0.50×")
    assert all(len(row) == len(COLUMNS) for row in report().rows())


def test_memory_that_nobody_counts() -> None:
    step = Measured(name="encode a picture", ours=figures(1, None), plain=figures(1, None))
    encode, weights = report(steps=(step,)).rows()
    assert encode[-2:] == ("?", "?")
    assert weights[0] == "the models"


def test_markdown() -> None:
    title, empty, head, line, *rows = report().markdown().splitlines()
    assert title == (
        "base, bfloat16, random weights: A processor, 2 threads with AVX2, AVX-512, torch 2.15.0, "
        "10 thousand million multiply-adds a second."
    )
    assert empty == ""
    assert head == f"| {' | '.join(COLUMNS)} |"
    assert line.count("|") == head.count("|")
    assert len(rows) == 4
    gpu = report(device="cuda", machine="A card", units=(), random_weights=False).markdown()
    assert gpu.startswith("base, bfloat16, real weights: A card, torch")


def test_a_report_reads_what_it_writes() -> None:
    assert Report.model_validate_json(report().model_dump_json()) == report()


def test_the_machine_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cpu = torch.device("cpu")
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Fast 3000 @ 2 GHz\nmodel name\t: other\n")
    monkeypatch.setattr(machine, "CPU_INFO", info)
    assert machine.name(cpu) == "Fast 3000 @ 2 GHz"
    info.unlink()
    capabilities = {"cpu_name": "Torch's name", "avx2": True, "avx512_f": False, "amx_bf16": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert machine.name(cpu) == "Torch's name"
    assert machine.units(cpu) == ("AVX2", "AMX BF16")
    assert machine.units(torch.device("cuda")) == ()


def test_the_page_shows_what_was_measured() -> None:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        from performance_table import tables
    finally:
        sys.path.pop(0)
    page = (ROOT / "docs" / "performance.md").read_text("utf-8")
    assert RESULTS
    assert tables() in page
    for file in RESULTS:
        assert file.name in page
