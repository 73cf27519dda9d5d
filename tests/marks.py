"""What `make test-fast` leaves out, by where it lies: folders and files of this folder.

The one place where tests get these marks; pyproject.toml says what they mean.
"""

MARKED = {
    "window": ("napari", "test_wheel.py"),
    "weights": (
        *("batch", "benchmark", "tiles"),
        *("cli/test_batch.py", "cli/test_evaluate.py", "cli/test_info.py", "cli/test_segment.py"),
        *("cliper/test_precision.py", "evaluation/test_runner.py", "files/test_session_kill.py"),
        *("fuzz/test_segmentation.py", "models/test_dinov2.py", "models/test_dual_encoder.py"),
        *("models/test_loading.py", "models/test_open_clip_towers.py"),
        *("models/test_stable_diffusion.py", "models/test_timm_towers.py"),
        *("test_code_blocks.py", "test_contributing.py", "test_encoding_files.py"),
        *("test_encodings.py", "test_examples.py", "test_inspector.py", "test_out_of_memory.py"),
        *("test_result.py", "test_security.py", "test_segmenter.py"),
    ),
}
