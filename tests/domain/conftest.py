"""How hypothesis runs here: what it finds counts, not how fast the machine is."""

from hypothesis import HealthCheck, settings

settings.register_profile("sweephand", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sweephand")
