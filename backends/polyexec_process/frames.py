"""The statuses of answers, for what passes them on."""

from polyexec_process._frames import ERROR, NONE, PASSED_OVER, PLAIN_VALUE, UNREADABLE, VALUE

__all__ = ["ERROR", "NONE", "PASSED_OVER", "PLAIN_VALUE", "UNREADABLE", "VALUE"]
