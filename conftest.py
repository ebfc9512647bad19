"""What all tests share: hypothesis without a deadline, since the first example of a kernel compiles it."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("project")

pytest_plugins = ["llm_assets_tests.worlds.fixtures"]
