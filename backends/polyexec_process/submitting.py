"""What another engine may build its executors on: tasks as jobs, and answers as outcomes."""

from polyexec_process._birth import Birth
from polyexec_process._crew import Crew
from polyexec_process._executor import ProcessExecutor, birth
from polyexec_process._settings import Settings

__all__ = ["Birth", "Crew", "ProcessExecutor", "Settings", "birth"]
