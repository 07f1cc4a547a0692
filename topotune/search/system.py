"""What a trial's process takes of its machine, under MLflow's own names, so that its pages show it among theirs."""

import psutil

SYSTEM = "system/"  # what the names of its metrics begin with
_MEGA = 1e6  # MLflow's megabyte


class Gauge:
    """Read once an epoch, in the process of rank 0; percentages are means since the last reading."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._process.cpu_percent()  # the first reading is always 0
        import torch

        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # a reused actor: the peak is that of the trials before
            torch.cuda.reset_peak_memory_stats()

    def read(self) -> dict[str, float]:
        """By MLflow's names: CPU utilisation (100: one core busy), resident memory in MB, and those of its GPU.

        A GPU's memory is what torch has allocated, now and at most in this trial, in MB; its utilisation is there
        where nvidia-ml-py is installed and the driver tells it (not of a part of a GPU).
        """
        return {
            "system/cpu_utilization_percentage": self._process.cpu_percent(),
            "system/system_memory_usage_megabytes": self._process.memory_info().rss / _MEGA,
            **_gpu(),
        }


def _gpu() -> dict[str, float]:
    import torch

    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return {}
    number = torch.cuda.current_device()
    values = {
        f"system/gpu_{number}_memory_usage_megabytes": torch.cuda.memory_allocated() / _MEGA,
        f"system/gpu_{number}_memory_peak_megabytes": torch.cuda.max_memory_allocated() / _MEGA,
    }
    try:
        values[f"system/gpu_{number}_utilization_percentage"] = float(torch.cuda.utilization())
    except Exception:  # noqa: BLE001 (nvidia-ml-py is missing, or has an error of its own for each card that cannot)
        return values
    return values
