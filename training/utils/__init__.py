"""Files, processes and progress for long work: atomic writes, resumable steps, locks, pools, storage.

No audio.
"""

__all__ = [
    "atomic_write",
    "errors",
    "file_lock",
    "find_files",
    "process_pool",
    "progress",
    "result_cache",
    "resumable_steps",
    "storage",
]  # what other rooms may import
