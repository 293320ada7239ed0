"""The names of Apple's GPUs, as `gpu=` takes them.

==========================  =====================================================
name                        stands for
==========================  =====================================================
``MPS`` ``Metal`` ``Apple``  the GPU of any Mac with Apple silicon
``M1`` … ``M9``             that generation, whatever its variant
``M3Max``, ``M1Ultra`` …    that variant of it: ``Pro``, ``Max`` or ``Ultra``
==========================  =====================================================

Only letters and digits count: ``m3-max``, ``M3 Max`` and ``Apple M3 Max`` are ``M3Max``. A list is in order of
preference and may name other makers' GPUs too::

    from metal9 import apple, function

    @function(gpu=[apple.MPS, "H100"])
    def train(): ...

No generation has every variant, and the newest ones may not exist yet; a name that no machine has waits for one.
"""

MPS = "MPS"
"""Any Apple GPU, by the name of PyTorch's backend."""
METAL = "Metal"
"""Any Apple GPU, by the name of Apple's interface."""
APPLE = "Apple"
"""Any Apple GPU, by its maker."""

ANY = (MPS, METAL, APPLE)
"""The names that mean any Apple GPU."""
FAMILIES = tuple("M%d" % generation for generation in range(1, 10))
"""Generations, as ``M3``."""
VARIANTS = ("Pro", "Max", "Ultra")
"""What may follow a generation, as in ``M3Max``."""

M1, M2, M3, M4, M5, M6, M7, M8, M9 = FAMILIES

__all__ = ["ANY", "APPLE", "FAMILIES", "METAL", "MPS", "VARIANTS", *FAMILIES, "canonical", "selectors"]


def selectors():
    """Every name in its usual spelling, in a tuple."""
    return ANY + tuple(family + variant for family in FAMILIES for variant in ("", *VARIANTS))


def canonical(name):
    """The usual spelling of an Apple GPU's name, as ``M3Max`` for ``m3-max``; None if it is no such name."""
    if not isinstance(name, str):
        return None
    key = _key(name)
    if key.startswith("APPLE") and key != "APPLE":
        key = key[len("APPLE") :]
    return _BY_KEY.get(key)


def _key(name):
    return "".join(letter for letter in name if letter.isascii() and letter.isalnum()).upper()


_BY_KEY = {_key(name): name for name in selectors()}
