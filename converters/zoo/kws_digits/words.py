"""What the model listens for, and the other words it must not take for a digit.

The other words hold common words, near misses that share most of their sounds with a digit, and the
prompts a device hears. Homophones of digits (won, to, too, for, fore, ate) and "oh", a spoken zero,
are left out: no model of isolated words can tell them apart.
"""

from __future__ import annotations

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
UNKNOWN = "unknown"
LABELS = (*DIGITS, UNKNOWN)
"""Class names in the order of the logits. ``unknown`` is any other word, noise or silence."""

_NEAR_MISSES = """
    hero euro arrow narrow sorrow zebra cereal
    wine want run sun bun wonder once when
    do shoe you chew new moon tool tooth
    tree free thread thirst see key
    door more floor full fork form fort foot
    hive dive wife fire fine fight fly fade
    sit fix sticks mix sick sink sax silk
    heaven never given seventy severn eleven saving savage
    late great eat eighty aim age aid break
    line night mine nice ninth knife lion nylon
    thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty
    thirty forty fifty sixty ninety
"""

_OTHER_WORDS = """
    yes no up down left right on off stop go back forward start play pause next
    hello goodbye please thanks sorry okay computer kitchen light lamp window music volume louder
    quiet open close water coffee table chair house garden river mountain summer winter morning
    evening red blue green yellow black white orange purple big small hot cold happy sad
    fast slow
    dog cat bird fish horse sheep marvin sheila learn follow visual bed wow
    apple banana bread butter milk sugar pepper salt dinner lunch monday tuesday wednesday thursday
    friday saturday sunday january february march april may june july august september october
    november december hundred thousand million billion plus minus point percent dollar
    euro pound meter
    mother father sister brother baby doctor teacher school office paper pencil phone number call
    answer question reason problem system network battery charger signal sensor motor robot engine
    car train bus plane ship street city village country world people person woman man child
    walk talk jump swim sing dance read write listen speak think know give take make come
    above below under over between inside outside here there where what who why how which
    alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima oscar papa quebec
    romeo sierra tango uniform victor whiskey x-ray yankee zulu bee cee dee gee jay kay
    strong weak early quickly alarm timer weather report message cancel repeat record delete confirm
"""

NEAR_MISSES = tuple(dict.fromkeys(_NEAR_MISSES.split()))
UNKNOWN_WORDS = tuple(dict.fromkeys((_NEAR_MISSES + _OTHER_WORDS).split()))


def label_of(word: str) -> int:
    """Class index of a word: its digit, or the index of ``unknown``."""
    return DIGITS.index(word) if word in DIGITS else len(DIGITS)
