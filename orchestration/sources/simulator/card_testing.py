"""Card testing: a fraud scenario that appears only as drift."""

import numpy as np

from orchestration.sources.simulator.day import (
    DAY_US,
    Transactions,
    attack_device,
    no_numbers,
)
from orchestration.sources.simulator.drift import DriftKind
from orchestration.sources.simulator.fraud_scenarios import remote_km
from orchestration.sources.simulator.parameters import CreditCardSimulation, Scenario
from orchestration.sources.simulator.population import Population
from orchestration.sources.simulator.streams import Stream, stream, whole_number

SHARE = 0.005
"""Share of the usual number of transactions that a drift of strength 1 adds."""
CARDS_PER_ATTACK = (10, 40)
TESTED_AMOUNT = (0.5, 5.0)
LONGEST_ATTACK_US = 2 * 3_600 * 1_000_000


def card_testing(
    parameters: CreditCardSimulation, world: Population, usual: int, day: int
) -> Transactions | None:
    """Bursts of small online amounts that try out stolen card numbers.

    An attack lasts at most two hours, at one merchant, from one new device, over 10 to 40 cards.

    Args:
        parameters: The world's parameters; the drift says how much of this there is.
        world: Its population.
        usual: Number of other transactions on that day.
        day: Day as a proleptic ordinal.

    Returns:
        The frauds, or None where there are none.
    """
    level = parameters.drift_level(DriftKind.CARD_TESTING, day)
    rng = stream(parameters.seed, Stream.CARD_TESTING, day)
    attacks = whole_number(level * SHARE * usual / (sum(CARDS_PER_ATTACK) / 2), rng.random())
    if level == 0 or attacks == 0:
        return None
    cards = rng.integers(CARDS_PER_ATTACK[0], CARDS_PER_ATTACK[1] + 1, attacks)
    attack = np.repeat(np.arange(attacks, dtype=np.int64), cards)
    size = attack.size
    begin = rng.integers(0, DAY_US - LONGEST_ATTACK_US, attacks)
    lasts = rng.integers(LONGEST_ATTACK_US // 12, LONGEST_ATTACK_US, attacks)
    return Transactions(
        time_us=begin[attack] + (rng.random(size) * lasts[attack]).astype(np.int64),
        amount=rng.uniform(*TESTED_AMOUNT, size),
        customer=rng.integers(0, parameters.customers, size),
        merchant=rng.integers(0, parameters.merchants, attacks)[attack],
        distance_km=remote_km(size, rng),
        card_present=np.zeros(size, dtype=np.bool_),
        used_chip=np.zeros(size, dtype=np.bool_),
        device=attack_device(day, attack),
        scenario=np.full(size, Scenario.CARD_TESTING, dtype=np.int64),
        observed_us=no_numbers(size),
        day=np.full(size, day, dtype=np.int64),
        number=no_numbers(size),
    )
