"""A whole farm for tests: the real operator as a process, simulated rigs, prices that a test sets, on a control plane.

A test says what there is (`things`), changes it through the API server as people would, and looks at what people see:

    with Yard(control_plane, folder) as yard:
        yard.build(rigs=[things.machine("north-1")], objects=[...])
        yard.eventually(lambda: yard.expect_mode("north-1", "Mining/ant"))
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("farmyard.yard")

from farmyard.yard import Yard  # noqa: E402 - pytest has to know of its asserts before it is loaded

__all__ = ["Yard"]
