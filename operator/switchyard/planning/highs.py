"""HiGHS for a program that owns its standard output."""

from __future__ import annotations

import highspy


class Quiet(highspy.Highs):
    """HiGHS without callbacks: setting them up prints a banner to standard output, where JSON may be going."""

    def __init__(self) -> None:
        super(highspy.Highs, self).__init__()
        self.setOptionValue("output_flag", False)
        self.setOptionValue("threads", 1)
