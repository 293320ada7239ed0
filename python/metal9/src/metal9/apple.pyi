from typing import Literal, Optional, Tuple

AppleGpu = Literal[
    "MPS", "Metal", "Apple",
    "M1", "M1Pro", "M1Max", "M1Ultra",
    "M2", "M2Pro", "M2Max", "M2Ultra",
    "M3", "M3Pro", "M3Max", "M3Ultra",
    "M4", "M4Pro", "M4Max", "M4Ultra",
    "M5", "M5Pro", "M5Max", "M5Ultra",
    "M6", "M6Pro", "M6Max", "M6Ultra",
    "M7", "M7Pro", "M7Max", "M7Ultra",
    "M8", "M8Pro", "M8Max", "M8Ultra",
    "M9", "M9Pro", "M9Max", "M9Ultra",
]  # fmt: skip

MPS: Literal["MPS"]
METAL: Literal["Metal"]
APPLE: Literal["Apple"]
ANY: Tuple[str, ...]
FAMILIES: Tuple[str, ...]
VARIANTS: Tuple[str, ...]
M1: Literal["M1"]
M2: Literal["M2"]
M3: Literal["M3"]
M4: Literal["M4"]
M5: Literal["M5"]
M6: Literal["M6"]
M7: Literal["M7"]
M8: Literal["M8"]
M9: Literal["M9"]

def selectors() -> Tuple[str, ...]: ...
def canonical(name: object) -> Optional[str]: ...
