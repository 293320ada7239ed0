"""Map and reduce: counts the words of many texts, one remote call per text.

    python word_count.py [FILE…]        by default, modules of Python itself
"""

import pkgutil
import re
import sys
from collections import Counter
from pathlib import Path

from beta9 import function


@function()
def count_words(name, text):
    words = Counter(re.findall(r"[a-z']+", text.lower()))
    print(f"{name}: {words.total()} words")
    return words


def texts_to_count():
    if len(sys.argv) > 1:
        return [(path, Path(path).read_text(errors="replace")) for path in sys.argv[1:]]
    return [
        (module.name, (Path(module.module_finder.path) / f"{module.name}.py").read_text())
        for module in pkgutil.iter_modules([str(Path(pkgutil.__file__).parent)])
        if not module.ispkg and module.name.startswith("c")
    ]


def main():
    total = Counter()
    for words in count_words.map(texts_to_count()):
        if words is None:  # this text failed, and the reason was printed
            continue
        total += words
    print(f"\n{total.total():,} words, {len(total):,} different ones. The most frequent:")
    for word, times in total.most_common(10):
        print(f"  {times:6,}  {word}")


if __name__ == "__main__":
    main()
