"""System checks on the cards that are configured: `manage.py check` says what is wrong before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 (Django's name)

from gpus.fleetspec import FleetSpecError, source_of
from gpus.readings import NVML
from gpus.scenario import ScenarioFile


@register()
def check_cards(**_kwargs: Any) -> list[CheckMessage]:
    """COOP_GPUS must name cards."""
    try:
        source_of(settings.COOP_GPUS)
    except FleetSpecError as error:
        return [Error(str(error), id="gpus.E001")]
    return []


@register()
def check_scenario(**_kwargs: Any) -> list[CheckMessage]:
    """A scenario must be readable, and there must be simulated cards for it."""
    if not settings.COOP_SIM_SCENARIO:
        return []
    if settings.COOP_GPUS == NVML:
        hint = "Unset COOP_SIM_SCENARIO, or set COOP_GPUS=simulated:2xA100-80G."
        return [
            Warning("COOP_SIM_SCENARIO has no effect on real cards.", hint=hint, id="gpus.W002")
        ]
    scenario = ScenarioFile(Path(settings.COOP_SIM_SCENARIO))
    scenario.refresh()
    if scenario.problem:
        hint = "Its format is in docs/cards.md."
        return [Warning(scenario.problem, hint=hint, id="gpus.W001")]
    return []
